"""The channel that the path of a request names."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux.endpoints.routes import FeedRoute
from mux.errors import InvalidChannel
from mux.wire.channel import MAX_CHANNEL_BYTES, check_channel


def named(segment: str) -> bytes:
    """Return the channel of a request for a path."""
    request: Any = SimpleNamespace(path=f"/feed/{segment}")
    return check_channel(FeedRoute().channel_name(request))


@pytest.mark.parametrize(
    ("segment", "channel"),
    [
        ("lobby", b"lobby"),
        ("a%2Fb", b"a/b"),
        ("a%2fb", b"a/b"),
        ("a/b/", b"a/b/"),
        ("%2525", b"%25"),
        ("a+b", b"a+b"),
        ("50%", b"50%"),
        ("%zz", b"%zz"),
        ("%61" * 255, b"a" * 255),
    ],
)
def test_a_path_is_percent_decoded_once(segment: str, channel: bytes) -> None:
    """%XX becomes a byte, what only looks like it stays, + is no space, and the limit counts decoded bytes."""
    assert named(segment) == channel


@pytest.mark.parametrize("segment", ["", "a%20b", "%00", "%7F", "%24me", "caf%C3%A9", "café", "\udcff", "%61" * 256])
def test_a_path_is_checked_after_decoding(segment: str) -> None:
    """What may not be written plainly may not be written in percents either."""
    with pytest.raises(InvalidChannel):
        named(segment)


@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda raw: raw.decode("latin-1")))
def test_any_path_is_a_channel_or_refused(segment: str) -> None:
    """A name is printable ASCII and not reserved, however it was written; refused names are not repeated raw."""
    try:
        name = named(segment)
    except InvalidChannel as error:
        sentence = str(error)
    else:
        sentence = "a name"
        assert 0 < len(name) <= MAX_CHANNEL_BYTES
        assert name == check_channel(name)
        assert all(0x21 <= byte <= 0x7E for byte in name)
        assert not name.startswith(b"$")
    assert sentence.isascii()
    assert sentence.isprintable()
