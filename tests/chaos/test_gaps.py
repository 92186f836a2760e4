from __future__ import annotations

from tests.chaos.gaps import gaps_told
from tests.chaos.ledger import Gap

TOLD = """\
2026-01-02 03:04:05,678 ERROR   mux.broker[7] lost Redis at redis://localhost:6379: closed; connecting again
2026-01-02 03:04:06,678 WARNING mux.broker[7] gap 3: messages may have been missed from 1767323044.678 to \
1767323046.500 (1.822 s): closed
{"level": "warning", "message": "gap 4: messages may have been missed from 1.000 to 2.500 (1.500 s): deaf"}
"""


def test_gaps_are_read_from_the_log_of_a_server() -> None:
    """As a line for a person, or inside of JSON."""
    assert gaps_told(TOLD, "a") == [Gap("a", 1767323044.678, 1767323046.5), Gap("a", 1.0, 2.5)]


def test_a_quiet_log_has_no_gaps() -> None:
    """Nothing is made up."""
    assert gaps_told("mux 0.1.0 on http://127.0.0.1:8000, 1 process\n", "a") == []
