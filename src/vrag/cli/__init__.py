"""The command `vrag`: a table of verbs, each imported only when it is used, so that `--help` is instant.

A verb is one line of `VERBS` and one module of this package. Its attribute is a plain function (one command)
or a `typer.Typer` (a verb with subcommands). Data go to stdout, everything else to stderr. Exit codes: 0 ok,
1 error, 2 usage, 130 interrupted.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from vrag import __version__
from vrag.errors import VragError

if TYPE_CHECKING:
    import typer


class Verb(NamedTuple):
    target: str  # module:attribute
    help: str


VERBS: dict[str, Verb] = {
    "index": Verb("vrag.cli.index:index", "Turn PDFs, images and office documents into a searchable corpus."),
    "search": Verb("vrag.cli.search:search", "Find pages of a corpus by their words, or by their images."),
    "ask": Verb("vrag.cli.ask:ask", "Answer a question from a corpus, with page and box."),
    "app": Verb("vrag.cli.app:app", "Index, search and ask in the browser, and look at runs."),
    "serve": Verb("vrag.cli.serve:serve", "Serve an agent, search of a corpus, or an encoder, over HTTP."),
    "mcp": Verb("vrag.cli.mcp:mcp", "Search, view, crop and ask as tools of other agents (MCP)."),
    "corpora": Verb("vrag.cli.corpora:corpora", "List the corpora, or remove one."),
    "snapshot": Verb("vrag.cli.snapshot:snapshot", "Copy a corpus with its vectors while it is in use."),
    "eval": Verb("vrag.cli.eval:app", "Measure a policy, or retrieval, on questions, with intervals."),
    "train": Verb("vrag.cli.train:train", "Train a policy (SFT, GRPO, vrag-tiny from nothing) or an encoder."),
    "push": Verb("vrag.cli.push:push", "Upload a checkpoint with its card to the Hugging Face Hub."),
    "data": Verb("vrag.cli.data:data", "Make data: the synthetic benchmark, or from datasets."),
    "doctor": Verb("vrag.cli.doctor:doctor", "What is installed, what answers, what each recipe needs here."),
    "demo": Verb("vrag.cli.demo:demo", "Documents, training and a report, in minutes."),
}

_INTERRUPTED = 130
_COMPLETION_OPTIONS = {"--install-completion", "--show-completion"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code; errors made on purpose become one line on stderr."""
    args = list(sys.argv[1:] if argv is None else argv)
    completing = "_VRAG_COMPLETE" in os.environ
    if not completing:
        if not args or args[0] in {"-h", "--help", "help"}:
            print(_help())
            return 0
        if args[0] == "--version":
            print(f"vrag {__version__}")
            return 0
        if args[0] not in VERBS and args[0] not in _COMPLETION_OPTIONS:
            return _unknown(args[0])
    return _run(args, list(VERBS) if completing else [name for name in args[:1] if name in VERBS])


def _run(args: list[str], verbs: list[str]) -> int:
    from vrag.cli.retries import show_retries

    # Read when torch is loaded. Its threads spin while they wait, and where other programs use the cores, for six times
    # as long as the work takes.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    show_retries()
    code = 0
    try:
        _command(verbs)(args=args, prog_name="vrag")
    except VragError as error:
        print(f"vrag: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except SystemExit as stop:  # how typer ends a command, also a successful one
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    if code == _INTERRUPTED:
        print("vrag: interrupted", file=sys.stderr)
    return code


def _command(verbs: list[str]) -> Any:
    """A typer command that knows only `verbs`: importing the others would cost their start-up time."""
    import typer

    root = typer.Typer(name="vrag", no_args_is_help=True, pretty_exceptions_enable=False)
    root.callback()(_root)
    for name in verbs:
        module, attribute = VERBS[name].target.split(":")
        verb: typer.Typer | Any = getattr(importlib.import_module(module), attribute)
        if isinstance(verb, typer.Typer):
            root.add_typer(verb, name=name, help=VERBS[name].help)
        else:
            root.command(name)(verb)
    return typer.main.get_command(root)


def _root() -> None:
    """Find answers in visually rich documents: search, zoom, answer with page and box."""


def _help() -> str:
    width = max(map(len, VERBS)) + 2
    verbs = "\n".join(f"  {name:<{width}}{verb.help}" for name, verb in VERBS.items())
    return (
        "Usage: vrag VERB [OPTIONS] …\n\n"
        "Find answers in visually rich documents: search, zoom, answer with page and box.\n\n"
        f"Verbs:\n{verbs}\n\n"
        "Options:\n"
        "  --version             Show the version.\n"
        "  --install-completion  Install completion for this shell.\n"
        "  --show-completion     Print the completion script of this shell.\n\n"
        "`vrag VERB --help` explains a verb."
    )


def _unknown(verb: str) -> int:
    from vrag.suggest import nearest

    near = nearest(verb, VERBS)
    hint = f"did you mean `vrag {near}`?" if near else "`vrag --help` lists the verbs"
    print(f"vrag: no verb {verb!r}; {hint}", file=sys.stderr)
    return 2
