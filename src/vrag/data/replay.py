"""Trajectories on disk to episodes with tokens: each is played again through the one loop, from what was stored."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vrag.codecs.qwen_vl import QwenVLCodec
from vrag.data.dataset import ImageContent, StoredMessage, Trajectory, read_trajectories
from vrag.episode import Episode
from vrag.errors import DataError
from vrag.geometry import ViewSpec
from vrag.rollout import Limits, rollout
from vrag.types import EncodedImage, ImagePart, Message, Request, Sample, Sampling, Step, StopReason, Task, View

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image


def load_episodes(folder: Path, codec: QwenVLCodec, limits: Limits | None = None) -> tuple[list[Episode], list[str]]:
    """The episodes of a dataset with the tokens that are trained on, and what was left out, in words: longer than
    `limits`, an image that can't be read. Ids that were sampled are taken as they are; other text is encoded here,
    once. Images stay on disk until a step needs them; equal ones are one object.

    Raises `DataError` for a damaged log and where nothing is left.
    """
    images = _Images(folder, codec)
    episodes: list[Episode] = []
    left_out: list[str] = []
    for trajectory in read_trajectories(folder):
        try:
            episode = asyncio.run(_replayed(trajectory, codec, images, limits or Limits()))
        except DataError as reason:
            left_out.append(str(reason))
            continue
        if episode.stop is StopReason.ANSWER:
            episodes.append(episode)
        else:
            left_out.append(f"{trajectory.task.id}: is longer than {(limits or Limits()).max_tokens} tokens")
    if not episodes:
        raise DataError(f"{folder}: has no episode to train on" + "".join(f"; {why}" for why in left_out[:1]))
    return episodes, left_out


def check_fits(made_for: ViewSpec, model: ViewSpec, folder: Path) -> None:
    """Raise `DataError` unless a model takes images and boxes as the dataset at `folder` has them."""
    if (made_for.frame, made_for.factor) != (model.frame, model.factor):
        raise DataError(
            f"{folder}: its boxes are {made_for.frame} over images of multiples of {made_for.factor} pixels, and the "
            f"model takes {model.frame} and {model.factor}: make it again with vrag data trajectories --for MODEL"
        )
    if made_for.min_pixels < model.min_pixels or made_for.max_pixels > model.max_pixels:
        raise DataError(
            f"{folder}: its images have {made_for.min_pixels} to {made_for.max_pixels} pixels, and the model takes "
            f"{model.min_pixels} to {model.max_pixels}: make it again with vrag data trajectories --for MODEL"
        )


async def _replayed(trajectory: Trajectory, codec: QwenVLCodec, images: _Images, limits: Limits) -> Episode:
    stored = _Stored(trajectory, codec, images)
    task, sampling = trajectory.task, Sampling(seed=trajectory.seed)
    episode = await rollout(stored, stored, codec, task, limits, sampling, sample=trajectory.sample)
    if episode.tokens is not None:
        shown = zip(trajectory.images, episode.tokens.images, strict=False)  # fewer where the end didn't fit
        episode.tokens.images = [images.encoded(name, image.grid) for name, image in shown]
    episode.messages, episode.reward = [], trajectory.reward
    return episode


class _Stored:
    """The environment and the policy of an episode that is over: they show and say what is stored."""

    def __init__(self, trajectory: Trajectory, codec: QwenVLCodec, images: _Images) -> None:
        self._turns, self._codec, self._images = iter(trajectory.turns), codec, images
        self._name = trajectory.task.id
        self._left = list(trajectory.messages)
        self._views = iter(trajectory.views)

    def reset(self, task: Task) -> list[Message]:
        return self._shown()

    async def step(self, text: str) -> Step:
        turn, messages = next(self._turns), self._shown()
        return Step(turn, messages, None if self._left else StopReason.ANSWER)

    async def generate(self, request: Request) -> Sample:
        message = self._left.pop(0)
        text = "".join(part.text for part in message.content if not isinstance(part, ImageContent))
        ids = message.ids or self._codec.encode_sampled(text)
        if message.ids and self._codec.decode(message.ids) != text:
            raise DataError(f"{self._name}: its token ids are not its text: they are of another tokenizer")
        return Sample(text, "stop", ids, [0.0] * len(ids))

    def close(self, session: str) -> None:
        """Nothing to free."""

    def _shown(self) -> list[Message]:
        """The messages up to where the assistant speaks next."""
        messages: list[Message] = []
        while self._left and self._left[0].role != "assistant":
            message = self._left.pop(0)
            messages.append(Message(message.role, list(self._parts(message))))
        return messages

    def _parts(self, message: StoredMessage) -> Iterator[str | ImagePart]:
        for part in message.content:
            if isinstance(part, ImageContent):
                view = next(self._views)
                yield ImagePart(self._images.read(part.image, view, self._name), view)
            else:
                yield part.text


class _Images:
    """The image files of a dataset, each encoded as one object however often it is shown."""

    def __init__(self, folder: Path, codec: QwenVLCodec) -> None:
        self._folder, self._codec = folder.resolve(), codec
        self._encoded: dict[str, EncodedImage] = {}

    def read(self, name: str, view: View, episode: str) -> Image:
        """RGB. Raises `DataError` where the file isn't an image of the view's size inside the dataset."""
        path = (self._folder / name).resolve()
        if not path.is_relative_to(self._folder):
            raise DataError(f"{episode}: {name} is outside the dataset")
        try:
            image = _open(path)
        except (OSError, SyntaxError, ValueError) as failure:  # what Pillow raises for damaged files
            raise DataError(f"{episode}: {path} can't be read as an image: {failure}") from failure
        if image.size != (view.width, view.height):
            raise DataError(f"{episode}: {path} has {image.size} pixels, its view {(view.width, view.height)}")
        return image

    def encoded(self, name: str, grid: tuple[int, int, int]) -> EncodedImage:
        """Pixels are read when they are asked for: all of a dataset's would not fit in memory."""
        if name not in self._encoded:
            self._encoded[name] = EncodedImage(grid, partial(_patches, self._folder / name, self._codec))
        return self._encoded[name]


def _open(path: Path) -> Image:
    from PIL import Image

    with Image.open(path) as file:
        return file.convert("RGB")


def _patches(path: Path, codec: QwenVLCodec) -> np.ndarray:
    return codec.encode_pixels(_open(path)).pixels
