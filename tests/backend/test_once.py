"""Idempotency keys, with a Redis that is a dict."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from mux.backend import once as module
from mux.backend.errors import ApiError
from mux.backend.once import Once
from mux.errors import BrokerLost, BrokerRefused, BrokerUnavailable
from mux.wire.resp import Reply


class FakeRedis:
    """Keeps keys, and nothing of when they end."""

    def __init__(self) -> None:
        self.keys: dict[bytes, bytes] = {}
        self.refusal: Reply = None

    def __call__(self, *words: bytes, done: Callable[[Reply], None]) -> None:
        """Answer a command."""
        if self.refusal is not None:
            done(self.refusal)
        elif words[0] == b"SET" and b"NX" in words:
            is_new = words[1] not in self.keys
            self.keys.setdefault(words[1], words[2])
            done(b"OK" if is_new else None)
        elif words[0] == b"SET":
            self.keys[words[1]] = words[2]
            done(b"OK")
        else:
            done(self.keys.pop(words[1], None) if words[0] == b"GETDEL" else self.keys.get(words[1]))


@pytest.fixture
def fake() -> FakeRedis:
    """A Redis of this test."""
    return FakeRedis()


@pytest.fixture
def once(fake: FakeRedis) -> Once:
    """What is tested."""
    return Once(fake, b"feed:$copy:once:")


async def fails() -> dict[str, object]:
    """Do not publish."""
    raise BrokerUnavailable("away")


async def works() -> dict[str, object]:
    """Publish."""
    return {"offset": 7}


async def test_the_first_result_is_given_again(once: Once) -> None:
    """Nothing is published a second time."""
    assert await once.publish("a", "k", works) == {"offset": 7}
    assert await once.publish("a", "k", fails) == {"offset": 7}


async def test_a_key_is_given_back_when_nothing_was_published(once: Once, fake: FakeRedis) -> None:
    """The next one may try."""
    with pytest.raises(BrokerUnavailable):
        await once.publish("a", "k", fails)
    assert fake.keys == {}
    assert await once.publish("a", "k", works) == {"offset": 7}


async def test_an_asker_that_goes_away_changes_nothing(once: Once, fake: FakeRedis) -> None:
    """It has waited too long and asks again: the message is published once all the same."""
    calls: list[asyncio.Future[dict[str, object]]] = []

    async def slowly() -> dict[str, object]:
        calls.append(asyncio.get_running_loop().create_future())
        return await calls[-1]

    asker = asyncio.ensure_future(once.publish("a", "k", slowly))
    while not calls:
        await asyncio.sleep(0)
    asker.cancel()
    again = asyncio.ensure_future(once.publish("a", "k", slowly))
    await asyncio.sleep(0)
    calls[0].set_result({"offset": 7})
    assert await again == {"offset": 7}
    assert len(calls) == 1


async def test_what_may_be_published_is_not_tried_again_at_once(once: Once, fake: FakeRedis) -> None:
    """Its key stays until the claim ends."""

    async def lost() -> dict[str, object]:
        raise BrokerLost("the connection broke")

    with pytest.raises(BrokerLost):
        await once.publish("a", "k", lost)
    assert list(fake.keys.values()) == [b""]


async def test_the_end_of_the_app_ends_what_is_published(once: Once) -> None:
    """No task is left."""
    asker = asyncio.ensure_future(once.publish("a", "k", asyncio.Event().wait))  # type: ignore[arg-type]
    while not once._tasks:
        await asyncio.sleep(0)
    await once.aclose()
    with pytest.raises(asyncio.CancelledError):
        await asker


async def test_a_process_that_has_died_is_waited_for(
    once: Once, fake: FakeRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has claimed the key and has no result; the asker is told to come again, and the claim ends by itself."""
    await once.publish("a", "k", works)
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.05)
    fake.keys = dict.fromkeys(fake.keys, b"")
    with pytest.raises(ApiError, match="is being published") as refused:
        await once.publish("a", "k", works)
    assert refused.value.code == 113


async def test_keys_are_bounded(once: Once, fake: FakeRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    """In length and in number; a key that has a result counts once."""
    monkeypatch.setattr(module, "MAX_KEYS", 4)
    for _ in range(2):
        await once.publish("a", "k", works)
    await once.publish("c" * 255, "k" * 255, works)
    assert max(map(len, fake.keys)) < 100
    with pytest.raises(ApiError, match="too many"):
        await once.publish("c", "k", works)


async def test_a_cluster_keeps_none(once: Once, fake: FakeRedis) -> None:
    """Its nodes take only keys of their own; any other refusal is told as it is."""
    fake.refusal = BrokerRefused("MOVED 1 127.0.0.1:1")
    with pytest.raises(ApiError, match="cluster"):
        await once.publish("a", "k", works)
    fake.refusal = BrokerRefused("NOPERM no")
    with pytest.raises(BrokerRefused, match="NOPERM"):
        await once.publish("a", "k", works)
