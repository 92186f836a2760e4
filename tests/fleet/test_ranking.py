from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux.errors import InvalidQuery
from mux.fleet.messages import MAX_NAMES, Sort
from mux.fleet.ranking import (
    BYTES_PER_ROW,
    Listing,
    Place,
    Row,
    decode_place,
    encode_place,
    merge,
    page,
    ranked,
    unknown,
    value_of,
)

SORTS: list[Sort] = ["subscribers", "rate"]
tables = st.dictionaries(
    st.sampled_from("abcdefghijkl"), st.tuples(st.integers(1, 4), st.integers(0, 40).map(float)), max_size=12
)


def top(table: dict[str, tuple[int, float]], sort: Sort, count: int) -> Listing:
    """Return the first channels of one process."""
    rows = [(name, *numbers) for name, numbers in table.items()]
    return Listing(ranked(rows, sort, count), is_complete=len(rows) <= count)


def naive(processes: Sequence[dict[str, tuple[int, float]]]) -> dict[str, Row]:
    """Return what every channel has over all processes."""
    names = {name for table in processes for name in table}
    return {
        name: (
            name,
            sum(table[name][0] for table in processes if name in table),
            max(table[name][1] for table in processes if name in table),
        )
        for name in names
    }


@given(st.lists(tables, min_size=1, max_size=4), st.sampled_from(SORTS), st.integers(1, 12))
def test_what_is_told_is_exact(processes: list[dict[str, tuple[int, float]]], sort: Sort, count: int) -> None:
    """Against a naive sum: what no process has to be asked for is right, and what is asked for is what is not."""
    listings = {str(number): top(table, sort, count) for number, table in enumerate(processes)}
    asked, left_out = unknown(listings, sort, 1 << 20)
    merged, right = merge(listings.values()), naive(processes)
    assert not left_out
    assert all(merged[name] == right[name] for name in merged if name not in asked)
    if all(one.is_complete for one in listings.values()):
        assert merged == right
        assert not asked


def test_a_channel_thinly_spread_is_asked_for() -> None:
    """Three subscribers on each of four processes are twelve, though the first two name four of another."""
    local = [{f"own{number}": (4, 0.0), "spread": (3, 0.0)} for number in range(4)]
    listings = {str(number): top(table, "subscribers", 2 if number else 1) for number, table in enumerate(local)}
    asked, _ = unknown(listings, "subscribers", 1 << 20)
    assert "spread" in asked
    assert asked[0] == "spread"


def test_by_rate_what_may_be_busiest_is_asked_for_first() -> None:
    """Who has named none below 9 a second may have up to 9 of what it has not named, whatever others say of it."""
    listings = {
        "a": Listing([("x", 1, 20.0), ("y", 1, 9.0)], is_complete=False),
        "b": Listing([("z", 1, 10.0), ("q", 1, 2.0)], is_complete=False),
    }
    assert unknown(listings, "rate", 1 << 20) == (["x", "z", "q", "y"], set())


def test_what_there_is_no_room_to_ask_for_is_left_out() -> None:
    """Rather than told wrongly; what may have most is asked for first."""
    listings = {"a": Listing([("x", 5, 0.0), ("y", 3, 0.0)], is_complete=False), "b": Listing([], is_complete=False)}
    assert unknown(listings, "subscribers", BYTES_PER_ROW + 1) == (["x"], {"y"})
    assert unknown(listings, "rate", 0) == ([], {"x", "y"})
    many = {"a": Listing([(str(number), 1, 0.0) for number in range(MAX_NAMES + 1)], is_complete=True)}
    asked, left_out = unknown({**many, "b": Listing([], is_complete=False)}, "subscribers", 1 << 30)
    assert (len(asked), len(left_out)) == (MAX_NAMES, 1)


@given(tables, st.sampled_from(SORTS), st.integers(1, 5))
def test_pages_cover_everything_once(table: dict[str, tuple[int, float]], sort: Sort, limit: int) -> None:
    """While nothing changes; through the cursor as it stands in the URL."""
    rows = ranked([(name, *numbers) for name, numbers in table.items()], sort, len(table))
    seen: list[Row] = []
    after: Place | None = None
    for _ in range(len(rows) + 1):
        chosen, after = page(rows, sort=sort, limit=limit, after=after, is_all=True)
        seen += chosen
        if after is None:
            break
        assert len(chosen) == limit
        after = decode_place(encode_place(after), sort)
    assert seen == rows
    assert after is None


def test_a_page_that_is_too_deep_is_refused() -> None:
    """There may be more, and nobody can tell."""
    rows = [(f"{number:05}", 1, 0.0) for number in range(10)]
    chosen, after = page(rows, sort="subscribers", limit=10, after=None, is_all=False)
    assert len(chosen) == 10
    assert after is not None
    with pytest.raises(InvalidQuery, match="longer prefix"):
        page(rows, sort="subscribers", limit=10, after=after, is_all=False)
    deep = Place("subscribers", 1, "00001", MAX_NAMES - 1)
    assert len(page(rows, sort="subscribers", limit=10, after=deep, is_all=False)[0]) == 1


@pytest.mark.parametrize(
    "cursor", ["", "x", "ü", "AAAA", "W10", "!!!!", "WyJyYXRlIiwxLCJhIiwwXQ", "WyJyYXRlIiwxLCJhIix0cnVlXQ"]
)
def test_a_cursor_nobody_gave_is_refused(cursor: str) -> None:
    """Whatever it is."""
    with pytest.raises(InvalidQuery, match="after must be"):
        decode_place(cursor, "rate")


@given(st.text(max_size=60))
def test_no_cursor_raises_anything_else(cursor: str) -> None:
    """It comes from a URL."""
    with pytest.raises(InvalidQuery):
        decode_place(cursor, "rate")


def test_a_cursor_belongs_to_its_order() -> None:
    """One by subscribers says nothing of an order by rate."""
    cursor = encode_place(Place("subscribers", 3, "a", 1))
    assert decode_place(cursor, "subscribers") == ("subscribers", 3, "a", 1)
    with pytest.raises(InvalidQuery, match="same sort"):
        decode_place(cursor, "rate")
    assert [value_of(("a", 2, 7.0), sort) for sort in SORTS] == [2, 7.0]
