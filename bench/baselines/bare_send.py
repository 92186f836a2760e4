"""The limit: send ready bytes to every socket, and do nothing else.

No server that gives a socket to each client can fan out for less than one send(2) for each, and this one
adds a loop of Python and nothing more: no event loop, no parsing, no channels. It counts what Redis sent
by its length, for every message is the same, and coalesces what it found like mux. It is no server to
use: a client that does not read stops it.
"""

from __future__ import annotations

import socket
import sys
import threading

from bench.messages import FRAME, PATTERN, PREFIX, push
from mux.server import BACKLOG
from mux.wire.resp import encode_command

CHANNEL = "lobby"
"""The one channel there is."""

_PUSH_BYTES = len(push(PREFIX + CHANNEL.encode(), protocol=2))
_SUBSCRIBED = b"*3\r\n$10\r\npsubscribe\r\n$6\r\nfeed:*\r\n:1\r\n"
_READ_BYTES = 256 * 1024


def admit(listener: socket.socket, clients: list[socket.socket]) -> None:
    """Let everybody in, whatever they ask for."""
    while True:
        client, _ = listener.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while b"\r\n\r\n" not in client.recv(4096):
            pass
        client.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        clients.append(client)


def deliver(redis: socket.socket, clients: list[socket.socket]) -> None:
    """Send a frame to every client for every message that comes, until Redis goes."""
    pending = 0
    while data := redis.recv(_READ_BYTES):
        count, pending = divmod(pending + len(data), _PUSH_BYTES)
        if count:
            frames = FRAME * count
            for client in clients:
                client.send(frames)


def main(redis_url: str) -> None:
    """Subscribe, say where clients may come, and deliver."""
    with socket.socket(socket.AF_UNIX) as redis, socket.create_server(("127.0.0.1", 0), backlog=BACKLOG) as listener:
        redis.connect(redis_url.removeprefix("unix://"))
        redis.sendall(encode_command(b"PSUBSCRIBE", PATTERN))
        answer = redis.recv(len(_SUBSCRIBED), socket.MSG_WAITALL)
        assert answer == _SUBSCRIBED, "Redis speaks RESP2 until told otherwise"
        clients: list[socket.socket] = []
        threading.Thread(target=admit, args=(listener, clients), daemon=True).start()
        print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
        deliver(redis, clients)


if __name__ == "__main__":
    main(sys.argv[1])
