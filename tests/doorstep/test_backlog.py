"""Nobody who has connected at the last moment is reset."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest

from mux.doorstep.backlog import turn_away
from tests.doorstep.test_doorstep import ALIVE, POST
from tests.support.servers import PATIENCE_SECONDS


def test_whoever_waits_at_a_listener_hears_503_and_then_the_end() -> None:
    """Whether it has sent its request or half of it; who has asked nothing hears the end. They were reset once."""
    requests = [ALIVE, POST + b"Content-Length: 10\r\n\r\nhalf", b""] * 20
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=128))
        clients = [stack.enter_context(socket.create_connection(listener.getsockname())) for _ in requests]
        for client, request in zip(clients, requests, strict=True):
            client.settimeout(PATIENCE_SECONDS)
            client.sendall(request)
        address = listener.getsockname()
        assert turn_away(listener) == len(requests)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
        for client, request in zip(clients, requests, strict=True):
            answer = b""
            while data := client.recv(4096):
                answer += data
            assert answer.startswith(b"HTTP/1.1 503 " if request else b"")
            assert (b"\r\nConnection: close\r\n" in answer) is bool(request)


def test_nobody_at_a_listener_takes_no_time() -> None:
    """The usual stop."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert turn_away(listener) == 0
