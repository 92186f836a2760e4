"""Any bytes, in any slices, over real sockets."""

from __future__ import annotations

import asyncio
import re

import h11
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mux.doorstep.handover import Handover
from mux.wire.http.head import RequestHead
from tests.doorstep.conftest import Serve, Served
from tests.doorstep.test_doorstep import ALIVE, HOST, POST, STUCK
from tests.support.servers import PATIENCE_SECONDS, handshake, until
from tests.wire.http.heads import REFUSED, TAKEN

PARTS = st.sampled_from(
    [
        *(data for _, spellings in REFUSED.values() for data in spellings if len(data) < 2000),
        *(data for spellings in TAKEN.values() for data in spellings),
        *STUCK.values(),
        ALIVE,
        ALIVE * 3,
        POST + b"Content-Length: 2\r\n\r\nhi",
        POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        b"HEAD /nowhere HTTP/1.1\r\n" + HOST + b"\r\n",
        b"OPTIONS /feed/a HTTP/1.1\r\n" + HOST + b"Origin: http://a\r\n\r\n",
        handshake(1, "/"),
        b"\r\n",
    ]
)
CONNECTION = st.tuples(
    st.lists(st.one_of(PARTS, st.binary(max_size=20)), max_size=3).map(b"".join),
    st.lists(st.integers(0, 400), max_size=6),
)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


async def _heard(served: Served, data: bytes, cuts: list[int]) -> bytes:
    """Send bytes in slices, and return all that comes until the server ends the connection."""
    async with served.connection() as (reader, writer):
        ends = sorted({min(cut, len(data)) for cut in cuts} | {len(data)})
        for start, end in zip([0, *ends], ends, strict=False):
            writer.write(data[start:end])
            await asyncio.sleep(0.001)
        async with asyncio.timeout(PATIENCE_SECONDS):
            answer = await reader.read()
    # Whether a client is told to go on depends on what has come by then, and nothing else does.
    return answer.replace(_CONTINUE, b"")


async def _try(serve: Serve, connections: list[tuple[bytes, list[int]]]) -> None:
    async with serve(handshake_seconds=0.3, keep_alive_seconds=0.3) as served:
        whole = [_heard(served, data, []) for data, _ in connections]
        sliced = [_heard(served, data, cuts) for data, cuts in connections]
        answers = await asyncio.gather(*whole, *sliced)
        for (data, cuts), one, other in zip(connections, answers, answers[len(connections) :], strict=False):
            assert one == other, (data, cuts)
            assert not re.search(rb"HTTP/1\.1 50[02] ", one), data
        await until(lambda: not served.plain)


@pytest.fixture
def handed_over(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return a list that gets every request which reaches Sanic."""
    found: list[bytes] = []
    take = Handover.take

    def noted(self: Handover, transport: asyncio.Transport, head: RequestHead, body: bytes, early: bytes = b"") -> None:
        found.append(head.canonical(len(body)) + body)
        take(self, transport, head, body, early)

    monkeypatch.setattr(Handover, "take", noted)
    return found


@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(connections=st.lists(CONNECTION, min_size=20, max_size=30))
def test_any_bytes_end_in_time_and_in_the_same_answers(
    serve: Serve, handed_over: list[bytes], connections: list[tuple[bytes, list[int]]]
) -> None:
    """The server ends each connection, slices change no answer, and Sanic gets what another parser takes, too.

    The client never closes first. None of them is a client of the feed afterwards.
    """
    handed_over.clear()
    asyncio.run(_try(serve, connections))
    for request in handed_over:
        parser = h11.Connection(h11.SERVER)
        parser.receive_data(request)
        assert isinstance(parser.next_event(), h11.Request), request
