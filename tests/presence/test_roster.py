"""What processes say of their clients, and what all of it says together."""

from __future__ import annotations

from random import Random

import orjson
import pytest

from mux.presence.roster import (
    MAX_USERS,
    NUMBERS,
    ROWS_PER_PIECE,
    Head,
    Kind,
    Roster,
    Users,
    read_head,
    read_rows,
    user_number,
    write,
)

NAME = "0f8fad5b-d9cb-469f-a165-70867728950e"


def users_of(subjects: range) -> Roster:
    """Return what a process gives that has these users."""
    users = Users()
    for subject in subjects:
        users.add([user_number(b"feed:lobby", str(subject))], has_more=False)
    return users.roster(len(subjects))


def together(*rosters: Roster) -> int:
    """Return how many users several processes have."""
    users = Users()
    for roster in rosters:
        users.add([row for row in roster.rows if isinstance(row, int)], has_more=roster.has_more)
    return len(users)


def test_users_are_counted_once() -> None:
    """Whichever processes they are on."""
    assert together(users_of(range(10)), users_of(range(5, 20)), users_of(range(0))) == 20
    assert together() == 0


@pytest.mark.parametrize("count", [MAX_USERS, 20_000])
def test_many_users_are_estimated(count: int) -> None:
    """A process gives the smallest numbers alone; these are all there are up to MAX_USERS."""
    halves = users_of(range(count)), users_of(range(count // 2, count + count // 2))
    assert all(len(half.rows) <= MAX_USERS for half in halves)
    assert together(halves[0]) == pytest.approx(count, rel=0.05)
    assert together(*halves) == pytest.approx(1.5 * count, rel=0.05)
    assert users_of(range(MAX_USERS)).has_more is False


def test_the_order_of_answers_does_not_matter() -> None:
    """Nor does one that is given twice."""
    rosters = [users_of(range(start, start + 3000)) for start in range(0, 20_000, 2500)]
    rosters += rosters[:2]
    counts = set()
    for seed in range(5):
        Random(seed).shuffle(rosters)
        counts.add(together(*rosters))
    assert len(counts) == 1


def test_a_user_has_another_number_in_every_channel() -> None:
    """So numbers do not tell who is in two channels."""
    assert user_number(b"feed:a", "42") != user_number(b"feed:b", "42")
    assert user_number(b"feed:a", None) == user_number(b"feed:a", "")


def test_an_answer_on_the_wire() -> None:
    """Processes of two versions understand each other."""
    answer = write(Roster(7, [(NAME, "42"), (NAME, None)], has_more=True), pieces=3)
    assert answer == b'{"count":7,"more":true,"pieces":3,"rows":[["%b","42"],["%b",null]]}' % ((NAME.encode(),) * 2)
    assert read_head(answer) == Head(7, has_more=True, pieces=3, rows=[[NAME, "42"], [NAME, None]])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"count":1,"more":true,"rows":[]}',
        b'{"count":-1,"more":true,"pieces":0,"rows":[]}',
        b'{"count":true,"more":true,"pieces":0,"rows":[]}',
        b'{"count":1,"more":1,"pieces":0,"rows":[]}',
        b'{"count":1,"more":true,"pieces":99999999,"rows":[]}',
        b'{"count":99999999999999,"more":true,"pieces":0,"rows":[]}',
    ],
)
def test_an_answer_that_cannot_be_is_none(body: bytes) -> None:
    """Anybody may publish it."""
    assert read_head(body) is None


@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        ("clients", None),
        ("clients", {}),
        ("clients", [[]]),
        ("clients", [["<script>", None]]),
        ("clients", [[NAME.upper(), None]]),
        ("clients", [[NAME, 7]]),
        ("clients", [[NAME, "x" * 256]]),
        ("clients", [[NAME, None]] * (ROWS_PER_PIECE + 1)),
        ("clients", [7]),
        ("users", [[NAME, None]]),
        ("users", [-1]),
        ("users", [True]),
        ("users", [NUMBERS]),
    ],
)
def test_rows_that_cannot_be_are_none(kind: Kind, rows: object) -> None:
    """Nor is one of them believed when the others can be."""
    assert read_rows(kind, orjson.loads(orjson.dumps(rows))) is None
