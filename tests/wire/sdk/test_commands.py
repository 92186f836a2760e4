"""Frames of SDK clients, read a command at a time."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux import reasons
from mux.errors import Refused
from mux.wire.sdk.commands import METHODS, Command, check_frame, method_of, next_command
from tests.support.json import json_values
from tests.support.refusals import refused


def read(frame: bytes) -> list[Command]:
    """Return the commands of a frame."""
    found, at = [], 0
    while True:
        command, at = next_command(frame, at)
        found.append(command)
        if at >= len(frame):
            return found


@given(st.binary())
def test_any_bytes_are_read_or_refused(frame: bytes) -> None:
    """The end is reached, and what cannot be has one reason."""
    reason = reasons.BAD_COMMAND
    try:
        check_frame(frame, binary=True)
        assert read(frame)
    except Refused as error:
        reason = error.reason
    assert reason is reasons.BAD_COMMAND


@given(
    st.lists(st.tuples(st.sampled_from(METHODS), st.integers(1, 2**32 - 1)), min_size=1),
    st.sampled_from(["\n", "\r\n"]),
)
def test_commands_come_one_after_the_other(asked: list[tuple[str, int]], between: str) -> None:
    """A line break of either kind is between two of them."""
    frame = between.join(f'{{"{method}": {{}}, "id": {number}}}' for method, number in asked).encode()
    commands = read(frame)
    assert [(method_of(command) or ("",))[0] for command in commands] == [method for method, _ in asked]
    assert [command.id for command in commands] == [number for _, number in asked]


@given(json_values)
def test_data_is_kept_as_it_came(data: object) -> None:
    """Not a byte of it changes."""
    raw = orjson.dumps(data)
    (command,) = read(b'{"id":1,"publish":{"channel":"a","data":%b}}' % raw)
    assert command.publish is not None
    assert bytes(command.publish.data) == raw


def test_half_a_surrogate_pair_becomes_a_replacement_character() -> None:
    """JavaScript sends one for a text that was cut; pairs and escaped backslashes are as they were."""
    (command,) = read(rb'{"id":1,"publish":{"channel":"a","data":"\ud83d \ud83d\ude00 \\ud83d"}}')
    assert command.publish is not None
    assert bytes(command.publish.data) == rb'"\ufffd \ud83d\ude00 \\ud83d"'


@pytest.mark.parametrize("line", [b"", b" ", b"\r", b"[" * 100_000, b'{"a":' * 100_000, b'{"id":1}' + b"[" * 100_000])
def test_deep_and_empty_lines(line: bytes) -> None:
    """What is deep is refused as all else, and what follows an object on its line is not looked at."""
    if line.startswith(b'{"id"'):
        assert read(line)[0].id == 1
        return
    with refused(reasons.BAD_COMMAND):
        read(line)


def test_a_binary_frame_is_text() -> None:
    """Another is refused."""
    check_frame("ü".encode(), binary=True)
    with refused(reasons.BAD_COMMAND):
        check_frame(b"\xff", binary=True)
