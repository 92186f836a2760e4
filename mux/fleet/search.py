"""Find the first channels of all processes: two rounds of questions.

In the first every process names its own first channels. What that leaves open, because some process has neither
named a channel nor all of its own, is asked for by name in the second. Who does not answer the second is told of as
missing, and what is told then lacks what it has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mux.fleet.census import Census
from mux.fleet.inquiry import Inquirer
from mux.fleet.messages import Body, Count, Process, Top, counted
from mux.fleet.ranking import Listing, Row, merge, ranked, unknown
from mux.fleet.respondent import max_answer_bytes

SECOND_ROUND_SECONDS = 0.1
"""What is left for the second round."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a search has found."""

    rows: Sequence[Row]
    """The first channels, in order."""
    is_all: bool
    """True when there are no others."""
    present: set[str]
    """The ids of the processes that have told all they were asked for."""


class Search:
    """Searches the channels of a fleet.

    Args:
        inquirer: asks the processes.
        census: how many there are bounds how much each may be asked for.
        seconds: how long answers are waited for, in both rounds together.
    """

    def __init__(self, inquirer: Inquirer, census: Census, seconds: float) -> None:
        self._inquirer = inquirer
        self._census = census
        self._first_round_seconds = seconds - SECOND_ROUND_SECONDS

    async def find(self, top: Top) -> Found:
        """Return the first channels of all processes."""
        answers = await self._inquirer.ask(top, self._first_round_seconds)
        max_bytes = max_answer_bytes(len(self._census) + 1)
        listings, names, left_out = await asyncio.to_thread(_read, answers, top, max_bytes)
        present = set(listings)
        if names:
            exact = await self._inquirer.ask(Count(tuple(names)), SECOND_ROUND_SECONDS, among=present)
            listings, present = await asyncio.to_thread(_fill_in, listings, names, exact)
        return await asyncio.to_thread(_put_in_order, listings, left_out, top, present)


def _read(
    answers: Mapping[str, tuple[Process, Body]], top: Top, max_bytes: int
) -> tuple[dict[str, Listing], list[str], set[str]]:
    """Return what every process said, what to ask for again, and what there is no room to ask for."""
    listings = {id_: _listing(body) for id_, (_, body) in answers.items()}
    return listings, *unknown(listings, top.sort, max_bytes)


def _fill_in(
    listings: Mapping[str, Listing], names: Sequence[str], answers: Mapping[str, tuple[Process, Body]]
) -> tuple[dict[str, Listing], set[str]]:
    """Return listings with what every process has of certain channels, and who has told that."""
    asked = set(names)
    filled: dict[str, Listing] = {}
    present: set[str] = set()
    for id_, listing in listings.items():
        exact = _listing(answers[id_][1]) if id_ in answers else None
        if exact is None or not exact.is_complete:
            filled[id_] = listing
        else:
            present.add(id_)
            rows = [*(row for row in listing.rows if row[0] not in asked), *exact.rows]
            filled[id_] = Listing(rows, listing.is_complete)
    return filled, present


def _put_in_order(listings: Mapping[str, Listing], left_out: set[str], top: Top, present: set[str]) -> Found:
    rows = [row for name, row in merge(listings.values()).items() if name not in left_out and row[1]]
    is_all = len(rows) <= top.count and all(one.is_complete for one in listings.values())
    return Found(ranked(rows, top.sort, top.count), is_all, present)


def _listing(body: Body) -> Listing:
    return Listing(counted(body), body.get("complete") is True)
