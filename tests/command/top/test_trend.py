"""What a terminal remembers of a fleet."""

from __future__ import annotations

from typing import Any

from mux.command.top.stats import Look, parse_look
from mux.command.top.trend import NEWS_SECONDS, REMEMBERED_LOOKS, Counters, Trend
from tests.command.top import made_up


def look(*processes: dict[str, Any], missing: bool = False) -> Look:
    """Return a look at these processes."""
    return parse_look(made_up.stats(list(processes), [made_up.missing()] if missing else []), made_up.channels())


ID = made_up.process(0)["id"]


def test_a_counter_that_grew_is_news_for_a_while() -> None:
    """Growth adds up while it is news, then it is the past."""
    trend = Trend()
    trend.take(look(made_up.process(0, gaps=3, evicted={"overflow": 5})), 0)
    assert trend.growth(ID, 0) == Counters()
    trend.take(look(made_up.process(0, gaps=4, evicted={"overflow": 5})), 1)
    trend.take(look(made_up.process(0, gaps=4, evicted={"overflow": 6, "unwritable": 1})), 2)
    assert trend.growth(ID, 2) == trend.total_growth(2) == Counters(gaps=1, evicted=2)
    assert trend.growth(ID, 1 + NEWS_SECONDS) == Counters(evicted=2)
    trend.take(look(made_up.process(0, gaps=4, evicted={"overflow": 7})), 2 + NEWS_SECONDS)
    assert trend.growth(ID, 2 + NEWS_SECONDS) == Counters()


def test_a_process_that_comes_or_goes_is_no_growth() -> None:
    """The past of a newcomer is not news, and the sums of a fleet shrink when one leaves."""
    trend = Trend()
    trend.take(look(made_up.process(0, gaps=3)), 0)
    trend.take(look(made_up.process(0, gaps=3), made_up.process(1, gaps=8)), 1)
    trend.take(look(made_up.process(1, gaps=9)), 2)
    assert trend.total_growth(2) == Counters(gaps=1)
    assert trend.growth(ID, 2) == Counters()


def test_what_happened_while_a_process_was_missing_is_news() -> None:
    """It is silent for a look, and back with a gap: that is when a gap is likely."""
    trend = Trend()
    trend.take(look(made_up.process(0)), 0)
    trend.take(look(missing=True), 1)
    trend.take(look(made_up.process(0, gaps=1)), 2)
    assert trend.growth(ID, 2) == Counters(gaps=1)


def test_curves_are_bounded() -> None:
    """A terminal that is left open for a month keeps minutes."""
    trend = Trend()
    for step in range(REMEMBERED_LOOKS + 5):
        trend.take(look(made_up.process(0, connections=step)), step)
    assert list(trend.curves["connections"]) == list(range(5, REMEMBERED_LOOKS + 5))
