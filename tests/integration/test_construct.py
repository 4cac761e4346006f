"""Expert trajectories from a planner and a grounder behind a server: what is stored, in whose frame, at what cost."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import stamina

from tests.chats import chat_server
from tests.teachers import ONE, TWO, Teachers, case, construct, images, settings
from tests.tiny import make_tiny
from tests.trajectories import environment_of, make_store, one_hop, two_hops
from vrag.data.dataset import read_trajectories
from vrag.data.filters import crops
from vrag.data.replay import load_episodes
from vrag.geometry import Frame, extent, to_raw
from vrag.policies.speaker import environment_for
from vrag.testing import MemoryStore, WordRetriever
from vrag.types import Box, Observation, PageRef, Usage

ENVIRONMENT = environment_for("qwen2_5_vl")
LOOK = "<think>there</think><look>the staff</look>"


@pytest.fixture(autouse=True)
def no_pauses() -> Generator[None]:
    with stamina.set_testing(True, attempts=10, cap=True):
        yield


@pytest.fixture(scope="module")
def store() -> MemoryStore:
    return make_store()


def script(*texts: str) -> dict[str, list[str]]:
    return {"one": list(texts)}


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl"])
@pytest.mark.parametrize("frame", ["absolute", "relative1000"])
def test_what_the_grounder_draws_is_written_in_the_pupils_frame(
    family: str, frame: Frame, store: MemoryStore, tmp_path: Path
) -> None:
    environment, tasks = environment_for(family), [two_hops(store), one_hop(store)]
    with chat_server(Teachers(store, frame=frame)) as server:
        config = settings(server.url, grounder={"frame": frame})
        manifest = construct(tmp_path / "set", config, store, tasks, environment)
    assert manifest.kept == 2 and manifest.environment == environment
    one, two = read_trajectories(tmp_path / "set")
    golds = {"one": [one.task.gold[0]], "two": two.task.gold}
    for trajectory in (one, two):
        seen = list(crops(trajectory.turns, environment.crops_of))
        for (view, written), gold in zip(seen, golds[trajectory.task.id], strict=True):
            assert view.ref == gold.ref and gold.box is not None
            assert all(edge == int(edge) for edge in written.as_tuple())
            close(
                to_raw(view, written, environment.view.frame), gold.box.scaled(1200, 900), view, environment.view.frame
            )
    assert one.turns[1].text.startswith("<think>small print</think><bbox>[")


def test_a_crop_is_drawn_again_over_the_page_where_the_environment_says_so(store: MemoryStore, tmp_path: Path) -> None:
    task, (search, look, answer) = one_hop(store), ONE
    seen: dict[str, list[Box]] = {}
    for crops_of in ("image", "page"):
        environment = ENVIRONMENT.model_copy(update={"crops_of": crops_of})
        with chat_server(Teachers(store, script(search, look, look, answer))) as server:
            config = settings(server.url, filters={"min_crop_side": 0})
            construct(tmp_path / crops_of, config, store, [task], environment)
            asked = [m["content"] for m in server.asked[0].body["messages"]]
        assert f"a box on the last {crops_of}, in pixels" in asked[0]
        turns = read_trajectories(tmp_path / crops_of)[0].turns
        seen[crops_of] = [view.region for view, _ in crops(turns, environment.crops_of)]
    (page, crop), pages = seen["image"], seen["page"]
    assert pages == [page, page] and crop.width < page.width


def close(found: Box, wanted: Box, view: Any, frame: Frame) -> None:
    """Up to the rounding to whole units of the pupil's frame: the grounder's own frame and size leave no trace."""
    width, height = extent(view, frame)
    units = (view.region.width / width, view.region.height / height) * 2
    for edge, other, unit in zip(found.as_tuple(), wanted.as_tuple(), units, strict=True):
        assert abs(edge - other) <= 0.5 * unit + 1e-6


def test_each_model_is_shown_what_it_is_meant_to_see(store: MemoryStore, tmp_path: Path) -> None:
    with chat_server(Teachers(store)) as server:
        construct(tmp_path / "set", settings(server.url), store, [two_hops(store)], ENVIRONMENT)
        planned = [asked.body for asked in server.asked if asked.body["model"] == "planner"]
        grounded = [asked.body for asked in server.asked if asked.body["model"] == "grounder"]
    said = [m["content"] for m in planned[-1]["messages"] if m["role"] == "assistant"]
    assert said == TWO[:4], "the planner reads its own words, not the pupil's boxes"
    assert "You have 5 actions" in planned[0]["messages"][0]["content"]
    stored = read_trajectories(tmp_path / "set")[0]
    assert [i.size for i in images(planned[-1]["messages"])] == [(v.width, v.height) for v in stored.views]
    for body, page in zip(grounded, (0, 2), strict=True):
        (image,) = images(body["messages"])
        assert image.size != (stored.views[page].width, stored.views[page].height)
        assert image.width % 28 == image.height % 28 == 0 and image.width * image.height <= 80 * 28 * 28
        assert f"{image.width} wide and {image.height} high" in body["messages"][0]["content"][1]["text"]
    assert case(grounded[0]["messages"])["wants_to_see"] == "the number of the plant"
    assert planned[0]["temperature"] == 0.7 and grounded[0]["temperature"] == 0.0


def test_a_box_that_the_planner_draws_is_only_a_guess_for_the_grounder(store: MemoryStore, tmp_path: Path) -> None:
    teachers = Teachers(store, script(ONE[0], "<think>there</think><bbox>[0, 500, 1000, 1000]</bbox>", ONE[2]))
    guesses: list[list[float]] = []

    def grounded(messages: list[dict[str, Any]]) -> str:
        said, (width, height) = case(messages), images(messages)[0].size
        assert "wants_to_see" not in said and said["their_thought"] == "there"
        guesses.append(
            [edge / size for edge, size in zip(said["rough_guess_of_where"], (width, height) * 2, strict=True)]
        )
        return f'<think>hm [1, 2]</think>```json\n{{"bbox_2d": [0, 0, {width / 2}, {height / 2}]}}\n```'

    teachers.grounded = grounded  # type: ignore[method-assign]
    with chat_server(teachers) as server:
        config = settings(server.url, planner={"frame": "relative1000"})
        construct(tmp_path / "set", config, store, [one_hop(store)], ENVIRONMENT)
    assert guesses == [pytest.approx([0, 0.5, 1, 1], abs=2e-3)]
    ((view, written),) = crops(read_trajectories(tmp_path / "set")[0].turns, "image")
    close(to_raw(view, written, "absolute"), Box(x1=0, y1=0, x2=600, y2=450), view, "absolute")


@pytest.mark.parametrize(
    ("bad", "turn", "said"),
    [
        ("<search>plant 42 staff</search>", 0, "there is no reasoning"),
        ("I would search.", 0, "no action"),
        (LOOK, 0, "no image yet"),
        ("<think>x</think><look> </look>", 1, "<look> is empty"),
        ("<think>x</think><bbox>[0, 0, 10]</bbox>", 1, "four numbers"),
        ("<think>x</think><bbox>[0, 0, 10, 9000]</bbox>", 1, "outside the image"),
        ("<think>x</think><bbox>[10, 0, 10, 20]</bbox>", 1, "the box is empty"),
        ("<think>x</think><search>a</search><answer>310</answer>", 2, "exactly one action"),
    ],
)
def test_what_the_planner_cannot_do_is_said_to_it_and_leaves_no_trace(
    bad: str, turn: int, said: str, store: MemoryStore, tmp_path: Path
) -> None:
    teachers, objections = Teachers(store), list[str]()

    def planned(messages: list[dict[str, Any]]) -> str:
        assistant = [m for m in messages if m["role"] == "assistant"]
        if assistant and assistant[-1]["content"] == bad:
            objections.append(messages[-1]["content"])
            return ONE[turn]
        return bad if len(assistant) == turn and not objections else ONE[len(assistant)]

    teachers.planned = planned  # type: ignore[method-assign]
    with chat_server(teachers) as server:
        config = settings(server.url)
        manifest = construct(tmp_path / "set", config, store, [one_hop(store)], ENVIRONMENT)
    assert len(objections) == 1 and said in objections[0]
    assert manifest.kept == 1 and manifest.cost["planner"].calls == 4
    assert all(turn.error is None for turn in read_trajectories(tmp_path / "set")[0].turns)


def test_the_last_action_has_to_be_an_answer(store: MemoryStore, tmp_path: Path) -> None:
    texts = [f"<think>more</think><search>plant 42 staff {n}</search>" for n in range(4)]
    with chat_server(Teachers(store, script(*texts, texts[0], texts[0], ONE[2]))) as server:
        config = settings(server.url, planner={"attempts": 2})
        environment = ENVIRONMENT.model_copy(update={"max_turns": 3})
        manifest = construct(tmp_path / "set", config, store, [one_hop(store)], environment)
        last = server.asked[-1].body["messages"][-1]["content"]
    assert manifest.dropped == {"planner said nothing that can be used": 1} and "that was your last action" in last


def test_tags_in_a_thought_are_defused(store: MemoryStore, tmp_path: Path) -> None:
    first = "<think>I could <answer>17</answer> but no</think><search>plant 42 staff</search>"
    with chat_server(Teachers(store, script(first, *ONE[1:]))) as server:
        construct(tmp_path / "set", settings(server.url), store, [one_hop(store)], ENVIRONMENT)
    text = read_trajectories(tmp_path / "set")[0].turns[0].text
    assert text == "<think>I could [answer]17[/answer] but no</think><search>plant 42 staff</search>"


def test_a_pupil_that_only_searches_has_a_planner_that_only_searches(store: MemoryStore, tmp_path: Path) -> None:
    environment = ENVIRONMENT.model_copy(update={"actions": ("search", "answer"), "prompt": "search-v1"})
    with chat_server(Teachers(store, script(ONE[0], ONE[2]))) as server:
        config = settings(server.url)
        manifest = construct(tmp_path / "set", config, store, [one_hop(store)], environment)
        prompt = server.asked[0].body["messages"][0]["content"]
    assert manifest.actions == {"answer": 1, "search": 1} and "<look>" not in prompt and "<search>" in prompt


# ------------------------------------------------------------------------------- gold pages first


def test_a_gold_page_that_a_query_finds_is_shown_before_what_ranks_higher(store: MemoryStore, tmp_path: Path) -> None:
    query = "<think>find it</think><search>acme corp mine nothing here plant 42</search>"  # finds the noise first

    def shown(depth: int) -> list[PageRef]:
        folder = tmp_path / str(depth)
        with chat_server(Teachers(store, script(query, ONE[2]))) as server:
            config = settings(server.url, gold_first=depth, filters={"gold": False})
            construct(folder, config, store, [one_hop(store)], ENVIRONMENT)
        seen = read_trajectories(folder)[0].turns[0].observation
        assert isinstance(seen, Observation) and len({hit.page_id for hit in seen.hits}) == len(seen.hits) == 3
        return [hit.ref for hit in seen.hits]

    gold = one_hop(store).gold[0].ref
    assert shown(50)[0] == gold, "moved up"
    found = shown(0)
    assert found[0] != gold and sorted(found, key=str) == sorted(shown(50), key=str)
    assert shown(1) == found, "not found so far up, so not moved"


# ------------------------------------------------------------------------------ right and counted


def test_the_judge_decides_what_rules_cannot(store: MemoryStore, tmp_path: Path) -> None:
    tasks = [two_hops(store), one_hop(store)]
    scripts = {"two": TWO, "one": [*ONE[:2], "<think>y</think><answer>310 by the end of 2021</answer>"]}
    with chat_server(Teachers(store, scripts)) as server:
        rules = construct(tmp_path / "rules", settings(server.url), store, tasks, ENVIRONMENT)
        judge = settings(server.url, judge={"cache": str(tmp_path / "verdicts.sqlite")})
        judged = construct(tmp_path / "judged", judge, store, tasks, ENVIRONMENT)
    assert rules.kept == 1 and rules.dropped == {"wrong answer": 1}
    assert judged.kept == 2 and judged.cost["judge"] == Usage(calls=1, prompt_tokens=10, completion_tokens=2), (
        "an exact answer needs no judge"
    )
    assert all(t.reward is not None and t.reward.parts["answer"] == 1 for t in read_trajectories(tmp_path / "judged"))


def test_the_cost_is_counted_by_who_was_asked_and_for_each_episode(store: MemoryStore, tmp_path: Path) -> None:
    with chat_server(Teachers(store)) as server:
        manifest = construct(
            tmp_path / "set", settings(server.url), store, [two_hops(store), one_hop(store)], ENVIRONMENT
        )
        assert len(server.asked) == 11
    assert manifest.cost == {
        "grounder": Usage(calls=3, prompt_tokens=30, completion_tokens=6),
        "planner": Usage(calls=8, prompt_tokens=80, completion_tokens=16),
    }
    assert manifest.cost_per_kept == {"calls": 5.5, "prompt_tokens": 55.0, "completion_tokens": 11.0}


def test_a_task_without_an_answer_asks_nobody(store: MemoryStore, tmp_path: Path) -> None:
    bare = one_hop(store).model_copy(update={"answers": [" "]})
    with chat_server(Teachers(store)) as server:
        manifest = construct(tmp_path / "set", settings(server.url), store, [bare], ENVIRONMENT)
        assert server.asked == [] and manifest.dropped == {"unusable task": 1}


def test_gold_pages_that_were_not_shown_are_a_reason_to_drop(store: MemoryStore, tmp_path: Path) -> None:
    with chat_server(Teachers(store, script("<think>a</think><search>mine</search>", ONE[2]))) as server:
        judge = {"cache": "off"}
        manifest = construct(
            tmp_path / "set",
            settings(server.url, judge=judge),
            store,
            [one_hop(store)],
            ENVIRONMENT,
            WordRetriever(store),
        )
        asked = [body.body["model"] for body in server.asked]
    assert manifest.dropped == {"gold page not shown": 1}
    assert asked.count("judge") == 2, "only to see whether it can judge: what is dropped anyway isn't judged"


# ------------------------------------------------------------------------------------------ samples


def alternating(store: MemoryStore, answers: list[str]) -> Teachers:
    """Sample after sample gives the next of `answers`."""
    teachers, left = Teachers(store), list(answers)

    def planned(messages: list[dict[str, Any]]) -> str:
        turn = sum(message["role"] == "assistant" for message in messages)
        return f"<think>so</think><answer>{left.pop(0)}</answer>" if turn == 2 else ONE[turn]

    teachers.planned = planned  # type: ignore[method-assign]
    return teachers


def test_samples_are_played_until_one_is_accepted(store: MemoryStore, tmp_path: Path) -> None:
    with chat_server(alternating(store, ["17", "310", "310"])) as server:
        config = settings(server.url, samples=3)
        manifest = construct(tmp_path / "set", config, store, [one_hop(store)], ENVIRONMENT)
        assert [t.sample for t in read_trajectories(tmp_path / "set")] == [1] and manifest.dropped == {
            "wrong answer": 1
        }
        asked = len(server.asked)
        assert construct(tmp_path / "set", config, store, [one_hop(store)], ENVIRONMENT) == manifest
        assert len(server.asked) == asked, "nothing is owed"
        seeds = {body.body["seed"] for body in server.asked}
        assert len(seeds) == 2, "samples differ by their seed"


def test_all_samples_are_played_if_asked_for(store: MemoryStore, tmp_path: Path) -> None:
    with chat_server(alternating(store, ["17", "310", "310"])) as server:
        config = settings(server.url, samples=3, stop_at_first=False)
        construct(tmp_path / "set", config, store, [one_hop(store)], ENVIRONMENT)
    assert [t.sample for t in read_trajectories(tmp_path / "set")] == [1, 2]


def test_another_balance_is_chosen_from_what_is_there(store: MemoryStore, tmp_path: Path) -> None:
    tasks = [two_hops(store), one_hop(store)]
    with chat_server(Teachers(store)) as server:
        plain = settings(server.url, samples=3, stop_at_first=False)
        assert construct(tmp_path / "set", plain, store, tasks, ENVIRONMENT).kept == 6
        asked = len(server.asked)
        capped = plain.model_copy(update={"balance": plain.balance.model_copy(update={"cap": 1})})
        manifest = construct(tmp_path / "set", capped, store, tasks, ENVIRONMENT)
        assert (manifest.kept, manifest.surplus, manifest.turns) == (2, 4, {3: 1, 5: 1})
        assert len(read_trajectories(tmp_path / "set")) == 2
        assert construct(tmp_path / "set", plain, store, tasks, ENVIRONMENT).kept == 6 and len(server.asked) == asked


# ------------------------------------------------------------------------------- on to the trainer


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl"])
def test_what_was_constructed_loads_as_tokens_to_train_on(family: str, store: MemoryStore, tmp_path: Path) -> None:
    tiny = make_tiny(family)
    with chat_server(Teachers(store)) as server:
        construct(tmp_path / "set", settings(server.url), store, [two_hops(store)], environment_of(tiny))
    (episode,), left_out = load_episodes(tmp_path / "set", tiny.codec)
    assert left_out == [] and episode.tokens is not None and len(episode.tokens.turn_lengths()) == 5
    episode.tokens.check(tiny.codec, "two")
    assert [turn.action.name for turn in episode.turns if turn.action] == ["search", "bbox", "search", "bbox", "answer"]
