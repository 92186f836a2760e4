"""A usual handshake is answered without Sanic, and any other through it: both ways let in and refuse the same."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

import pytest

from mux.endpoints.takeover import Asking
from tests.doorstep.conftest import Serve
from tests.support.servers import BOTH_LOOPS, handshake
from tests.support.tokens import AUDIENCE, SECRET, secret_token

pytestmark = BOTH_LOOPS

HELLO = b"\x81\x82\x00\x00\x00\x00hi\x88\x80\x00\x00\x00\x00"
"""A message, and a close."""

TOKEN = secret_token(subscribe=("mine",), publish=("mine",))

HANDSHAKES = {
    "usual": ("lobby", ()),
    "a query": ("lobby?token=secret", ()),
    "no such channel": ("/", ()),
    "another origin": ("lobby", ("Origin: http://elsewhere.example",)),
    "another site": ("lobby", ("Sec-Fetch-Site: cross-site",)),
    "subprotocols": ("lobby", ("Sec-WebSocket-Protocol: one, two",)),
    "an extension": ("lobby", ("Sec-WebSocket-Extensions: permessage-deflate",)),
    "an extension with a window": (
        "lobby",
        ("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",),
    ),
    "an extension with a small window": (
        "lobby",
        ("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9",),
    ),
    "a second key": ("lobby", ("Sec-WebSocket-Key: AAAA",)),
    "a token": ("mine", (f"Authorization: Bearer {TOKEN}",)),
    "a token as a subprotocol": ("mine", (f"Sec-WebSocket-Protocol: bearer, {TOKEN}",)),
    "a token that does not grant it": ("other", (f"Authorization: Bearer {TOKEN}",)),
    "no token": ("mine", ()),
    "a wrong token": ("mine", (f"Authorization: Bearer {TOKEN[:-4]}",)),
    "two tokens": ("mine", (f"Authorization: Bearer {TOKEN}", f"Sec-WebSocket-Protocol: bearer, {TOKEN}")),
}


def _join(
    by_sight: Callable[[Asking, bytes], bool] | None, joined: list[bool], request: Asking, channel: bytes
) -> bool:
    joined.append(by_sight is not None and by_sight(request, channel))
    return joined[-1]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"compress": True},
        {"token_key": SECRET, "token_audience": AUDIENCE, "anyone_subscribe": ("lobby",), "anyone_publish": ("lobby",)},
    ],
    ids=["open", "compressing", "with a key"],
)
async def test_both_ways_give_the_same(
    serve: Serve, caplog: pytest.LogCaptureFixture, settings: dict[str, object]
) -> None:
    """The bytes of the answer, what is counted and what is logged are the same for every kind of handshake."""
    found = []
    for is_by_sight in (True, False):
        caplog.clear()
        async with serve(handshake_seconds=5, **settings) as served:
            by_sight, joined = served.arrivals.join, list[bool]()
            served.arrivals.join = partial(_join, by_sight if is_by_sight else None, joined)
            answers = {
                name: await served.ask(
                    handshake(served.port, channel, *fields).replace(b":%d" % served.port, b"") + HELLO
                )
                for name, (channel, fields) in HANDSHAKES.items()
            }
            lines = [record.getMessage() for record in caplog.records if record.levelname in ("WARNING", "ERROR")]
            assert any(joined) == is_by_sight
            found.append((answers, dict(served.arrivals.refused), lines))
    for name in HANDSHAKES:
        one, other = (re.sub(rb"Date: [^\r]*", b"", answers[name]) for answers, *_ in found)
        assert one == other, name
    assert found[0][1:] == found[1][1:]
    assert found[0][0]["usual"].startswith(b"HTTP/1.1 101 ")
    assert found[0][0]["usual"].endswith(b"\r\n\r\n\x88\x00")
