from __future__ import annotations

import asyncio

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux.fleet.census import MAX_PROCESSES
from mux.inspect import listing as listing_module
from mux.inspect.listing import (
    MAX_NAMES,
    MAX_RATE,
    MAX_SUBSCRIBERS,
    Listing,
    Row,
    Sort,
    Top,
    merged,
    read_listing,
    read_top,
)
from tests.support.json import json_values

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
    found = asyncio.run(merged(answers, Top("", sort, count)))
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
    found = asyncio.run(
        merged({str(number): forged for number in range(MAX_PROCESSES + 1)}, Top("", "subscribers", 10))
    )
    assert [row[0] for row in found.rows] == ["lobby"]
    assert orjson.loads(orjson.dumps(found.rows)) == [list(row) for row in found.rows]
    assert found.rows[0][1] < 2**53


def test_each_name_of_one_answer_counts_once() -> None:
    """A process that names a channel a thousand times has it once."""
    found = asyncio.run(merged({"a": body([("lobby", 3, 1.0)] * MAX_NAMES)}, Top("", "subscribers", 10)))
    assert found.rows == [("lobby", 3, 1.0)]


@pytest.mark.parametrize(
    "garbage", [b"", b"null", b"[]", b"{}", b"[" * 60_000, b'{"channels":7,"complete":true}', b'{"a":' * 9_000, b"NaN"]
)
def test_a_process_that_answers_with_garbage_has_not_answered(garbage: bytes) -> None:
    """And takes nothing from the others."""
    found = asyncio.run(merged({"a": garbage, "b": body([("lobby", 1, 0.0)])}, Top("", "rate", 10)))
    assert found == Listing([("lobby", 1, 0.0)], is_complete=True, present=frozenset("b"))


async def test_answers_are_merged_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """One answer in a turn of the loop, and the first channels are chosen in slices: clients are served meanwhile."""
    monkeypatch.setattr(listing_module, "MERGED_AT_ONCE", 5)
    answers = {str(one): body([(f"{one}/{number}", 1, 0.0) for number in range(10)]) for one in range(20)}
    merging = asyncio.ensure_future(merged(answers, Top("", "subscribers", 7)))
    turns = 0
    while not merging.done():
        turns += 1
        await asyncio.sleep(0)
    assert len(merging.result().rows) == 7
    assert turns >= len(answers) + 10 * len(answers) // 5


def test_what_is_summed_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forged answers name a bounded number of channels, and what is left out is said."""
    monkeypatch.setattr(listing_module, "MAX_MERGED", 5)
    answers = {one: body([(f"{one}{number}", 1, 0.0) for number in range(4)]) for one in "ab"}
    found = asyncio.run(merged(answers, Top("", "subscribers", 100)))
    assert len(found.rows) == 5
    assert not found.is_complete


@given(
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=255),
    st.sampled_from(("subscribers", "rate")),
    st.integers(1, MAX_NAMES),
)
def test_a_question_is_read_as_it_was_asked(prefix: str, sort: Sort, count: int) -> None:
    """Whatever its prefix is."""
    assert read_top({"what": "top", "prefix": prefix, "sort": sort, "count": count}) == Top(prefix, sort, count)


@given(st.dictionaries(st.sampled_from(("prefix", "sort", "count", "channels", "complete")), json_values))
def test_forged_fields_never_raise(fields: dict[str, object]) -> None:
    """Right names with anything in them, beside right fields."""
    read_top({"prefix": "", "sort": "rate", "count": 1} | fields)
    read_listing(orjson.dumps({"channels": [], "complete": True} | fields))


@pytest.mark.parametrize(
    "body",
    [
        {"what": "top"},
        {"what": "top", "prefix": "a", "sort": "size", "count": 1},
        {"what": "top", "prefix": "a", "sort": "rate", "count": 0},
        {"what": "top", "prefix": "a", "sort": "rate", "count": True},
        {"what": "top", "prefix": "a", "sort": "rate", "count": MAX_NAMES + 1},
        {"what": "top", "prefix": "ü", "sort": "rate", "count": 1},
        {"what": "top", "prefix": "a" * 256, "sort": "rate", "count": 1},
        {"what": "top", "prefix": "a b", "sort": "rate", "count": 1},
    ],
)
def test_a_question_that_cannot_be_is_none(body: dict[str, object]) -> None:
    """Each but for one thing a question."""
    assert read_top(body) is None


@pytest.mark.parametrize(
    "row",
    [
        ["", 1, 0.0],
        ["\x1b[2J", 1, 0.0],
        ["a" * 256, 1, 0.0],
        ["a", -1, 0.0],
        ["a", 0, 0.0],
        ["a", 2**53, 0.0],
        ["a", 2**63, 0.0],
        ["a", True, 0.0],
        ["a", 1, -1.0],
        ["a", 1, True],
        ["a", 1.5, 0.0],
        ["a", 1],
        "a",
        [["a"], 1, 0.0],
        ["a", 1, 1e300],
    ],
)
def test_only_what_is_right_of_a_listing_is_read(row: object) -> None:
    """A right row beside a wrong one."""
    body = orjson.dumps({"channels": [["b", 2, 1], row], "complete": True})
    assert read_listing(body) == Listing([("b", 2, 1.0)], is_complete=True)


def test_a_listing_of_too_many_rows_is_none() -> None:
    """No process was asked for so many."""
    body = orjson.dumps({"channels": [["b", 2, 1]] * (MAX_NAMES + 1), "complete": True})
    assert read_listing(body) is None
