"""What is handed over to Sanic, and what it leans on there."""

from __future__ import annotations

from sanic.http import Http
from sanic.server.protocols.http_protocol import HttpProtocol

from mux.doorstep.handover import PRIVATE_NAMES, OneRequest
from mux.wire.http.head import MAX_HEAD_BYTES


def test_private_names_of_the_handover_are_those_of_sanic() -> None:
    """Fails first when Sanic changes what the handover leans on."""
    slots = {name for cls in HttpProtocol.__mro__ for name in getattr(cls, "__slots__", ())}
    assert set(PRIVATE_NAMES) <= slots
    assert issubclass(HttpProtocol.HTTP_CLASS, Http)
    for name in ("check_timeouts", "receive_more", "send", "close", "pause_writing", "resume_writing"):
        assert callable(getattr(HttpProtocol, name)), name


def test_sanic_takes_every_head_that_was_let_pass() -> None:
    """Its own limit on heads is above that of the doorstep."""
    assert OneRequest.HEADER_MAX_SIZE > MAX_HEAD_BYTES
    assert "HEADER_MAX_SIZE" in vars(Http)
