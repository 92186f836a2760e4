"""Which names a pattern is for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux.grants.grants import OPEN, Action, Grants
from mux.grants.patterns import ALL, NONE, Patterns

TEXTS = st.lists(st.text("ab.*", max_size=4), max_size=5)
NAMES = st.text("ab.*", min_size=1, max_size=5)


def naive(texts: list[str], name: str) -> bool:
    """Tell the same as Patterns.match(), one text after the other."""
    stem = name.removesuffix("*")
    return any(stem.startswith(text[:-1]) if text[-1:] == "*" else name == text for text in texts)


@given(TEXTS, NAMES)
def test_a_name_is_matched_as_by_one_pattern_after_the_other(texts: list[str], name: str) -> None:
    """Whatever the patterns are."""
    assert Patterns.compile(texts).match(name) == naive(texts, name)


@given(TEXTS, st.randoms(), NAMES)
def test_neither_order_nor_repetition_widens(texts: list[str], dice: object, name: str) -> None:
    """What is granted is a set."""
    others = texts * 2
    getattr(dice, "shuffle")(others)  # noqa: B009 - a Random of Hypothesis
    assert Patterns.compile(others).match(name) == Patterns.compile(texts).match(name)


@given(st.text(min_size=1), st.text(min_size=1))
def test_no_subject_has_the_channels_of_another(one: str, other: str) -> None:
    """Encoded, two subjects are as different as they were."""
    name = next(iter(Patterns.compile(["user.{sub}"], other)._names))
    assert Patterns.compile(["user.{sub}"], one).match(name) == (one == other)
    assert set(name.encode()) <= set(range(0x21, 0x7F))


@pytest.mark.parametrize(
    ("text", "subject", "name", "matches"),
    [
        ("user.{sub}.*", "42", "user.42.", True),
        ("user.{sub}.*", "4", "user.42.", False),
        ("user.{sub}", "*", "user.42", False),
        ("user.{sub}", "*", "user.*", False),
        ("user.{sub}", "*", "user.%2A", True),
        ("user.{sub}", "%2A", "user.%2A", False),
        ("user.{sub}.*", "*", "user.*", False),
        ("user.{sub}.*", "*", "user.*.*", True),
        ("orders.*", None, "orders.*", True),
        ("orders.*", None, "orders.a*", True),
        ("orders.*", None, "orders*", False),
        ("orders.*", None, "*", False),
        ("orders.a", None, "orders.a*", False),
        ("*", None, "*", True),
        ("user.{sub}", "a b/é%", "user.a%20b/%C3%A9%25", True),
        ("user.{sub}", None, "user.", False),
        ("user.{sub}", "", "user.", False),
        ("{sub}*", None, "anything", False),
        ("{sub}", "{sub}", "{sub}", True),
        ("*", None, "anything", True),
        ("", None, "anything", False),
    ],
)
def test_a_subject_stands_for_itself(text: str, subject: str | None, name: str, matches: bool) -> None:
    """It is no pattern, and without it there is no name."""
    assert Patterns.compile([text], subject).match(name) is matches


def test_all_and_none() -> None:
    """They are what they say; grants ask the list that is for the action."""
    assert ALL.match("x")
    assert not NONE.match("x")
    assert all(OPEN.allows(action, "x") for action in Action)
    listens = Grants(None, ALL, NONE)
    assert listens.allows(Action.SUBSCRIBE, "x")
    assert not listens.allows(Action.PUBLISH, "x")
