"""What a training command opens by the names on its command line: a checkpoint, and a corpus with tasks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from vrag.index.vectors import EncoderName
    from vrag.retriever import Way
    from vrag.scene import OwnAction
    from vrag.training.origin import Origin


class Loaded:
    """A checkpoint to train, and the environment that it acts in. `whole`: all weights are trained, not adapters."""

    def __init__(self, name: str, *, whole: bool = True) -> None:
        from vrag.policies.load import checkpoint_path, load_codec, load_trainable
        from vrag.policies.speaker import environment_of

        path = checkpoint_path(name)
        self.name, self.path = name, path
        self.model, self.codec = load_trainable(path, whole=whole), load_codec(path)
        self.environment = environment_of(path, self.model, self.codec)

    def origin(
        self,
        method: Literal["sft", "rl"],
        command: str,
        corpus: str | None,
        data: dict[str, Path | None],
        by: str | None = None,
    ) -> Origin:
        """Where a run that starts from here comes from. `data`: files by what they hold; `by`: how it searched."""
        from vrag.training.origin import Origin, fingerprint

        files = {name: fingerprint(file) for name, file in data.items() if file is not None}
        commit = self.path.name if self.path != Path(self.name) and "/" in self.name else None  # the Hub cache's folder
        return Origin(method=method, command=command, base=self.name, commit=commit, corpus=corpus, by=by, data=files)

    def save(self, out: Path, origin: Origin) -> Path:
        """As `final` in the run's folder, with a card, whole or not at all."""
        from vrag.policies.load import save_policy
        from vrag.staging import whole_folder
        from vrag.training.card import write_card

        final = out / "final"
        if not final.exists():
            with whole_folder(final) as folder:
                save_policy(folder, self.model, self.codec, self.environment)
                write_card(folder, out, origin, self.model.config.model_type)
        return final


class Opened:
    """A corpus and its tasks, and what makes environments over them, searched as `by` says, with `actions` of one's
    own.
    """

    def __init__(
        self,
        corpus: str,
        tasks: Path,
        loaded: Loaded,
        by: Way = "auto",
        encoder: EncoderName | None = None,
        actions: Sequence[OwnAction] = (),
    ) -> None:
        from vrag.corpus.store import Corpus
        from vrag.data.tasks import read_tasks
        from vrag.retriever import open_retriever, way_of
        from vrag.views import ViewRenderer

        self.tasks = read_tasks(tasks)
        self.corpus = Corpus.open(corpus)
        self._loaded, self._actions = loaded, actions
        try:
            self.by = way_of(self.corpus, by)
            self._retriever = open_retriever(self.corpus, by, encoder)
        except BaseException:
            self.corpus.close()
            raise
        self._renderer = ViewRenderer(self.corpus, 500)

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self.corpus.close()

    def make(self) -> Any:
        from vrag.environment import DocumentEnvironment

        config = self._loaded.environment
        return DocumentEnvironment(self.corpus, self._retriever, config, self._renderer, self._actions)
