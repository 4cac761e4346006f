"""Everything that `vrag doctor` finds, as one report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from vrag.app.doctor import endpoints as servers
from vrag.app.doctor import models
from vrag.app.doctor.endpoints import Ask, Endpoint
from vrag.app.doctor.figures import MEASURED, Held, held
from vrag.app.doctor.machine import Machine, machine
from vrag.app.doctor.models import Model
from vrag.app.doctor.needs import Need, Setting, needs
from vrag.app.doctor.packages import Extra, extras, packages
from vrag.corpus.office import INSTALL, find_soffice
from vrag.environment import EnvironmentConfig
from vrag.errors import CorpusError, UsageError
from vrag.policies.served import ServedSettings, served_environment
from vrag.types import Frozen

PAGES = 10_000  # that figures are for, where nothing else is said


@dataclass(frozen=True)
class Asked:
    """What a person wants to know about; all of it is to be there."""

    policy: str | None = None
    served: ServedSettings | None = None
    encoder: str | None = None
    corpus: str | None = None
    recipe: str | None = None
    pages: int | None = None
    endpoints: Sequence[Ask] = field(default_factory=lambda: [])


class Program(Frozen):
    name: str
    found: str | None  # its path
    use: str
    fix: str


class Report(Frozen):
    """`wanting`: what was asked for and isn't here, with the reason. `basis`: where the sizes of pages are from."""

    machine: Machine
    packages: dict[str, str]
    extras: list[Extra]
    programs: list[Program]
    gpu: bool  # whether a model would run on one
    note: str
    corpus: Held | None
    endpoints: list[Endpoint]
    models: list[Model]
    policy: str
    pages: int
    basis: str
    recipes: list[Need]
    wanting: list[str]


def examine(asked: Asked) -> Report:
    """Raises `UsageError` for what can't be asked: a bad URL, or a name that no recipe has."""
    here, known = machine(), extras()
    gpu, note = _gpu(here, known)
    wanting: list[str] = []
    corpus = _corpus(asked, wanting)
    reached = servers.ask_all(asked.endpoints)
    wanting += [f"{one.what} {one.url}: {one.said}" for one in reached if not one.reached]
    policy, environment = _policy(asked, gpu, reached)
    encoder = _encoder(asked, gpu, reached)
    pages = asked.pages or (corpus.pages if corpus and corpus.pages else PAGES)
    figures, stored = (corpus.figures, corpus.pages) if corpus else (MEASURED, 0)
    setting = Setting(here, policy, asked.served is not None, encoder, environment, pages, stored, figures, gpu)
    rows = needs(setting)
    asked_for = [model for model, name in ((policy, asked.policy), (encoder, asked.encoder)) if model and name]
    wanting += [f"{one.role} {one.name}: {reason}" for one in asked_for for reason in one.missing]
    wanting += _recipe(asked, rows)
    listed = models.shipped(gpu)
    return Report(
        machine=here,
        packages=packages(),
        extras=known,
        programs=[Program(name="soffice", found=find_soffice(), use="office documents", fix=INSTALL)],
        gpu=gpu,
        note=note,
        corpus=corpus,
        endpoints=reached,
        models=listed + [one for one in asked_for if one.name not in {other.name for other in listed}],
        policy=policy.name,
        pages=pages,
        basis=figures.source,
        recipes=rows,
        wanting=list(dict.fromkeys(wanting)),
    )


def _gpu(here: Machine, known: Sequence[Extra]) -> tuple[bool, str]:
    """Whether models would run on a GPU, by the version of torch, which isn't imported."""
    torch = next((one.have["torch"] for one in known if "torch" in one.have), None)
    if not here.gpus:
        return False, "no NVIDIA GPU: models run on the CPU"
    if torch is None:
        return False, "torch isn't installed: no model runs here"
    if torch.endswith("+cpu"):
        return False, f"torch {torch} is built for CPUs: it doesn't use the GPU; install torch for CUDA"
    return True, ""


def _corpus(asked: Asked, wanting: list[str]) -> Held | None:
    if asked.corpus is None:
        return None
    try:
        return held(asked.corpus)
    except (CorpusError, UsageError) as error:
        wanting.append(str(error))
        return None


def _policy(asked: Asked, gpu: bool, reached: Sequence[Endpoint]) -> tuple[Model, EnvironmentConfig]:
    """The policy that recipes are judged for, and its environment."""
    if asked.served is not None:
        missing = [one.said for one in reached if one.what == "policy server" and not one.reached]
        return _elsewhere(asked.served.model, "policy", missing), served_environment(asked.served)
    policy = models.policy(asked.policy or "extractive", gpu)
    environment = models.environment(policy.name)
    if environment is None and not policy.missing and not policy.note:
        policy = policy.model_copy(update={"missing": ["its config.json names no family that vrag knows"]})
    return policy, environment or EnvironmentConfig()


def _encoder(asked: Asked, gpu: bool, reached: Sequence[Endpoint]) -> Model | None:
    if asked.encoder is None:
        return None
    if "://" not in asked.encoder:
        return models.encoder(asked.encoder, gpu)
    missing = [one.said for one in reached if one.what == "encoder server" and not one.reached]
    return _elsewhere(asked.encoder, "encoder", missing)


def _elsewhere(name: str, role: str, missing: list[str]) -> Model:
    """A model whose weights are on a server."""
    return Model(name=name, role=role, disk=0, parameters=None, memory=0, missing=missing, note="served")


def _recipe(asked: Asked, rows: Sequence[Need]) -> list[str]:
    if asked.recipe is None:
        return []
    row = next((one for one in rows if one.recipe == asked.recipe), None)
    if row is None:
        raise UsageError(f"no recipe {asked.recipe!r}; there are {', '.join(one.recipe for one in rows)}")
    return [f"recipe {row.recipe}: {reason}" for reason in row.missing]
