"""Learning to see from nothing: transcription and localisation, taught from a corpus's own text layer.

A freshly initialised vision tower learns neither to read nor to point inside whole trajectories, where few of
the trained tokens depend on pixels. Two tasks made from pages and their word boxes teach it first:

- *read*: a crop around a word; write the words that stand in it;
- *find*: a page view and a word printed on it; write the word's box as `<bbox>`.

The curriculum is adaptive: `level` starts at 0 (the text is large and in the middle of the crop) and rises by
`rise` whenever the running accuracy at the present level passes `threshold`, up to 1 (small, and anywhere in
it). Nothing is drawn for it: every sample is a cut from a real page.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from PIL.Image import Image
from pydantic import Field

from vrag.codecs.qwen_vl import QwenVLCodec
from vrag.episode import Tokens
from vrag.geometry import ViewSpec, from_raw, page_view, render, view_size
from vrag.protocols import PageStore
from vrag.training.optimizer import OptimizerConfig, apply, make_optimizer, rate
from vrag.training.precision import Precision
from vrag.training.run import CheckpointConfig, TrainingRun
from vrag.training.supervised import Example, supervised_step
from vrag.types import Box, Frozen, ImagePart, Message, Page, View, Word

T = TypeVar("T")
Class = Literal["number", "code", "word"]  # digits alone, letters with digits, anything else


class PretrainConfig(Frozen):
    """Defaults train vrag-tiny. `find_share` of each batch is localisation, from `find_from` of the steps on."""

    steps: int = 3000
    batch: int = 64
    find_share: float = 0.25
    find_from: float = 0.3
    shares: dict[Class, float] = Field(default={"number": 0.5, "code": 0.5})
    longest: int = 10  # characters of a transcription
    rise: float = 0.05
    threshold: float = 0.8
    momentum: float = 0.95
    max_tokens: int = 8192
    precision: Precision = "bf16"
    seed: int = 0
    optimizer: OptimizerConfig = OptimizerConfig(lr=1.5e-3, schedule="cosine", warmup=0.03, floor=0.1)
    checkpoints: CheckpointConfig = CheckpointConfig(every=200, keep=1)


@dataclass
class Curriculum:
    """The level of *read* and the running accuracy at it."""

    config: PretrainConfig
    level: float = 0.0
    accuracy: float = 0.0

    def update(self, right: float) -> None:
        m = self.config.momentum
        self.accuracy = m * self.accuracy + (1 - m) * right
        if self.accuracy > self.config.threshold and self.level < 1.0:
            self.level = min(1.0, self.level + self.config.rise)
            self.accuracy -= 0.05  # earn the next rise at the new level


class PageSampler:
    """Draws samples from the pages of a store; page images are kept in memory as they are met.

    What to read is drawn by class, then by text, then by place: a year that stands on every page is not read
    more often than a code that stands on one.
    """

    def __init__(
        self, store: PageStore, pages: Sequence[Page], codec: QwenVLCodec, spec: ViewSpec, config: PretrainConfig
    ) -> None:
        self.store, self.codec, self.spec, self.config = store, codec, spec, config
        self.pages = [p for p in pages if store.words(p.id)]
        self._words = {p.id: list(store.words(p.id)) for p in self.pages}
        self._places: dict[Class, dict[str, list[tuple[Page, Word]]]] = {"number": {}, "code": {}, "word": {}}
        for page in self.pages:
            for word in self._words[page.id]:
                if len(word.text) <= config.longest:
                    self._places[class_of(word.text)].setdefault(word.text, []).append((page, word))
        self._texts = {kind: sorted(places) for kind, places in self._places.items()}
        self._images: dict[str, Image] = {}
        self._views: dict[str, Image] = {}

    def read(self, kind: Class, level: float, rng: np.random.Generator) -> Example:
        """A crop in which a text of `kind` stands alone, to transcribe."""
        while True:
            page, word = _pick(self._places[kind][_pick(self._texts[kind], rng)], rng)
            region = reading_region(word.box, page, level, rng)
            if text_inside(self._words[page.id], region) == word.text:
                height, width = view_size(round(region.height), round(region.width), self.spec)
                view = View(page_id=page.id, ref=page.ref, region=region, width=width, height=height)
                return self._example([ImagePart(render(self._image(page), view), view)], word.text)

    def find(self, rng: np.random.Generator) -> Example:
        """A page and a word that is large enough to be seen on it, to point at."""
        while True:
            example = self._find(_pick(self.pages, rng), rng)
            if example is not None:
                return example

    def _find(self, page: Page, rng: np.random.Generator) -> Example | None:
        view = page_view(page, self.spec)
        tall = 9 * page.height / view.height  # raw height of a word that is 9 pixels tall in the view
        words = self._words[page.id]
        texts = [w.text for w in words]
        large = [w for w in words if w.box.height >= tall and texts.count(w.text) == 1 and len(w.text) > 2]
        if not large:
            return None
        word = _pick(large, rng)
        box = from_raw(view, word.box, self.spec.frame)
        answer = "<bbox>[" + ", ".join(str(int(v)) for v in box.as_tuple()) + "]</bbox>"
        return self._example([f"Find {word.text}", ImagePart(self._view(page, view), view)], answer)

    def _example(self, parts: list[str | ImagePart], answer: str) -> Example:
        prompt = self.codec.prompt([Message("user", parts)])
        ids = self.codec.encode_sampled(answer)
        tokens = Tokens(prompt.ids, images=list(prompt.images))
        tokens.add_sampled(ids, [0.0] * len(ids))
        return Example(tokens, [1.0] * len(ids))

    def _image(self, page: Page) -> Image:
        if page.id not in self._images:
            self._images[page.id] = self.store.image(page.id)
        return self._images[page.id]

    def _view(self, page: Page, view: View) -> Image:
        if page.id not in self._views:
            self._views[page.id] = render(self._image(page), view)
        return self._views[page.id]


def class_of(text: str) -> Class:
    if text.isdigit():
        return "number"
    return "code" if any(c.isdigit() for c in text) else "word"


def _pick(items: Sequence[T], rng: np.random.Generator) -> T:
    return items[int(rng.integers(len(items)))]


def reading_region(word: Box, page: Page, level: float, rng: np.random.Generator) -> Box:
    """A region (whole raw pixels) that holds the word. At level 0 the word is large and in the middle; at level 1
    it stands anywhere, and the region is up to 12 heights of the word wide, as when an agent crops a value.
    """
    height = max(word.height, 4.0)
    width = max(word.width * 1.25, height * (3.5 + level * rng.uniform(0.0, 8.5)))
    tall = max(width * 2.0 ** (-1.0 + level * rng.uniform(0.0, 1.3)), height * 1.3)
    slack_x, slack_y = width - word.width, tall - word.height
    left = word.x1 - slack_x * (0.5 + level * rng.uniform(-0.48, 0.48))
    top = word.y1 - slack_y * (0.5 + level * rng.uniform(-0.45, 0.45))
    left, top = min(max(left, 0.0), page.width - 8.0), min(max(top, 0.0), page.height - 8.0)
    right, bottom = min(int(left + width) + 1, page.width), min(int(top + tall) + 1, page.height)
    return Box(x1=int(left), y1=int(top), x2=right, y2=bottom)


def text_inside(words: Sequence[Word], region: Box) -> str:
    """The words that lie in `region` by at least 70 % of their area, in reading order; "" when a word is cut
    through (30 to 70 % inside): such a crop has no clear transcription.
    """
    kept: list[str] = []
    for word in words:
        b = word.box
        across = max(0.0, min(b.x2, region.x2) - max(b.x1, region.x1))
        down = max(0.0, min(b.y2, region.y2) - max(b.y1, region.y1))
        share = across * down / max(b.width * b.height, 1e-6)
        if share >= 0.7:
            kept.append(word.text)
        elif share > 0.3:
            return ""
    return " ".join(kept)


def pretrain(
    model: Any,
    codec: QwenVLCodec,
    sampler: PageSampler,
    config: PretrainConfig,
    out: Path,
    on_step: Callable[[dict[str, Any]], None] = lambda metrics: None,
) -> None:
    """Train `model` in place; rerunning the same call continues from the newest checkpoint."""
    optimizer = make_optimizer(model.parameters(), config.optimizer)
    run = TrainingRun(out, config, model, codec, optimizer, config.checkpoints)
    curriculum = Curriculum(config, **run.state.get("curriculum", {}))
    model.train()
    for step in range(run.start, config.steps):
        began = time.perf_counter()
        metrics = _step(model, codec, sampler, curriculum, step)
        lr = rate(config.optimizer, step, config.steps)
        metrics["gradient_norm"] = apply(optimizer, model, config.optimizer, lr)
        metrics |= {"lr": lr, "seconds": time.perf_counter() - began}
        state = {"curriculum": {"level": curriculum.level, "accuracy": curriculum.accuracy}}
        run.commit(step, config.steps, metrics, state)
        on_step({"step": step, "steps": config.steps, **metrics})


def _step(model: Any, codec: QwenVLCodec, sampler: PageSampler, curriculum: Curriculum, step: int) -> dict[str, Any]:
    """Gradients of one batch, and the curriculum's next level."""
    config = curriculum.config
    rng = np.random.default_rng([config.seed, step])
    finding = round(config.batch * config.find_share) if step >= config.find_from * config.steps else 0
    names = list(config.shares)
    kinds = rng.choice(len(names), size=config.batch - finding, p=list(config.shares.values()))
    examples = [sampler.read(names[k], curriculum.level, rng) for k in kinds]
    examples += [sampler.find(rng) for _ in range(finding)]
    result = supervised_step(model, codec, examples, config.max_tokens, config.precision)
    right: dict[str, list[bool]] = {}
    for k, exact in zip(kinds, result.exact, strict=False):
        right.setdefault(names[k], []).append(exact)
    curriculum.update(float(np.mean(right.get("number", []) + right.get("code", []) or [0.0])))
    if finding:
        right["find"] = result.exact[-finding:]
    shares = {name: float(np.mean(values)) for name, values in right.items()}
    return {"loss": result.loss, "level": curriculum.level, **shares}
