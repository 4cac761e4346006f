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
    config = OptimizerConfig(lr=2.0, schedule="cosine", warmup=0.1, floor=0.0, restart=0.6)
    rates = [rate(config, step, 100) for step in range(100)]
    assert rates[59] == pytest.approx(0.0, abs=5e-3)
    assert rates[60] == pytest.approx(1.0)
    assert rates[80] == pytest.approx(0.5)
    assert rates[60:] == sorted(rates[60:], reverse=True)


def test_a_constant_rate_stays() -> None:
    config = OptimizerConfig(lr=2.0, warmup=0.0)
    assert {rate(config, step, 50) for step in range(50)} == {2.0}
