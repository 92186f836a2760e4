"""A client of an event stream that comes back with its position, and writes what it gets into the ledger.

However often its connection is lost, all it gets is one session, in which nothing may be missing, come twice or out of
order. Only `missed` ends the session: from then on it is owed what comes next.
"""

from __future__ import annotations

from time import time

from tests.chaos.ledger import Receipt, Session
from tests.chaos.traffic import Traffic
from tests.support.resuming import Resumer

OWN_STREAM = "its own stream"
"""Where a follower is told of gaps; what a server says in its log forgives nothing."""


class Follower(Resumer):
    """One client; see Resumer.

    Args:
        traffic: where its sessions are written.
        server: where it connects.
        port: that of the server, or of a proxy before it.
        channel: what it listens to.
        name: what the ledger calls it.
    """

    def __init__(self, traffic: Traffic, server: str, port: int, channel: str, name: str) -> None:
        super().__init__(f"http://127.0.0.1:{port}/feed/{channel}")
        self.server = server
        self._traffic = traffic
        self._channel, self._name = channel, name
        self._session: Session

    def opened(self) -> None:
        """Begin a session, unless the one before goes on."""
        super().opened()
        if not self.last_event_id:
            self._begin()

    def take(self, event: str, data: str, position: str) -> None:
        """Take an event."""
        super().take(event, data, position)
        if event == "missed":
            self._begin()

    def hear(self, data: str) -> None:
        """Write a message down."""
        message = self._traffic.read(self._channel, data)
        if message is not None:
            self._session.received.append(Receipt(message, time()))

    def _begin(self) -> None:
        self._session = Session(OWN_STREAM, self._channel, self._name, time())
        self._traffic.begin(self._session)
