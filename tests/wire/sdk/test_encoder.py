"""Batches of a channel as frames for SDK clients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux.wire.publication import BINARY, GUESS, JOINED, LEFT, Publication
from mux.wire.sdk.encoder import FRAME_BYTES, Pushes
from tests.support.sdk import check
from tests.wire.websocket.parsing import frames


class Numbers:
    """A place in the common order."""

    epoch = "e"
    base = 100


@pytest.fixture
def numbers() -> Numbers:
    """Return a place in the common order."""
    return Numbers()


class Heard:
    """A Pushes, and what it has told."""

    def __init__(self, numbers: Numbers | None) -> None:
        self.noted: list[tuple[bytes, int]] = []
        self.overs = 0
        self.rewritten: Counter[str] = Counter()
        self.pushes = Pushes(
            lambda channel: channel.decode(),
            numbers,
            self.rewritten,
            on_encoded=lambda channel, number: self.noted.append((channel, number)),
            on_over=self._over,
        )

    def _over(self) -> None:
        self.overs += 1

    def told(self, publications: Sequence[Publication], channel: bytes = b"a") -> list[dict[str, object]]:
        """Return the messages of a batch, each checked."""
        messages = []
        for _, payload in frames(self.pushes.encode_all(channel, publications)):
            assert payload
            for line in payload.split(b"\n"):
                message = orjson.loads(line)
                check(message)
                messages.append(message["push"])
        return messages


@given(st.lists(st.tuples(st.binary(), st.sampled_from([GUESS, BINARY, JOINED, LEFT]))))
def test_any_batch_can_be_read(batch: list[tuple[bytes, int]]) -> None:
    """Every message is one push, in order, with its offset."""
    heard = Heard(Numbers())
    told = heard.told([(payload, kind, number) for number, (payload, kind) in enumerate(batch, 1)], b'a"\\')
    assert len(told) == len(batch)
    assert all(push["channel"] == 'a"\\' for push in told)
    offsets = [push["pub"]["offset"] for push in told if "pub" in push]  # type: ignore[index]
    assert offsets == [100 + number for number, (_, kind) in enumerate(batch, 1) if kind in (GUESS, BINARY)]
    if batch:
        assert heard.noted == [(b'a"\\', len(batch))]


def test_announcements_are_for_those_who_ask() -> None:
    """Nothing is written to others for a batch without more."""
    heard = Heard(None)
    batch = [(b"Client x has joined", JOINED, 1)]
    assert heard.pushes.encode(b"a", batch) == b""
    assert [push["join"] for push in heard.told(batch)] == [{"info": {"user": "x", "client": "x"}}]


def test_what_is_no_json_is_counted() -> None:
    """Texts and binary messages apart."""
    heard = Heard(None)
    heard.told([(b"x", GUESS, 1), (b"y", GUESS, 2), (b"\xff", GUESS, 3), (b"{}", BINARY, 4), (b"{}", GUESS, 5)])
    assert heard.rewritten == {"text": 2, "binary": 2}


def test_a_batch_is_encoded_once_for_all() -> None:
    """Clients with encoders of their own share the frame as well."""
    heard = Heard(None)
    batch = [(b"1", GUESS, 1)]
    assert heard.pushes.encode(b"a", batch) is heard.pushes.encode(b"a", batch)


@pytest.mark.parametrize("change", [{"epoch": "f"}, {"epoch": ""}, {"base": 99}])
def test_no_offset_is_given_when_the_numbering_is_another(numbers: Numbers, change: dict[str, object]) -> None:
    """Not even when the old one is back: its messages were given without."""
    heard = Heard(numbers)
    assert heard.told([(b"1", GUESS, 1)])[0]["pub"] == {"data": 1, "offset": 101}
    before = {name: getattr(numbers, name) for name in change}
    for name, value in change.items():
        setattr(numbers, name, value)
    assert heard.told([(b"2", GUESS, 2)])[0]["pub"] == {"data": 2}
    for name, value in before.items():
        setattr(numbers, name, value)
    assert heard.told([(b"3", GUESS, 3)])[0]["pub"] == {"data": 3}
    assert heard.overs == 1
    assert not heard.pushes.is_true


def test_no_offset_is_given_after_a_gap(numbers: Numbers) -> None:
    """A client would come back with it, and the gap would be forgotten."""
    heard = Heard(numbers)
    heard.pushes.end()
    heard.pushes.end()
    assert heard.told([(b"1", GUESS, 1)])[0]["pub"] == {"data": 1}
    assert heard.overs == 1


def test_a_large_batch_has_several_frames() -> None:
    """A message over the size of a frame has one of its own."""
    heard = Heard(None)
    large = orjson.dumps("x" * FRAME_BYTES)
    data = heard.pushes.encode(b"a", [(b"1", GUESS, 1), (large, GUESS, 2), (b"3", GUESS, 3)])
    assert [orjson.loads(frame)["push"]["pub"]["data"] == 3 for _, frame in frames(data)] == [False, False, True]
