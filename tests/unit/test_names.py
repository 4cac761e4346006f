"""Random names in place of a task's own."""

import numpy as np

from vrag.data.names import random_name, renamed
from vrag.types import Task


def task(**meta: object) -> Task:
    return Task(id="1", question="What does Acme Labs make?", answers=["7"], gold=[], meta=dict(meta))


def test_a_name_is_replaced_wherever_the_task_says_it() -> None:
    one = task(entity="Acme Labs", queries=["Acme Labs output", "Plant K7 output"], metric="Output")
    other = renamed(one, np.random.default_rng(0))
    name = other.meta["entity"].split()[0]
    assert name != "Acme" and other.meta["entity"] == f"{name} Labs"
    assert other.question == f"What does {name} Labs make?"
    assert other.meta["queries"] == [f"{name} Labs output", "Plant K7 output"]
    assert (other.answers, other.meta["metric"], other.id) == (one.answers, "Output", one.id)
    assert one.meta["entity"] == "Acme Labs", "the task itself stays"


def test_a_task_without_an_entity_stays_as_it_is() -> None:
    one = task(metric="Output")
    assert renamed(one, np.random.default_rng(0)) is one


def test_names_differ_and_are_of_letters() -> None:
    rng = np.random.default_rng(0)
    names = {random_name(rng) for _ in range(50)}
    assert len(names) > 45 and all(name.isalpha() and name.istitle() for name in names)
