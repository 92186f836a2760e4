"""Every fault that does not take long, once, for a moment: nobody misses a message silently, and all is well again."""

from __future__ import annotations

import pytest

from tests.chaos.rig import Rig
from tests.chaos.scenarios import SCENARIOS

HOLD_SECONDS = 0.4
"""How long a fault lasts here; `tox -e chaos` has longer ones."""


LONG = {"link-swaps"}
"""Processes notice it by beats that are 9 s apart; tests/recovery/test_no_order.py has faster ones."""


@pytest.mark.parametrize("scenario", sorted(SCENARIOS.keys() - LONG))
async def test_no_message_is_lost_silently(rig: Rig, scenario: str) -> None:
    """No duplicate, no reorder, every missing message inside a reported gap, and everybody hears again."""
    outcome = await rig.run(SCENARIOS[scenario], seed=4, hold_seconds=HOLD_SECONDS)
    assert outcome.verdict.problems == []
    assert outcome.verdict.received > 0
