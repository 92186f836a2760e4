"""Lines of `mux tail`, and when they have colours."""

from __future__ import annotations

import re

import pytest

from mux.command.lines import channel_labels, colour_wanted


def test_one_channel_is_not_named() -> None:
    """The lines of one channel are what scripts know."""
    assert channel_labels(["lobby"], colour=True) == {"lobby": ""}


def test_several_channels_are_named_in_a_column() -> None:
    """Messages begin below each other; a name cannot move the cursor either."""
    assert channel_labels(["a", "long\x1b"], colour=False) == {"a": "a         ", "long\x1b": "long\\x1b  "}


def colour_of(label: str) -> str:
    """Return the SGR parameter of a label."""
    found = re.fullmatch(r"\x1b\[(\d+)m.*\x1b\[0m  ", label)
    assert found, label
    return found[1]


def test_a_channel_keeps_its_colour() -> None:
    """From one call to the next, and whoever else is there, unless it would look like that one."""
    first = channel_labels(["lobby", "orders"], colour=True)
    again = channel_labels(["lobby", "prices", "chat"], colour=True)
    assert colour_of(first["lobby"]) == colour_of(again["lobby"])
    names = [f"channel-{number}" for number in range(9)]
    assert len({colour_of(label) for label in channel_labels(names, colour=True).values()}) == 9
    assert len(channel_labels([*names, "one more"], colour=True)) == 10


@pytest.mark.parametrize(
    ("tty", "env", "wanted"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"NO_COLOR": ""}, True),
        (True, {"TERM": "dumb"}, False),
    ],
)
def test_colours_are_for_terminals(
    monkeypatch: pytest.MonkeyPatch, *, tty: bool, env: dict[str, str], wanted: bool
) -> None:
    """Not for pipes, and not for who does not want them."""
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdout.isatty", lambda: tty)
    assert colour_wanted() is wanted
