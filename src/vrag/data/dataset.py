"""A dataset of trajectories on disk, in an open format: what SFT reads, here and (`vrag.data.export`) elsewhere.

    DIR/run.json        what was asked for; another wish needs another folder
    DIR/episodes.jsonl  one `Trajectory` a line
    DIR/dropped.jsonl   one `Dropped` a line: what was made and not kept, and why
    DIR/images/         views of pages and crops as PNG, named by the hash of their pixels, each written once
    DIR/manifest.json   a `Manifest`: the environment and the counts; written last
    DIR/accepted.jsonl  where episodes are chosen from what was accepted (`vrag.data.balance`): all of it

An episode is owed until it is in one of the logs, so a rerun goes on. Its images are on disk before its line is.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from vrag.data.balance import Balance, balanced
from vrag.environment import EnvironmentConfig
from vrag.episode import Episode, Reward
from vrag.errors import DataError, InvariantError, UsageError
from vrag.killpoints import killpoint
from vrag.rollout import Job
from vrag.runs import Json, RunDir, atomic_write, first_fault, read_lines
from vrag.types import Frozen, ImagePart, Message, StopReason, Task, Turn, Usage, View

if TYPE_CHECKING:
    from PIL.Image import Image

FORMAT = "vrag-trajectories"
Key = tuple[str, int, int]  # task id, sample, seed


class TextContent(Frozen):
    type: Literal["text"] = "text"
    text: str


class ImageContent(Frozen):
    """`image` is a path inside the dataset."""

    type: Literal["image"] = "image"
    image: str


class StoredMessage(Frozen):
    """One message of the conversation. What the assistant says is what is trained on, nothing else is. `ids` are the
    token ids that a model sampled for it; None for text that no model of the family wrote.
    """

    role: Literal["system", "user", "assistant"]
    content: list[Annotated[TextContent | ImageContent, Field(discriminator="type")]]
    ids: list[int] | None = None


class Trajectory(Frozen):
    """One finished episode. `turns` are its assistant messages in order, each read, with what came of it; the images
    are the views of their observations, in order. Boxes in text and in actions are in the frame of the manifest's
    `environment.view` over the image shown last.
    """

    task: Task
    sample: int = 0
    seed: int = 0
    messages: list[StoredMessage]
    turns: list[Turn]
    answer: str
    reward: Reward | None = None

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Trajectory:
        said = ["".join(text.text for text in _texts(m)) for m in self.messages if m.role == "assistant"]
        if said != [turn.text for turn in self.turns]:
            raise ValueError("what the assistant says in messages is not what turns say")
        if not self.messages or self.messages[0].role == "assistant" or self.messages[-1].role != "assistant":
            raise ValueError("messages must begin with a prompt and end with the assistant")
        if len(self.images) != len(self.views):
            raise ValueError(f"messages show {len(self.images)} images, turns {len(self.views)}")
        return self

    @property
    def key(self) -> Key:
        return self.task.id, self.sample, self.seed

    @property
    def images(self) -> list[str]:
        """The image files in order of appearance."""
        parts = [part for message in self.messages for part in message.content]
        return [part.image for part in parts if isinstance(part, ImageContent)]

    @property
    def views(self) -> list[View]:
        """What each of `images` shows."""
        return [view for turn in self.turns if turn.observation for view in turn.observation.views]


class Dropped(Frozen):
    """An episode that was not kept: a `reason` that is counted, and what it was in words."""

    task: str
    sample: int = 0
    seed: int = 0
    reason: str
    detail: str = ""


class Manifest(Frozen):
    """A whole dataset. `failed` episodes are in neither log: a rerun of the command that makes it tries them again.

    Where episodes are chosen by `balance`, `surplus` were accepted and are not among `kept`. `cost` is by who was
    asked, of all runs of the command together, failed calls too; `cost_per_kept` is their sum for one kept episode.
    """

    format: Literal["vrag-trajectories"] = FORMAT
    version: Literal[1] = 1
    environment: EnvironmentConfig
    kept: int
    dropped: dict[str, int]  # by reason
    failed: int
    images: int
    turns: dict[int, int]  # episodes by number of turns
    actions: dict[str, int]  # by name
    balance: Balance | None = None
    surplus: int = 0
    cost: dict[str, Usage] = Field(default_factory=lambda: {})
    cost_per_kept: dict[str, float] = Field(default_factory=lambda: {})  # calls, prompt_tokens, completion_tokens


class TrajectoryWriter:
    """Fills the dataset of `run`, which `RunDir.open` started or resumed. With a `balance` the episodes that are added
    are kept apart, and `finish` chooses from them: another balance needs no new episode.
    """

    def __init__(self, run: RunDir, environment: EnvironmentConfig, balance: Balance | None = None) -> None:
        """Raises `UsageError` where the environment speaks first, which no policy must learn to do."""
        if environment.first_search:
            raise UsageError("trajectories to train on are made with first_search off: the policy is to search")
        self.path, self._environment, self._balance = run.path, environment, balance
        self._accepted, self._dropped = run.log("episodes" if balance is None else "accepted"), run.log("dropped")
        accepted = ((row["task"]["id"], row["sample"], row["seed"]) for row in self._accepted.read())
        self._accepted_before: set[Key] = set(accepted)
        dropped = ((row["task"], row["sample"], row["seed"]) for row in self._dropped.read())
        self._done: set[Key] = {*self._accepted_before, *dropped}
        self._failed = 0

    def owed(self, jobs: Sequence[Job]) -> list[Job]:
        """The jobs that are in neither log yet."""
        return [job for job in jobs if _key(job) not in self._done]

    def has(self, job: Job) -> bool:
        """Whether an earlier run of the command accepted it."""
        return _key(job) in self._accepted_before

    def add(self, episode: Episode, *, sampled: bool = False) -> None:
        """Keep a finished episode, drop one that ended otherwise. One that infrastructure failed stays owed. `sampled`
        keeps the token ids that a model sampled. Raises `InvariantError` where these aren't there, `VragError` when the
        disk refuses.
        """
        if episode.stop is StopReason.ERROR:
            self.fail()
        elif episode.stop is not StopReason.ANSWER or episode.answer is None:
            self.drop(Job(episode.task, episode.sample, episode.seed), f"ended by {episode.stop.value}")
        else:
            self._accepted.append(self._stored(episode, sampled))
            killpoint("trajectories.kept")

    def drop(self, job: Job, reason: str, detail: str = "") -> None:
        self._dropped.append(Dropped(task=job.task.id, sample=job.sample, seed=job.seed, reason=reason, detail=detail))

    def fail(self) -> None:
        """Count an episode that infrastructure failed: it stays owed."""
        self._failed += 1

    def finish(self, cost: Mapping[str, Usage] | None = None) -> Manifest:
        """Choose, count what is there and write the manifest: only now the dataset is whole. `cost`: by who was asked.
        Raises `UsageError` for a balance that can't be had.
        """
        accepted = _read(self._accepted.path)
        kept = accepted
        if self._balance is not None:
            kept = balanced(accepted, self._balance)
            lines = "".join(trajectory.model_dump_json() + "\n" for trajectory in kept)
            atomic_write(self.path / "episodes.jsonl", lines.encode())
        manifest = Manifest(
            environment=self._environment,
            kept=len(kept),
            dropped=dict(sorted(Counter(str(row["reason"]) for row in self._dropped.read()).items())),
            failed=self._failed,
            images=len({image for trajectory in kept for image in trajectory.images}),
            turns=dict(sorted(Counter(len(trajectory.turns) for trajectory in kept).items())),
            actions=dict(sorted(Counter(t.action.name for k in kept for t in k.turns if t.action).items())),
            balance=self._balance,
            surplus=len(accepted) - len(kept),
            cost=dict(cost or {}),
            cost_per_kept=_shared((cost or {}).values(), len(kept)),
        )
        atomic_write(self.path / "manifest.json", manifest.model_dump_json(indent=2).encode() + b"\n")
        return manifest

    def _stored(self, episode: Episode, sampled: bool) -> Trajectory:
        runs = iter(_sampled(episode) if sampled else [None] * len(episode.turns))
        messages = [self._message(m, next(runs) if m.role == "assistant" else None) for m in episode.messages]
        return Trajectory(
            task=episode.task,
            sample=episode.sample,
            seed=episode.seed,
            messages=messages,
            turns=episode.turns,
            answer=episode.answer or "",
            reward=episode.reward,
        )

    def _message(self, message: Message, ids: list[int] | None) -> StoredMessage:
        content = [
            ImageContent(image=self._image(part.image)) if isinstance(part, ImagePart) else TextContent(text=part)
            for part in message.parts
        ]
        return StoredMessage(role=message.role, content=content, ids=ids)

    def _image(self, image: Image) -> str:
        digest = hashlib.sha256(f"{image.width}x{image.height}/".encode() + image.tobytes()).hexdigest()[:32]
        name = f"images/{digest[:2]}/{digest}.png"
        if not (self.path / name).exists():
            buffer = io.BytesIO()
            image.save(buffer, "PNG")
            atomic_write(self.path / name, buffer.getvalue())
            killpoint("trajectories.image")
        return name


def read_manifest(folder: Path) -> Manifest:
    """Raises `DataError` for a folder that holds no whole dataset."""
    file = folder / "manifest.json"
    if not file.is_file():
        wanted = "rerun the command that makes it" if (folder / "run.json").is_file() else "vrag data trajectories"
        raise DataError(f"{folder}: holds no whole dataset of trajectories (no manifest.json): {wanted} writes it")
    try:
        return Manifest.model_validate_json(file.read_bytes())
    except (OSError, ValidationError) as failure:
        raise DataError(f"{file}: isn't the manifest of a dataset of trajectories: {failure}") from failure


def read_trajectories(folder: Path) -> list[Trajectory]:
    """Every episode that was kept, in order. Raises `DataError` naming the line that is none."""
    return _read(folder / "episodes.jsonl")


def _read(path: Path) -> list[Trajectory]:
    return [_trajectory(row, f"{path}, line {number}") for number, row in enumerate(read_lines(path), start=1)]


def _trajectory(row: Json, where: str) -> Trajectory:
    try:
        return Trajectory.model_validate(row)
    except ValidationError as failure:
        raise DataError(f"{where}: isn't a trajectory ({first_fault(failure)}); mend or delete it") from failure


def _sampled(episode: Episode) -> list[list[int]]:
    """The ids of each turn. Raises `InvariantError` for an episode that doesn't carry those of all its turns."""
    tokens = episode.tokens
    runs = [tokens.ids[start:end] for start, end in tokens.sampled_runs()] if tokens else []
    if len(runs) != len(episode.turns):
        raise InvariantError(f"episode {episode.task.id}: {len(runs)} sampled runs for {len(episode.turns)} turns")
    return runs


def _shared(costs: Collection[Usage], episodes: int) -> dict[str, float]:
    """What all of them are for one of `episodes`; nothing where nothing was asked or kept."""
    if not costs or not episodes:
        return {}
    spent = sum(costs, Usage()).model_dump(exclude_none=True)
    return {name: round(count / episodes, 2) for name, count in spent.items()}


def _texts(message: StoredMessage) -> list[TextContent]:
    return [part for part in message.content if isinstance(part, TextContent)]


def _key(job: Job) -> Key:
    return job.task.id, job.sample, job.seed
