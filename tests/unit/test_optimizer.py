"""Learning rates over the steps of a run."""

import pytest

from vrag.training.optimizer import OptimizerConfig, rate


def test_the_rate_warms_up_and_falls_to_its_floor() -> None:
    config = OptimizerConfig(lr=2.0, schedule="cosine", warmup=0.1, floor=0.05)
    rates = [rate(config, step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([0.2 * (step + 1) for step in range(10)])
    assert rates[10] == pytest.approx(2.0)
    assert rates[55] == pytest.approx(2.0 * (0.05 + 0.95 / 2)), "half of the way"
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_a_restart_falls_twice_and_begins_again_at_half_the_rate() -> None:
    config = OptimizerConfig(lr=2.0, schedule="cosine", warmup=0.1, floor=0.0, restarts=(0.6,))
    rates = [rate(config, step, 100) for step in range(100)]
    assert rates[59] == pytest.approx(0.0, abs=5e-3)
    assert rates[60] == pytest.approx(1.0)
    assert rates[80] == pytest.approx(0.5)
    assert rates[60:] == sorted(rates[60:], reverse=True)


def test_each_restart_falls_again_from_half_the_rate() -> None:
    config = OptimizerConfig(lr=2.0, schedule="cosine", warmup=0.1, floor=0.0, restarts=(0.5, 0.8))
    rates = [rate(config, step, 100) for step in range(100)]
    assert rates[30] == pytest.approx(1.0), "half of the way down from 2"
    for first, middle, last in ((50, 65, 80), (80, 90, 100)):
        assert rates[first - 1] == pytest.approx(0.0, abs=5e-3)
        assert rates[first : last : middle - first] == pytest.approx([1.0, 0.5])
        assert rates[first:last] == sorted(rates[first:last], reverse=True)


def test_a_longer_run_with_a_restart_more_begins_as_the_shorter_one() -> None:
    """So that the checkpoint of the one can be continued by the other."""
    shorter = OptimizerConfig(lr=2.0, schedule="cosine", warmup=1 / 75, restarts=(2 / 3,))
    longer = shorter.model_copy(update={"warmup": 7 / 750, "restarts": (7 / 15, 7 / 10)})
    assert all(rate(shorter, step, 2100) == rate(longer, step, 3000) for step in range(2100))


def test_a_constant_rate_stays() -> None:
    config = OptimizerConfig(lr=2.0, warmup=0.0)
    assert {rate(config, step, 50) for step in range(50)} == {2.0}
