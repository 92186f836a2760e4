"""A client in several channels is told of in each, and counts once where it is from."""

from __future__ import annotations

from typing import cast

import pytest

from mux import reasons
from mux.broker.outbox import Outbox
from mux.endpoints.calls import Calls
from mux.endpoints.hooks import Hooks
from mux.endpoints.membership import Membership
from mux.hub.admission import Admission
from mux.hub.hub import Hub
from mux.hub.subscriber import AnySubscriber
from mux.settings.settings import Settings
from mux.wire.channel import Namespace
from tests.hub.fakes import FakeClient
from tests.support.refusals import refused

ADDRESS = "192.0.2.1"


class Announcements:
    """What was announced, as (Redis channel, name, what happened)."""

    def __init__(self) -> None:
        self.told: list[tuple[bytes, str, str]] = []

    def announce(self, redis_channel: bytes, payload: bytes) -> None:
        """Note an announcement."""
        _, name, _, did = payload.decode().split()
        self.told.append((redis_channel, name, did))


def membership(hub: Hub, announcements: Announcements, *, announce: bool) -> Membership:
    """Return what announces here who joins the channels of a hub, for an app without hooks."""
    every = Settings(announce=announce)
    hooks = Hooks(Namespace("feed:"), Calls(lambda: None), every)
    return Membership(hub.router, cast("Outbox", announcements), hooks, every)


@pytest.fixture
def hub() -> Hub:
    """Return a hub that takes two clients from one address."""
    admission: Admission[AnySubscriber] = Admission(max_per_address=2)
    return Hub(
        max_pending_bytes=1 << 20, max_unwritable_seconds=10, ping_seconds=25, pong_seconds=10, admission=admission
    )


def test_a_connection_in_many_channels_counts_once(hub: Hub) -> None:
    """Its address belongs to the connection, and is free again when that ends, whatever it joined and left."""
    members = membership(hub, Announcements(), announce=False)
    client = FakeClient(hub).subscriber
    hub.connected(client, ADDRESS)
    for number in range(10):
        members.join(client, b"feed:%d" % number, None)
    hub.router.leave(client, b"feed:3")
    hub.admission.check(clients=1, plain=1, address=ADDRESS)
    other = FakeClient(hub).subscriber
    hub.connected(other, ADDRESS)
    with refused(reasons.ADDRESS):
        hub.admission.check(clients=2, plain=1, address=ADDRESS)
    hub.router.leave_all(client)
    hub.disconnected(client)
    hub.admission.check(clients=1, plain=1, address=ADDRESS)


def test_a_client_has_another_name_in_every_channel(hub: Hub) -> None:
    """The one it left a channel by is the one it joined it by, and no two channels tell that they have the same one."""
    announcements = Announcements()
    members = membership(hub, announcements, announce=True)
    client = FakeClient(hub).subscriber
    for channel in (b"feed:a", b"feed:b"):
        members.join(client, channel, None)
    members.left(client, hub.router.leave_all(client))
    told = announcements.told
    assert [did for _, _, did in told] == ["joined", "joined", "left", "left"]
    assert sorted(name for _, name, _ in told[:2]) == sorted(name for _, name, _ in told[2:])
    assert len({name for _, name, _ in told}) == 2


def test_a_client_with_a_name_is_not_announced_where_nobody_is(hub: Hub) -> None:
    """A name is also made when somebody asks who is in a channel."""
    announcements = Announcements()
    members = membership(hub, announcements, announce=False)
    client = FakeClient(hub).subscriber
    members.join(client, b"feed:a", None)
    assert client.name_in(b"feed:a") == client.name_in(b"feed:a")
    members.left(client, hub.router.leave_all(client))
    assert announcements.told == []
