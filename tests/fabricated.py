"""Made-up pages and episodes for the tests of evaluation: nothing is run, every number is known."""

from __future__ import annotations

from PIL import Image, ImageDraw

from vrag.episode import EpisodeRecord, Reward
from vrag.errors import CorpusError
from vrag.types import (
    Action,
    Answer,
    Box,
    Crop,
    Evidence,
    Hit,
    Observation,
    Page,
    PageRef,
    Search,
    StopReason,
    Task,
    Turn,
    View,
    Word,
)

WIDTH, HEIGHT = 1240, 1754
GOLD = Box(x1=0.5, y1=0.5, x2=0.7, y2=0.6)


class DrawnPages:
    """A page store whose pages are drawn on demand; page ids are `document/number`."""

    def page(self, page_id: str) -> Page:
        document, number = page_id.split("/")
        ref = PageRef(document=document, page=int(number))
        return Page(id=page_id, document_id=document, ref=ref, width=WIDTH, height=HEIGHT, text="", text_source="none")

    def image(self, page_id: str) -> Image.Image:
        if page_id.startswith("gone"):
            raise CorpusError(f"page {page_id}: is not in this corpus; index it again")
        image = Image.new("RGB", (WIDTH, HEIGHT), "white")
        draw = ImageDraw.Draw(image)
        draw.text((90, 90), page_id, fill="black", font_size=60)
        for row in range(14):
            y = 260 + 95 * row
            draw.rectangle((90, y, WIDTH - 90, y + 94), outline="#bbbbbb", fill="#f2f5f9" if row % 2 else "white")
            for column in range(4):
                draw.text(
                    (120 + 270 * column, y + 30),
                    f"{(row * 37 + column * 11) % 100}",
                    fill="#333333",
                    font_size=26,
                )
        return image

    def words(self, page_id: str) -> list[Word]:
        return []


def ref(page: int, document: str = "report.pdf") -> PageRef:
    return PageRef(document=document, page=page)


def make_task(name: str = "t1", *, hops: int = 1, kind: str = "table", answers: tuple[str, ...] = ("42",)) -> Task:
    return Task(
        id=name,
        question=f"What does the {kind} say about {name}?",
        answers=list(answers),
        gold=[Evidence(ref=ref(page), box=GOLD) for page in range(3, 3 + hops)],
        hops=hops,
        kind=kind,
    )


def search_turn(page: int, *, ranked: tuple[int, ...] = ()) -> Turn:
    """A search that shows `page` of report.pdf; `ranked` are the pages found, in order."""
    hits = [Hit(page_id=f"report.pdf/{n}", ref=ref(n), score=10.0 - i) for i, n in enumerate(ranked or (page,))]
    view = View(
        page_id=f"report.pdf/{page}",
        ref=ref(page),
        region=Box(x1=0, y1=0, x2=WIDTH, y2=HEIGHT),
        width=392,
        height=560,
    )
    return _turn(Search(query=f"totals page {page}"), Observation(kind="page", view=view, hits=hits))


def crop_turn(page: int, box: Box = GOLD) -> Turn:
    """A crop of `box` (relative) on `page`."""
    view = View(page_id=f"report.pdf/{page}", ref=ref(page), region=box.scaled(WIDTH, HEIGHT), width=224, height=112)
    return _turn(Crop(box=box.scaled(392, 560)), Observation(kind="crop", view=view))


def answer_turn(text: str) -> Turn:
    return _turn(Answer(text=text), None)


def invalid_turn(text: str = "<bbox>[1, 2]</bbox>") -> Turn:
    observation = Observation(kind="message", text="Your action is not valid: a box has four numbers.")
    return Turn(text=text, error="a box has four numbers", observation=observation)


def episode(
    task: Task | None = None,
    *turns: Turn,
    right: bool = True,
    stop: StopReason = StopReason.ANSWER,
    seed: int = 0,
    seconds: float = 0.5,
) -> EpisodeRecord:
    """A scored episode; without `turns` it searches, crops the first gold box and answers."""
    task = task or make_task()
    answer = task.answers[0] if right else "17"
    said = list(turns) or [search_turn(3, ranked=(3, 5, 4)), crop_turn(3), answer_turn(answer)]
    finished = stop is StopReason.ANSWER
    parts = {"answer": float(right and finished), "retrieval": 0.8, "pattern": 1.0}
    return EpisodeRecord(
        task=task,
        seed=seed,
        turns=said,
        stop=stop,
        answer=answer if finished else None,
        reward=Reward(total=0.7 * parts["answer"] + 0.2 * 0.8 + 0.1, parts=parts),
        sampled_tokens=60,
        total_tokens=500,
        seconds=seconds,
    )


def failed(task: Task | None = None, *, seed: int = 0) -> EpisodeRecord:
    return EpisodeRecord(
        task=task or make_task(), seed=seed, turns=[], stop=StopReason.ERROR, error="the retriever is down"
    )


def _turn(action: Action, observation: Observation | None) -> Turn:
    return Turn(text="…", action=action, thought="I look for the row that names it.", observation=observation)
