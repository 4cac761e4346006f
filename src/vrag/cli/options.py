"""Options that several verbs share."""

from __future__ import annotations

import json
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from vrag.errors import UsageError

if TYPE_CHECKING:
    from vrag.index.vectors import EncoderName
    from vrag.policies.served import ServedSettings
    from vrag.policies.speaker import SpeakerOf
    from vrag.rewards.judge import JudgeSettings


class Way(str, Enum):
    auto = "auto"
    text = "text"
    visual = "visual"
    fused = "fused"


By = Annotated[
    Way, typer.Option(help="Search page text, page images, or both fused; auto: both where the corpus has vectors.")
]
Encoder = Annotated[
    str | None,
    typer.Option("--encoder", help="Where else to find the encoder of the corpus: URL of a server, folder or name."),
]
EncoderSet = Annotated[
    list[str] | None,
    typer.Option("--encoder-set", help="One setting of the encoder: key=value; repeat for more."),
]

Policy = Annotated[
    str,
    typer.Option(
        "--policy",
        "-p",
        help="extractive (no model), tiny, tiny-sft, a checkpoint's folder, the OpenAI-compatible URL of a server "
        "(http://HOST:PORT/v1), or module:attribute of your own.",
    ),
]
PolicyModel = Annotated[str | None, typer.Option("--policy-model", help="The model's name on the server.")]
PolicySet = Annotated[
    list[str] | None,
    typer.Option("--policy-set", help="One setting of the served model: key=value; repeat for more."),
]
PolicyRecipeName = Annotated[
    str | None,
    typer.Option(
        "--policy-recipe",
        help="How the served model is asked: vrag-7b, qwen2.5-vl, qwen3-vl, or a TOML file; else by its name.",
    ),
]


Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        help="Read, recognise and encode over the machines of a Ray: its address, auto for the one that this machine "
        "belongs to, local for one that is started here.",
    ),
]
RaySet = Annotated[
    list[str] | None,
    typer.Option("--ray-set", help="One setting of the run on Ray: key=value; repeat for more."),
]
Qdrant = Annotated[
    str | None,
    typer.Option("--qdrant", help="Keep the corpus's vectors on the Qdrant server at this URL, not in its folder."),
]
Collection = Annotated[
    str | None,
    typer.Option("--collection", help="Name of its collection there.", show_default="the corpus's name"),
]


class ScopeOption(str, Enum):
    corpus = "corpus"
    document = "document"


Scope = Annotated[
    ScopeOption | None,
    typer.Option(help="document: search only the document that a question is about; corpus: all."),
]

Judge = Annotated[
    str | None,
    typer.Option("--judge", help="Score answers by a model at this OpenAI-compatible URL, http://HOST:PORT/v1."),
]
JudgeModel = Annotated[str | None, typer.Option("--judge-model", help="The judge's name on its server.")]
JudgeSet = Annotated[
    list[str] | None,
    typer.Option("--judge-set", help="One setting of the judge: key=value; repeat for more."),
]


class KernelOption(str, Enum):
    auto = "auto"
    numba = "numba"
    numpy = "numpy"
    torch = "torch"


Kernel = Annotated[
    KernelOption,
    typer.Option(help="What compares page vectors; auto: torch with a CUDA GPU, else numba if installed, else numpy."),
]
Device = Annotated[str | None, typer.Option(help="Device of the torch kernel, such as cuda:1.")]


def searched_by(by: Way, encoder: str | None, encoder_set: list[str] | None) -> dict[str, object]:
    """These options as they can be typed again; what is left at its default isn't said."""
    chosen = {"by": None if by is Way.auto else by.value, "encoder": encoder, "encoder_set": encoder_set}
    return {name: value for name, value in chosen.items() if value}


def encoder_name(name: str | None, changes: list[str] | None) -> EncoderName | None:
    """What `--encoder` and `--encoder-set` say together. Raises `UsageError` for settings of no encoder."""
    if name is None:
        if changes:
            raise UsageError("--encoder-set changes the encoder that --encoder names: give both")
        return None
    from vrag.config import changes as parsed
    from vrag.index.vectors import EncoderName

    return EncoderName(name=name, settings=parsed(changes or []))


def judge_overrides(url: str | None, model: str | None, changes: list[str] | None) -> list[str]:
    """What `--judge`, `--judge-model` and `--judge-set` say together, as overrides of a recipe that has a `judge`.
    Raises `UsageError` for one without the others.
    """
    if url is None and model is None and not changes:
        return []
    if url is None or model is None:
        raise UsageError("a judge is --judge URL and --judge-model NAME together; --judge-set changes its settings")
    return _chat_overrides("judge", url, model, changes)


def judge_settings(url: str | None, model: str | None, changes: list[str] | None) -> JudgeSettings | None:
    """The same as settings; None when there is no judge."""
    from vrag.config import resolve
    from vrag.rewards.judge import Judged

    return resolve(Judged, None, judge_overrides(url, model, changes)).judge


def served_settings(
    policy: str, model: str | None, changes: list[str] | None, recipe: str | None = None
) -> ServedSettings | None:
    """What `--policy`, `--policy-model`, `--policy-set` and `--policy-recipe` say of a served model; None for a policy
    that isn't served. Raises `UsageError` for a URL without a model, and the other way round.
    """
    url = "://" in policy
    if not url and model is None and not changes and recipe is None:
        return None
    from vrag.policies.recipe import policy_recipe

    known = policy_recipe(recipe) if recipe is not None else None
    model = model or (known.model if known else None)
    if not url or model is None:
        raise UsageError(
            "a served policy is --policy URL (http://HOST:PORT/v1) and --policy-model NAME together; --policy-set "
            "changes its settings"
        )
    from vrag.config import resolve
    from vrag.policies.served import Served

    settings = resolve(Served, None, _chat_overrides("policy", policy, model, changes)).policy
    return settings.by(known) if settings and known else settings


def named_policies(
    policies: list[str], model: str | None, changes: list[str] | None, recipe: str | None
) -> dict[str, SpeakerOf]:
    """What `--policy`, several times, says together with `--policy-model`, `--policy-set` and `--policy-recipe`, which
    are of the one that is served: each loaded, by the name that it goes by. Raises as `served_settings` and
    `load_speaker`.
    """
    from vrag.policies.speaker import load_speaker

    urls = [policy for policy in policies if "://" in policy]
    if len(urls) > 1:
        raise UsageError("one policy can be a server's, and --policy-model is its model; the others are checkpoints")
    served = served_settings((urls or policies)[0], model, changes, recipe)
    named: dict[str, SpeakerOf] = {}
    for policy in policies:
        of_server = policy in urls
        name = served.model if of_server and served is not None else policy
        named[name] = load_speaker(policy, served if of_server else None)
    return named


def _chat_overrides(group: str, url: str, model: str, changes: list[str] | None) -> list[str]:
    named = [f"{group}.url={json.dumps(url)}", f"{group}.model={json.dumps(model)}"]
    return named + [f"{group}.{change}" for change in changes or []]
