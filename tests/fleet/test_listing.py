from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux.fleet import listing as listing_module
from mux.fleet.census import MAX_PROCESSES
from mux.fleet.listing import FEW_NAMES, merged, names_to_ask_for
from mux.fleet.messages import MAX_NAMES, MAX_RATE, MAX_SUBSCRIBERS, Row, Sort, Top

tables = st.dictionaries(
    st.sampled_from("abcdefghijkl"), st.tuples(st.integers(1, 4), st.integers(0, 40).map(float)), max_size=12
)
Table = dict[str, tuple[int, float]]


def ranked(table: Table, sort: Sort) -> list[Row]:
    """Return channels in order, by sorting all."""
    rows = [(name, *numbers) for name, numbers in table.items()]
    return sorted(rows, key=lambda row: (-row[1] if sort == "subscribers" else -row[2], row[0]))


def body(rows: list[Row], *, is_complete: bool = True) -> bytes:
    """Return the answer of a process."""
    return orjson.dumps({"channels": rows, "complete": is_complete})


@given(st.lists(tables, min_size=1, max_size=4), st.sampled_from(("subscribers", "rate")), st.integers(1, 12))
def test_what_is_told_is_a_naive_sum(processes: list[Table], sort: Sort, count: int) -> None:
    """Subscribers are summed and rates the highest; an answer that is called complete lacks nothing."""
    answers = {
        str(number): body(ranked(table, sort)[:count], is_complete=len(table) <= count)
        for number, table in enumerate(processes)
    }
    sums: Table = {}
    for table in processes:
        for name, (subscribers, rate) in table.items():
            before, highest = sums.get(name, (0, 0.0))
            sums[name] = (before + subscribers, max(highest, rate))
    found = merged(answers, Top("", sort, count))
    if all(len(table) <= count for table in processes):
        assert found.rows == ranked(sums, sort)[:count]
        assert found.is_complete == (len(sums) <= count)
    else:
        assert not found.is_complete
        assert all(subscribers <= sums[name][0] for name, subscribers, _ in found.rows)
    assert found.present == answers.keys()


def test_the_sum_of_a_forged_fleet_can_be_told() -> None:
    """As many processes as can be known, each with the largest numbers that are read: it once was a status of 500."""
    rows = f'["lobby",{MAX_SUBSCRIBERS},{MAX_RATE / 2}],["more",{2**53},1],["most",{2**64 - 1},1],["huge",{10**300},1]'
    forged = b'{"channels":[%b],"complete":true}' % rows.encode()
    found = merged({str(number): forged for number in range(MAX_PROCESSES + 1)}, Top("", "subscribers", 10))
    assert [row[0] for row in found.rows] == ["lobby"]
    assert orjson.loads(orjson.dumps(found.rows)) == [list(row) for row in found.rows]
    assert found.rows[0][1] < 2**53


def test_each_name_of_one_answer_counts_once() -> None:
    """A process that names a channel a thousand times has it once."""
    found = merged({"a": body([("lobby", 3, 1.0)] * MAX_NAMES)}, Top("", "subscribers", 10))
    assert found.rows == [("lobby", 3, 1.0)]


@pytest.mark.parametrize(
    "garbage", [b"", b"null", b"[]", b"{}", b"[" * 60_000, b'{"channels":7,"complete":true}', b'{"a":' * 9_000, b"NaN"]
)
def test_a_process_that_answers_with_garbage_has_not_answered(garbage: bytes) -> None:
    """And takes nothing from the others."""
    found = merged({"a": garbage, "b": body([("lobby", 1, 0.0)])}, Top("", "rate", 10))
    assert (found.rows, found.present) == ([("lobby", 1, 0.0)], {"b"})


def test_what_is_summed_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forged answers name a bounded number of channels, and what is left out is said."""
    monkeypatch.setattr(listing_module, "MAX_MERGED", 5)
    answers = {one: body([(f"{one}{number}", 1, 0.0) for number in range(4)]) for one in "ab"}
    found = merged(answers, Top("", "subscribers", 100))
    assert len(found.rows) == 5
    assert not found.is_complete


def test_processes_are_asked_for_more_than_is_wanted() -> None:
    """For twice as many at least while that is possible, in two sizes, so that most questions are equal ones."""
    assert {names_to_ask_for(limit) for limit in range(1, MAX_NAMES + 1)} == {FEW_NAMES, MAX_NAMES}
    assert all(names_to_ask_for(limit) >= min(2 * limit, MAX_NAMES) for limit in range(1, MAX_NAMES + 1))
