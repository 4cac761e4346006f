"""What each recipe needs for a number of pages with a policy, and what of it isn't here."""

from __future__ import annotations

from dataclasses import dataclass

from vrag.app.doctor.figures import Figures, Times
from vrag.app.doctor.machine import Machine
from vrag.app.doctor.models import Model
from vrag.environment import EnvironmentConfig
from vrag.evaluation.baselines import baseline_environment, baselines
from vrag.policies.extractive import SEES_IMAGES
from vrag.sizes import size
from vrag.types import Frozen


class Need(Frozen):
    """Sizes in bytes, times in seconds; None: unknown. `images` are the most that one conversation holds,
    `image_tokens` what they take of the model's context. `memory` is that of weights and index; what a model needs to
    run comes on top. `missing`: why it can't be run here.
    """

    recipe: str
    about: str
    sees: str  # image, text
    images: int
    image_tokens: int
    index: int
    page_images: int | None
    memory: int | None
    reading: tuple[float, float]  # of all pages, quick and slow ones, by all cores
    search: float
    missing: list[str]


@dataclass(frozen=True)
class Setting:
    """What the recipes are run with. `served`: the policy's weights are on another machine."""

    machine: Machine
    policy: Model
    served: bool
    encoder: Model | None
    environment: EnvironmentConfig
    pages: int
    stored: int  # of them, those that are there already
    figures: Figures
    gpu: bool


def needs(setting: Setting) -> list[Need]:
    """Of all recipes."""
    return [_need(name, baseline.about, setting) for name, baseline in baselines().items()]


def _need(name: str, about: str, setting: Setting) -> Need:
    times, pages, figures = Times(), setting.pages, setting.figures
    environment = baseline_environment(setting.environment, name)
    images = most_images(environment)
    view = environment.view
    vectors = setting.encoder is not None
    index = pages * (figures.text + (figures.vectors if vectors else 0))
    cores = setting.machine.cores
    need = Need(
        recipe=name,
        about=about,
        sees=environment.show,
        images=images,
        image_tokens=images * (view.max_pixels // view.factor**2),
        index=round(index),
        page_images=None if figures.images is None else round(pages * figures.images),
        memory=_memory(setting),
        reading=(pages / times.read_quick / cores, pages / times.read_slow / cores),
        search=max(times.search_text, times.search_vectors) if vectors else times.search_text,
        missing=[],
    )
    return need.model_copy(update={"missing": _missing(need, setting)})


def most_images(environment: EnvironmentConfig) -> int:
    """That one conversation can hold: a search shows `pages`, a crop one."""
    if environment.show == "text":
        return 0
    first = environment.pages if environment.first_search else 0
    return first + (environment.max_turns * environment.pages if "search" in environment.actions else 0)


def _memory(setting: Setting) -> int | None:
    """Of weights that are loaded here, and of pooled vectors."""
    weights = 0 if setting.served else setting.policy.memory
    if setting.encoder is None or weights is None:
        return weights
    if setting.encoder.memory is None:
        return None
    return round(weights + setting.encoder.memory + setting.pages * setting.figures.resident)


def _missing(need: Need, setting: Setting) -> list[str]:
    found = [*setting.policy.missing, *(setting.encoder.missing if setting.encoder else [])]
    if need.sees == "text" and setting.policy.name == "extractive":
        found.append(f"a model: {SEES_IMAGES}")
    machine = setting.machine
    have = machine.gpus[0].free if setting.gpu else machine.memory_free
    if need.memory is not None and have is not None and need.memory > have:
        found.append(f"memory: {size(need.memory)} of weights and index, {size(have)} free")
    disk = (need.index + (need.page_images or 0)) * max(0, setting.pages - setting.stored) / max(1, setting.pages)
    if machine.disk_free is not None and disk > machine.disk_free:
        found.append(f"disk: {size(round(disk))}, {size(machine.disk_free)} free at {machine.home}")
    return found
