import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux.hub.slot import Slot, added, members, removed


@pytest.mark.parametrize(
    ("before", "thing", "after"),
    [
        (None, "a", "a"),
        ("a", "a", "a"),
        ("a", "b", {"a", "b"}),
        ({"a", "b"}, "c", {"a", "b", "c"}),
        ({"a", "b"}, "b", {"a", "b"}),
    ],
)
def test_added_holds_one_thing_without_a_set(before: Slot[str], thing: str, after: Slot[str]) -> None:
    """A set is made for the second thing, not for the first."""
    assert added(before, thing) == after


@pytest.mark.parametrize(
    ("before", "thing", "after"),
    [
        (None, "a", None),
        ("a", "a", None),
        ("a", "b", "a"),
        ({"a", "b"}, "b", "a"),
        ({"a", "b"}, "c", {"a", "b"}),
        ({"a", "b", "c"}, "c", {"a", "b"}),
    ],
)
def test_removed_gives_the_set_up_for_the_last_thing(before: Slot[str], thing: str, after: Slot[str]) -> None:
    """A set of one costs more than everything else, so it does not stay."""
    assert removed(before, thing) == after


@pytest.mark.parametrize(("slot", "expected"), [(None, []), ("a", ["a"]), ({"a", "b"}, ["a", "b"])])
def test_members_are_what_the_slot_holds(slot: Slot[str], expected: list[str]) -> None:
    """Whichever form it has at the moment."""
    assert sorted(members(slot)) == expected


def test_a_set_is_changed_in_place() -> None:
    """Joining or leaving a channel of a thousand does not copy a thousand."""
    slot: Slot[str] = {"a", "b", "c"}
    assert added(slot, "d") is slot
    assert removed(slot, "d") is slot


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4))))
def test_a_slot_is_a_set_in_disguise(operations: list[tuple[bool, int]]) -> None:
    """Any order of adding and removing leaves what it leaves in a set, in the smallest form."""
    slot: Slot[int] = None
    model: set[int] = set()
    for is_add, thing in operations:
        slot = added(slot, thing) if is_add else removed(slot, thing)
        (model.add if is_add else model.discard)(thing)
        assert set(members(slot)) == model
        assert isinstance(slot, set) == (len(model) > 1)
