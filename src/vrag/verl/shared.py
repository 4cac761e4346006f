"""What the episodes of one agent process share: verl makes an agent loop for each, and a corpus is opened once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from vrag.codecs.qwen_vl import QwenVLCodec
from vrag.environment import DocumentEnvironment, EnvironmentConfig
from vrag.rewards.judge import Judge
from vrag.rewards.judge import opened as opened_judge
from vrag.rewards.rubric import Rubric
from vrag.verl.settings import VerlSettings, read_settings


@dataclass(frozen=True)
class Shared:
    settings: VerlSettings
    environment: EnvironmentConfig
    codec: QwenVLCodec
    make_environment: Callable[[], DocumentEnvironment]
    rubric: Rubric
    judge: Judge | None


@lru_cache(maxsize=1)
def shared(group: str, model: str, family: str | None, tokenizer: Any, processor: Any) -> Shared:
    """Open corpus, search and judge as the `vrag` group of the configuration (as JSON) says, for the checkpoint
    `model`, with verl's own tokenizer and processor. They stay open for as long as the process lives.

    Raises `CheckpointError` and `ConfigError` as `vrag.verl.checks` does, and what opening raises.
    """
    from vrag.corpus.store import Corpus
    from vrag.policies.speaker import environment_for
    from vrag.rewards.combine import paper_rubric
    from vrag.verl.checks import check_family, check_processor, check_views
    from vrag.views import ViewRenderer

    settings = read_settings(group)
    check_processor(processor, model)
    check_family(processor, family, model)
    environment = settings.environment_over(environment_for(model))
    check_views(environment.view, processor.image_processor, model)
    with ExitStack() as failed:
        store = failed.enter_context(Corpus.open(settings.corpus))
        retriever = _retriever(settings, store)
        judge = failed.enter_context(opened_judge(settings.judge))
        failed.pop_all()
    renderer = ViewRenderer(store, 500)
    return Shared(
        settings,
        environment,
        QwenVLCodec(tokenizer, processor.image_processor),
        lambda: DocumentEnvironment(store, retriever, environment, renderer),
        paper_rubric(settings.rewards, judge),
        judge,
    )


def _retriever(settings: VerlSettings, store: Any) -> Any:
    if settings.search_url is None:
        from vrag.retriever import open_retriever

        return open_retriever(store, settings.by)
    import os

    from vrag.remote import RemoteRetriever

    by = None if settings.by == "auto" else settings.by
    return RemoteRetriever(settings.search_url, token=os.environ.get("VRAG_TOKEN"), by=by)
