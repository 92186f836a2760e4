"""A WebSocket server of a few lines that takes POSTs and passes them on, or does not, as it is told.

It speaks just enough HTTP for the load generator: a GET is a client, a POST a message for all of them.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

Fate = Callable[[Sequence[bytes]], Sequence[bytes]]
"""What becomes of the messages of a run: takes them in order, gives what every client gets."""

_HEAD_END = b"\r\n\r\n"


@contextmanager
def lying_server(fate: Fate, *, messages: int, before: bytes = b"") -> Iterator[int]:
    """Serve for as long as the block runs; gives the port.

    Args:
        fate: applied once, when so many messages have come.
        messages: how many.
        before: bytes every client gets after the handshake.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        clients: list[socket.socket] = []
        arguments = (listener, clients, fate, messages, before)
        threading.Thread(target=_serve, args=arguments, daemon=True).start()
        try:
            yield listener.getsockname()[1]
        finally:
            for client in clients:
                client.close()


def frame(payload: bytes, first: int = 0x81) -> bytes:
    """Return a server's frame."""
    size = len(payload)
    return bytes((first, size)) + payload if size < 126 else bytes((first, 126)) + size.to_bytes(2) + payload


def _serve(listener: socket.socket, clients: list[socket.socket], fate: Fate, messages: int, before: bytes) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        head = connection.recv(4096, socket.MSG_PEEK)
        if head.startswith(b"POST"):
            _take(connection, clients, fate, messages)
            connection.close()
        else:
            connection.recv(4096)
            clients.append(connection)
            connection.sendall(b"HTTP/1.1 101 Switching Protocols" + _HEAD_END + before)


def _take(connection: socket.socket, clients: list[socket.socket], fate: Fate, messages: int) -> None:
    bodies: list[bytes] = []
    data = b""
    while len(bodies) < messages:
        more = connection.recv(65536)
        if not more:
            return
        data += more
        while (head_end := data.find(_HEAD_END)) >= 0:
            size = int(data[:head_end].rpartition(b"Content-Length: ")[2])
            end = head_end + len(_HEAD_END) + size
            if len(data) < end:
                break
            bodies.append(data[end - size : end])
            data = data[end:]
            connection.sendall(b"HTTP/1.1 202 Accepted\r\n\r\n")
    frames = b"".join(map(frame, fate(bodies)))
    for client in clients:
        client.sendall(frames)
