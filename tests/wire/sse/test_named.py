"""Events that name their channel, byte by byte and for any payload."""

from __future__ import annotations

from base64 import b64decode
from types import SimpleNamespace
from typing import Any, cast

import orjson
from hypothesis import given
from hypothesis import strategies as st

from mux.wire.publication import BINARY, GUESS, JOINED
from mux.wire.sse.encoder import Events
from mux.wire.sse.named import NamedEvents
from tests.support.event_streams import parse


def named() -> NamedEvents:
    """Return an encoder with positions."""
    return NamedEvents(Events(cast("Any", SimpleNamespace(epoch="E", base=100))), b"feed:")


def test_the_events_of_a_batch() -> None:
    """By their numbers, each with its position, and announcements under their name."""
    batch = [(b'{"a":\r\n1}', GUESS, 1), (b"two\nlines", GUESS, 3), (b"{}", BINARY, 4), (b"Client x", JOINED, 6)]
    assert named().encode(b'feed:a"b', batch) == {
        1: b'data: {"channel":"a\\"b","data":{"a":1}}\nid: E-101\n\n',
        3: b'data: {"channel":"a\\"b","data":"two\\nlines"}\nid: E-103\n\n',
        4: b'data: {"channel":"a\\"b","base64":"e30="}\nid: E-104\n\n',
        6: b'data: {"channel":"a\\"b","data":"Client x"}\nevent: joined\nid: E-106\n\n',
    }


@given(st.lists(st.binary() | st.text().map(str.encode), min_size=1))
def test_any_payload_survives(payloads: list[bytes]) -> None:
    """Each is one event, whose data are the payload: as JSON, as text or in base64."""
    batch = [(payload, GUESS, number) for number, payload in enumerate(payloads, 1)]
    events = parse(b"".join(named().encode(b"feed:a", batch).values())).events
    assert len(events) == len(payloads)
    for payload, event in zip(payloads, events, strict=True):
        said = orjson.loads(event.data)
        assert said.pop("channel") == "a"
        if "base64" in said:
            assert b64decode(said["base64"]) == payload
        else:
            found = said["data"]
            assert found == payload.decode() or found == orjson.loads(payload)
