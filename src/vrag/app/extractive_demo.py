"""`vrag demo --set model=extractive`: the demo without a model. Needs no model library.

documents → corpus → the extractive agent answers → report
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from vrag import __version__
from vrag.app.measuring import Say, choose, measure
from vrag.app.splits import open_split
from vrag.data.synthetic import SyntheticSpec
from vrag.environment import EnvironmentConfig
from vrag.evaluation.report import Run, write_report
from vrag.evaluation.runner import EvalSettings
from vrag.policies.extractive import ExtractivePolicy
from vrag.rollout import Limits
from vrag.runs import RunDir
from vrag.types import Frozen

EXTRACTIVE = "extractive"


class ExtractiveDemoConfig(Frozen):
    """The same documents and questions as those that the demo with a model is measured on."""

    model: Literal["extractive"] = EXTRACTIVE
    heldout_documents: int = 40
    questions: int = 150
    trajectories: int = 12
    seed: int = 0
    dpi: int = 200


def run_extractive_demo(config: ExtractiveDemoConfig, out: Path, say: Say) -> Path:
    """Run what is still owed under `out` and return the path of its report. Raises `UsageError` if `out` holds a demo
    with another configuration, or something else.
    """
    RunDir.open(out, config)
    say("1/3  rendering and indexing documents")
    environment = EnvironmentConfig()
    spec = SyntheticSpec(split="heldout", documents=config.heldout_documents, seed=config.seed)
    heldout = open_split(spec, config.dpi, environment, out)
    questions = choose(heldout.tasks, config.questions, config.seed)
    say(f"2/3  the extractive agent (no model) answers {len(questions)} questions")
    policy = ExtractivePolicy(heldout.corpus, environment.view)
    records = measure(questions, heldout, policy, None, EvalSettings(), Limits(), out / EXTRACTIVE, say)
    say("3/3  writing the report")
    report = out / "report.html"
    write_report(
        report,
        [Run(EXTRACTIVE, records)],
        [],
        config.trajectories,
        heldout.corpus,
        title="Answers with evidence, without a model",
        lead=(
            f"An agent that has no model searches rendered pages, finds the words of the question on them, crops "
            f"there and answers with what it reads: {len(questions)} questions of one and of two hops about slides, "
            "tables and charts."
        ),
        facts={
            "Command": "vrag demo --set model=extractive",
            "Documents": heldout.pages,
            "Answers": "right means equal to the gold answer after normalisation",
            "Versions": f"vrag {__version__}",
        },
    )
    return report
