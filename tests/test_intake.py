from __future__ import annotations

import pytest

from mux.errors import BrokerGarbled
from mux.hub.hub import Hub
from mux.intake import BatchIntake
from mux.journal.journal import Journal
from mux.wire.resp import Push
from tests.hub.fakes import FakeClient

BATCH: list[Push] = [[b"pmessage", b"feed:*", b"feed:a", b"hi"]]


def journal() -> Journal:
    """Nothing was heard, and nothing is kept."""
    return Journal(max_bytes=0, max_seconds=0, talk=b"feed:$")


@pytest.fixture
def hub() -> Hub:
    """Nobody is connected."""
    return Hub(max_pending_bytes=1 << 20, max_unwritable_seconds=10, ping_seconds=25, pong_seconds=10)


def test_a_batch_is_shown_after_the_clients_have_it(hub: Hub) -> None:
    """While there is a function to show it to; without one the clients get it all the same."""
    client, intake = FakeClient(), BatchIntake(hub, journal())
    hub.router.join(client.subscriber, b"feed:a")
    seen: list[tuple[list[Push], int]] = []
    intake.after_batch = lambda messages: seen.append((messages, len(client.written)))
    intake.take(b"", BATCH, True)
    intake.after_batch = None
    intake.take(b"", BATCH, True)
    assert seen == [(BATCH, 1)]
    assert client.written == [b"hi\n", b"hi\n"]


def test_every_batch_is_timed_and_measured(hub: Hub) -> None:
    """A batch that cannot be delivered is neither."""
    intake = BatchIntake(hub, journal())
    intake.take(b"", BATCH * 3, True)
    with pytest.raises(BrokerGarbled):
        intake.take(b"", [[b"pmessage"]], True)
    assert sum(intake.batch_sizes.counts) == sum(intake.fan_out_times.counts) == 1
