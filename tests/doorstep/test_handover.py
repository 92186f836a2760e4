"""What is handed over to Sanic, and what it leans on there."""

from __future__ import annotations

from sanic.http import Http
from sanic.server.protocols.http_protocol import HttpProtocol

from mux.doorstep.handover import PRIVATE_NAMES, PRIVATE_NAMES_OF_STREAM, OneRequest


def test_private_names_of_the_handover_are_those_of_sanic() -> None:
    """Fails first when Sanic changes what the handover leans on."""
    slots = {name for cls in HttpProtocol.__mro__ for name in getattr(cls, "__slots__", ())}
    assert set(PRIVATE_NAMES) <= slots
    assert issubclass(HttpProtocol.HTTP_CLASS, Http)
    for name in ("check_timeouts", "receive_more", "send", "close", "pause_writing", "resume_writing"):
        assert callable(getattr(HttpProtocol, name)), name


def test_a_head_sets_what_sanics_own_reading_of_it_sets() -> None:
    """Fails when Sanic's http1_request_header() begins to set something else; the doorstep's has to set it, too."""
    sets = [name for name in Http.http1_request_header.__code__.co_names if name in {*Http.__slots__, "keep_alive"}]
    assert set(PRIVATE_NAMES_OF_STREAM) - {"dispatch"} <= {*Http.__slots__, "request_max_size"}
    assert {"http1_request_header"} <= set(vars(OneRequest))
    assert set(sets) <= {*PRIVATE_NAMES_OF_STREAM, "recv_buffer", "protocol", "_receive_more", "expecting_continue"}
