from __future__ import annotations

from mux.fleet.pulse import SAMPLES, Pulse


def test_nothing_is_known_before_the_first_sample() -> None:
    """Nor in the moment of it."""
    pulse = Pulse()
    assert pulse.per_second(1.0, 5, 6) == (0.0, 0.0)
    pulse.sample(1.0, 5, 6)
    assert pulse.per_second(1.0, 5, 6) == (0.0, 0.0)


def test_growth_per_second() -> None:
    """Since the oldest sample, until now."""
    pulse = Pulse()
    pulse.sample(1.0, 0, 100)
    pulse.sample(2.0, 10, 100)
    assert pulse.per_second(3.0, 30, 101) == (15.0, 0.5)


def test_only_the_last_seconds_count() -> None:
    """What was long ago is forgotten."""
    pulse = Pulse()
    pulse.sample(0.0, 0)
    for second in range(1, SAMPLES + 1):
        pulse.sample(float(second), 1_000_000)
    assert pulse.per_second(SAMPLES + 1.0, 1_000_000) == (0.0,)
