"""SDK clients that send anything are told nothing that an SDK cannot read, and every command is answered, in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed

from tests.support.json import json_values
from tests.support.sdk import Message, SdkSocket, sdk_socket
from tests.support.servers import PATIENCE_SECONDS, Serving, serving

CHANNELS = st.sampled_from(["a", "b", "c", "$x", "x y", "ü"])

OFFSETS = st.none() | st.integers(-1, 30)


def command(method: str, /, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Message]:
    """Return commands of a method."""
    return st.fixed_dictionaries(fields).map(lambda body: {method: body})


def subscription(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Message]:
    """Return commands to subscribe."""
    return command("subscribe", channel=CHANNELS, join_leave=st.booleans(), flag=st.integers(0, 3), **fields)


COMMANDS = st.one_of(
    subscription(),
    subscription(recover=st.just(True), offset=OFFSETS, epoch=st.sampled_from(["_", "other"])),
    command("unsubscribe", channel=CHANNELS),
    command("publish", channel=CHANNELS, data=json_values),
    command("presence_stats", channel=CHANNELS),
    command(
        "history",
        channel=CHANNELS,
        limit=st.integers(-2, 5),
        reverse=st.booleans(),
        since=st.none() | st.fixed_dictionaries({"offset": OFFSETS, "epoch": st.sampled_from(["", "other"])}),
    ),
    command("rpc", method=st.text(max_size=3), data=json_values),
    command("refresh", token=st.text(min_size=1, max_size=3)),
    command("sub_refresh", channel=CHANNELS, token=st.text(min_size=1, max_size=3)),
)

BAD = st.one_of(
    st.binary(max_size=30),
    st.sampled_from([b"", b"\n", b"{}", b'{"id":1}', b"[]", b"null", b'{"id":1,"subscribe":{"channel":""}}']),
    st.lists(st.just({"connect": {}}) | st.just({"send": {}}) | json_values.map(lambda value: {"subscribe": value})),
)

FRAMES = st.tuples(st.lists(st.lists(COMMANDS, min_size=1, max_size=6), max_size=4), st.none() | BAD).map(
    lambda parts: parts[0] if parts[1] is None else [*parts[0], parts[1]]
)


@pytest.fixture(scope="module")
async def served(redis_url: str) -> AsyncIterator[Serving]:
    """Return a server that all examples share."""
    async with serving(redis_url=redis_url, prefix="any:", sdk=True, announce=True) as served:
        yield served


@settings(
    max_examples=100,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(frames=FRAMES)
async def test_any_commands(served: Serving, caplog: pytest.LogCaptureFixture, frames: list[Any]) -> None:
    """Each message is checked as it comes; what a client is told of a channel comes after the reply that lets it in."""
    caplog.set_level(logging.WARNING)
    async with sdk_socket(served.port) as client:
        await client.ask({"connect": {}})
        asked = await _sent(client, frames)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while len(_ids(client)) < len(asked) + 1:
                    await client.read()
        except ConnectionClosed as ended:
            _check_goodbye(ended)
        assert _ids(client) == [1, *asked][: len(_ids(client))]
        _check_order(client, asked)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR or record.exc_info]


async def _sent(client: SdkSocket, frames: list[Any]) -> dict[int, Message]:
    """Send frames, and return the commands that are answered, by their ids."""
    asked: dict[int, Message] = {}
    for frame in frames:
        lines = [frame] if isinstance(frame, bytes) else []
        for one in frame if not lines else ():
            number = len(asked) + 2
            if "send" not in one:
                asked[number] = one
            lines.append(orjson.dumps({**one, "id": number}))
        try:
            await client.socket.send(b"\n".join(lines), text=not isinstance(frame, bytes))
        except ConnectionClosed:
            break
    return asked


def _ids(client: SdkSocket) -> list[int]:
    return [message["id"] for message in client.messages if "id" in message]


def _check_goodbye(ended: ConnectionClosed) -> None:
    """Let a goodbye pass whose reason is plain text, without which an SDK comes back where it should not."""
    assert ended.rcvd is not None
    assert ended.rcvd.code in (3501, 3508)
    assert ended.rcvd.reason
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(ended.rcvd.reason)


def _check_order(client: SdkSocket, asked: dict[int, Message]) -> None:
    """Let messages pass in which nothing comes of a channel before the reply that lets the client in."""
    entered: set[str] = set()
    for message in client.messages:
        if "push" in message:
            assert message["push"]["channel"] in entered
        elif "subscribe" in message:
            entered.add(asked[message["id"]]["subscribe"]["channel"])
