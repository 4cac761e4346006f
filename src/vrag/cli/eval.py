"""`vrag eval`: a policy over a task file, with intervals; a rerun continues."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from vrag.cli.compare import compare
from vrag.cli.live import counting
from vrag.cli.miniature import miniature
from vrag.cli.options import (
    By,
    Encoder,
    EncoderSet,
    Judge,
    JudgeModel,
    JudgeSet,
    Policy,
    PolicyModel,
    PolicyRecipeName,
    PolicySet,
    Scope,
    Way,
    encoder_name,
    judge_settings,
    served_settings,
)
from vrag.cli.questions import BenchmarkName, CorpusName, Limit, Out, Questions, TaskFile, asked
from vrag.cli.retrieval import retrieval
from vrag.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from vrag.agent import Agent
    from vrag.app.evaluation import Evaluation
    from vrag.episode import EpisodeRecord
    from vrag.evaluation.runner import EvalSettings
    from vrag.policies.served import ServedSettings
    from vrag.rewards.judge import JudgeSettings
    from vrag.rewards.rubric import Score
    from vrag.types import Task


class _Answers(TyperGroup):
    """`vrag eval …` without a subcommand measures answers."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["answers", *args]
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The subcommands, and what may be said without one."""
        super().format_help(ctx, formatter)
        answers = self.commands["answers"]
        answers.format_help(typer.Context(answers, info_name=ctx.info_name, parent=ctx.parent), formatter)


app = typer.Typer(cls=_Answers, no_args_is_help=True, help="Measure on questions; a rerun continues.")


@app.command("answers")
def evaluate(
    recipe: Annotated[
        str | None,
        typer.Argument(
            help="What the policy sees and may do: a name (`vrag eval recipes`) or a TOML file; else its own.",
            show_default=False,
        ),
    ] = None,
    benchmark: BenchmarkName = None,
    corpus: CorpusName = None,
    tasks: TaskFile = None,
    out: Out = None,
    policy: Policy = "extractive",
    policy_model: PolicyModel = None,
    policy_set: PolicySet = None,
    policy_recipe: PolicyRecipeName = None,
    named_recipe: Annotated[str | None, typer.Option("--recipe", help="The same as RECIPE.")] = None,
    override: Annotated[
        list[str] | None, typer.Option("--set", help="One setting of the environment: key=value; repeat for more.")
    ] = None,
    scope: Scope = None,
    by: By = Way.auto,
    encoder: Encoder = None,
    encoder_set: EncoderSet = None,
    limit: Limit = None,
    seeds: Annotated[str, typer.Option(help="Comma-separated; each runs every question.")] = "0",
    temperature: Annotated[float, typer.Option(min=0, help="0 is greedy.")] = 0.0,
    judge: Judge = None,
    judge_model: JudgeModel = None,
    judge_set: JudgeSet = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Episodes that run at once.")] = 64,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Delete an earlier run at --out.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """`vrag eval RECIPE`: answer every question and measure accuracy, retrieval, behaviour, with 95 % intervals."""
    from vrag.agent import Agent
    from vrag.corpus.store import Corpus
    from vrag.evaluation.baselines import baseline_environment
    from vrag.evaluation.runner import EvalSettings
    from vrag.retriever import open_retriever, way_of
    from vrag.rewards.combine import paper_rubric
    from vrag.rewards.judge import opened

    settings = EvalSettings(seeds=_seeds(seeds), temperature=temperature, concurrency=concurrency)
    recipe = _one_of(recipe, named_recipe)
    questions = asked(benchmark, corpus, tasks, limit, out, recipe and Path(recipe).stem, policy_model or policy)
    named, judged = encoder_name(encoder, encoder_set), judge_settings(judge, judge_model, judge_set)
    served = served_settings(policy, policy_model, policy_set, policy_recipe)
    scoped = [f"scope={scope.value}"] if scope is not None else []
    with Corpus.open(questions.corpus) as store, opened(judged) as by_model:
        agent = Agent(store, served or policy, open_retriever(store, by.value, named))
        agent = agent.within(baseline_environment(agent.environment, recipe, [*(override or []), *scoped]))
        _check_sees(agent)
        about = _about(questions.corpus, served or policy, way_of(store, by.value), judged)
        done = _run(agent, questions, settings, paper_rubric(judge=by_model), about, overwrite)
    _say_failures(done.records)
    if out is None:
        print(f"vrag: the run is in {questions.out}", file=sys.stderr)
    if as_json:
        print(done.summary.model_dump_json())
    else:
        _print(done, questions, agent.speaker.name)


def _check_sees(agent: Agent) -> None:
    from vrag.policies.extractive import SEES_IMAGES

    if agent.environment.show == "text" and agent.speaker.name == "extractive":
        raise UsageError(f"this recipe shows pages as text, and {SEES_IMAGES}: choose a model by --policy")


def _about(corpus: str, policy: ServedSettings | str, by: str, judge: JudgeSettings | None) -> dict[str, Any]:
    """What the run notes of the agent and of who scores it: a run of anything else isn't continued."""
    named = policy if isinstance(policy, str) else policy.model_dump(mode="json")
    scored = {} if judge is None else {"judge": judge.model_dump(mode="json")}
    return {"corpus": corpus, "policy": named, "by": by, **scored}


