"""Where mux is not first, and why: which cases these are comes from the figures, the reasons are written here.

A reason is for a work and the language of the one that is ahead, because what is ahead for another reason deserves
another sentence. Where there is none yet, none is made up: the sentence says that it is not explained, and a test of
the committed results fails.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.compare import LIMIT, Comparison
from bench.peers.registry import MUX, PEERS
from bench.screen import number
from bench.summary import Row, rows
from bench.works import CASES

_ONE_SEND = (
    "one `send()` a client is nearly all there is, and the kernel does it; what is left around it is C there, and an"
    " event loop called from Python here"
)
_ONE_MESSAGE = (
    "a message comes alone and goes to one client, so nothing is shared: reading, parsing, routing and one `send()`"
    " are paid for each"
)
_HANDSHAKE = "a client comes in by HTTP, which Sanic parses and routes in Python, and"

UNEXPLAINED = "not explained yet"

_WHY = {
    ("burst", "C"): "a burst is written by C in one piece too",
    ("steady", "C"): _ONE_SEND,
    ("steady", "Node"): f"{_ONE_SEND}; Node's is C++ and its handlers are compiled",
    ("steady", "Python"): "one `send()` a client is nearly all there is, and it is the same one",
    ("many", "C"): f"{_ONE_MESSAGE}, in C",
    ("many", "Node"): f"{_ONE_MESSAGE}, there by compiled JavaScript",
    ("many", "Python"): f"{_ONE_MESSAGE}, with little to choose between two programs in Python",
    ("many-flat-out", "C"): f"{_ONE_MESSAGE}, in C",
    ("many-flat-out", "Node"): f"{_ONE_MESSAGE}, there by compiled JavaScript",
    ("many-flat-out", "Python"): f"{_ONE_MESSAGE}, with little to choose between two programs in Python",
    ("echo", "C"): "with few messages under way there is nothing to coalesce, and every step is C there",
    ("echo", "Node"): "with few messages under way there is nothing to coalesce, and every step is compiled there",
    ("idle", "C"): "it allocates less for a connection than an event loop's transport takes",
    ("churn", "C"): f"{_HANDSHAKE} nginx in C",
    ("churn", "Node"): f"{_HANDSHAKE} Node in C and compiled JavaScript",
    ("storm", "C"): f"{_HANDSHAKE} nginx in C",
    ("storm", "Node"): f"{_HANDSHAKE} Node in C and compiled JavaScript",
}


@dataclass(frozen=True, slots=True)
class Loss:
    """A work in which others are ahead of mux."""

    case: str
    ahead: list[Row]
    """The best first; those that lost messages did not do the work and are not among them."""

    @property
    def reasons(self) -> dict[str, str]:
        """By the language of those who are ahead; an empty one is not known."""
        return {language: _WHY.get((self.case, language), "") for language in map(_language, self.ahead)}

    def sentence(self) -> str:
        """Return a line for the README."""
        parts = []
        for language, why in self.reasons.items():
            who = (row for row in self.ahead if _language(row) == language)
            names = ", ".join(f"{row.name} ({number(row.to_mux.median, 2)} ×)" for row in who if row.to_mux)
            parts.append(f"{names}: {why or UNEXPLAINED}")
        return f"**{self.case}**: {'. '.join(parts)}."


def losses(comparison: Comparison) -> Iterator[Loss]:
    """Give the works in which mux is not first, as ratios paired within a round say it."""
    for case in CASES:
        found = [row for row in rows(comparison, case) if row.to_mux is not None and not row.lost]
        ahead = [row for row in found if row.name not in (MUX.name, LIMIT) and row.to_mux and row.to_mux.median < 1]
        if ahead:
            yield Loss(case.name, sorted(ahead, key=lambda row: row.to_mux.median if row.to_mux else 0.0))


def _language(row: Row) -> str:
    return next((peer.language for peer in PEERS if peer.name == row.name), "")
