from __future__ import annotations

from mux.hub.hub import Hub
from mux.metrics.observer import Observer
from mux.wire.resp import Push
from tests.hub.fakes import FakeClient

BATCH: list[Push] = [[b"pmessage", b"feed:*", b"feed:a", b"hi"]]


def test_a_function_is_shown_every_batch_and_the_clients_get_it_all_the_same() -> None:
    """Until it is None; then the hub is called as before."""
    hub = Hub(max_pending_bytes=1 << 20, max_unwritable_seconds=10, ping_seconds=25, pong_seconds=10)
    client = FakeClient()
    hub.router.join(client.subscriber, b"feed:a")
    observer = Observer(hub, None)
    seen: list[list[Push]] = []
    observer.show_batches(seen.append)
    observer.dispatch(BATCH)
    observer.show_batches(None)
    observer.dispatch(BATCH)
    assert seen == [BATCH]
    assert client.written == [b"hi\n", b"hi\n"]
