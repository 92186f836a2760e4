from __future__ import annotations

import pytest

from mux.errors import BrokerGarbled
from mux.hub.hub import Hub
from mux.intake import BatchIntake
from mux.wire.resp import Push
from tests.hub.fakes import FakeClient

BATCH: list[Push] = [[b"pmessage", b"feed:*", b"feed:a", b"hi"]]


@pytest.fixture
def hub() -> Hub:
    """Nobody is connected."""
    return Hub(max_pending_bytes=1 << 20, max_unwritable_seconds=10, ping_seconds=25, pong_seconds=10)


def test_a_batch_is_shown_after_the_clients_have_it(hub: Hub) -> None:
    """While there is a function to show it to; without one the clients get it all the same."""
    client, intake = FakeClient(), BatchIntake(hub)
    hub.router.join(client.subscriber, b"feed:a")
    seen: list[tuple[list[Push], int]] = []
    intake.after_batch = lambda messages: seen.append((messages, len(client.written)))
    intake.take(BATCH)
    intake.after_batch = None
    intake.take(BATCH)
    assert seen == [(BATCH, 1)]
    assert client.written == [b"hi\n", b"hi\n"]


def test_every_batch_is_timed_and_measured(hub: Hub) -> None:
    """A batch that cannot be delivered is neither."""
    intake = BatchIntake(hub)
    intake.take(BATCH * 3)
    with pytest.raises(BrokerGarbled):
        intake.take([[b"pmessage"]])
    assert sum(intake.batch_sizes.counts) == sum(intake.fan_out_times.counts) == 1
