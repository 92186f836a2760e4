"""What SDK clients are told of others, and what everybody else still hears."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis

from tests.support.event_streams import open_stream
from tests.support.sdk import sdk_client
from tests.support.servers import Serving, receive, serving
from tests.support.tokens import SECRET


@pytest.fixture(scope="module")
async def served(redis_url: str) -> AsyncIterator[Serving]:
    """Return a server that tests share."""
    async with serving(redis_url=redis_url, prefix="info:", sdk=True) as served:
        yield served


async def test_publishers_are_told_where_a_setting_asks_for_it(
    redis_url: str, prefix: str, publisher: redis.Redis
) -> None:
    """As info of the publication, in pushes and in the past; others are given the message alone."""
    async with (
        serving(redis_url=redis_url, prefix=prefix, sdk=True, publisher_info=True) as served,
        sdk_client(served.port, "a") as sdk,
        served.connect("a") as plain,
        open_stream(served.port, "a") as stream,
        open_stream(served.port, "*") as wild,
    ):
        me = sdk.messages[0]["connect"]["client"]
        publisher.publish(f"{prefix}a\x03", b'"forged"\0{"user":1}')
        publisher.publish(f"{prefix}a\x03", b'"none"')
        await sdk.ask({"publish": {"channel": "a", "data": {"x": 1}}})
        forged, none, own = await sdk.pushes("pub", 3)
        assert "info" not in forged
        assert "info" not in none
        assert own["info"] == {"user": "", "client": me}
        heard = ['"forged"', '"none"', '{"x":1}']
        assert await receive(plain, 3) == heard
        assert [event.data for event in await stream.events(3)] == heard
        assert [event.data for event in await wild.events(3)] == heard
        (past,) = await sdk.ask({"history": {"channel": "a", "limit": 1, "reverse": True}})
        assert past["history"]["publications"] == [{"data": {"x": 1}, "info": own["info"], "offset": own["offset"]}]


async def test_subjects_and_ids_are_told_of_those_who_join(redis_url: str, prefix: str) -> None:
    """Plain clients are told the subject alone, as they were."""
    options: dict[str, Any] = {
        "token_key": SECRET,
        "user_subscribe": ("*",),
        "announce": True,
        "announce_as": "subject",
    }
    async with serving(redis_url=redis_url, prefix=prefix, sdk=True, **options) as served:
        token = served.mux.token(subject='4"2', seconds=60)
        plain_token = ["bearer", served.mux.token(subject="7", seconds=60)]
        async with served.connect("a", subprotocols=plain_token) as plain, sdk_client(served.port, token=token) as sdk:
            await sdk.ask({"subscribe": {"channel": "a", "join_leave": True}})
            me = sdk.messages[0]["connect"]["client"]
            (join,) = await sdk.pushes("join", 1)
            assert join["info"] == {"user": '4"2', "client": me}
            assert await receive(plain, 2) == ["Client 7 has joined", 'Client 4"2 has joined']


@pytest.mark.parametrize(
    ("announcement", "info"),
    [
        (b"Client x has joined", {"user": "x", "client": "x"}),
        (b"", {"user": "-", "client": "-"}),
        (b'Client 1 has left\0{"user":"1","client":""}', {"user": "1", "client": "1"}),
        (b"\xff\0[]", {"user": "\ufffd", "client": "\ufffd"}),
    ],
)
async def test_an_announcement_of_anybody_can_be_read(
    served: Serving, publisher: redis.Redis, announcement: bytes, info: dict[str, str]
) -> None:
    """A join without info ends some SDKs."""
    async with sdk_client(served.port) as client:
        await client.ask({"subscribe": {"channel": "a", "join_leave": True}})
        publisher.publish("info:a\x01", announcement)
        assert [push["info"] for push in await client.pushes("join", 1)] == [info]