def _run(
    agent: Agent, questions: Questions, settings: EvalSettings, score: Score, about: dict[str, Any], overwrite: bool
) -> Evaluation:
    from vrag.app.evaluation import evaluate as run_evaluation

    with _Bar(questions.tasks, settings.seeds) as bar:
        done = run_evaluation(
            agent,
            questions.tasks,
            questions.out,
            settings=settings,
            score=score,
            about=about,
            overwrite=overwrite,
            on_record=bar.add,
        )
    there = len(done.records) - bar.done
    if there > 0:
        print(
            f"vrag: {there} of {len(done.records)} episodes were there already; --overwrite runs them again",
            file=sys.stderr,
        )
    return done


def _print(done: Evaluation, questions: Questions, policy: str) -> None:
    from vrag.evaluation.table import judge_hint, summary_table

    Console(markup=False, emoji=False).print(summary_table(done.summary, f"{policy} on {questions.corpus}"))
    if hint := judge_hint(done.summary):
        print(f"vrag: {hint}", file=sys.stderr)
    look = shlex.join(["vrag", "app", "--corpus", questions.corpus, "--runs", str(questions.out)])
    print(f"vrag: each answer: {look}", file=sys.stderr)


@app.command("recipes")
def recipes() -> None:
    """List the recipes: what a policy sees and may do in each."""
    from vrag.evaluation.baselines import baselines

    for name, baseline in baselines().items():
        print(f"{name:<26}{baseline.about}")


@app.command("policies")
def policies() -> None:
    """List the recipes of served policies: how these models are asked."""
    from vrag.policies.recipe import policy_recipes

    for name, recipe in policy_recipes().items():
        print(f"{name:<26}{recipe.about} ({recipe.model}; boxes: {recipe.environment.view.frame})")


app.command("retrieval")(retrieval)
app.command("compare")(compare)
app.command("miniature")(miniature)


def _say_failures(records: Sequence[EpisodeRecord]) -> None:
    failed = [record for record in records if record.reward is None]
    if failed:
        first = f"first: {failed[0].task.id}: {failed[0].error}"
        print(
            f"vrag: {len(failed)} of {len(records)} episodes have no score ({first}); "
            "they count as neither right nor wrong, and the same command tries them again",
            file=sys.stderr,
        )


def _one_of(recipe: str | None, named: str | None) -> str | None:
    if recipe is not None and named is not None and recipe != named:
        raise UsageError(f"two recipes, {recipe} and --recipe {named}: give one")
    return recipe or named


def _seeds(text: str) -> tuple[int, ...]:
    try:
        seeds = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--seeds {text!r}: expected whole numbers, such as 0,1,2") from None
    if len(set(seeds)) < len(seeds):
        raise ConfigError(f"--seeds {text!r}: names a seed twice, which would count its episodes twice")
    return seeds


class _Bar:
    """Progress on stderr: episodes done, and the share that is right so far."""

    def __init__(self, tasks: list[Task], seeds: tuple[int, ...]) -> None:
        self._progress = counting(Console(stderr=True))
        self._row = self._progress.add_task("episodes", total=len(tasks) * len(seeds))
        self.done = self._right = 0

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def add(self, record: EpisodeRecord) -> None:
        from vrag.evaluation.metrics import is_correct

        self.done += 1
        self._right += is_correct(record)
        self._progress.update(self._row, advance=1, description=f"{100 * self._right / self.done:.0f} % right")
