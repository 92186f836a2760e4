"""Clients that read and forget, for a benchmark whose server is the benchmark itself.

    python -m bench.drain PORT CLIENTS

In a process of its own, so that reading is not in the benchmark's CPU time. It looks, reads what is there and
naps, so that it is not the writer who wakes it. Ends when the other side closes.
"""

from __future__ import annotations

import select
import socket
import sys
import time

NAP_SECONDS = 0.0002


def main(port: int, clients: int) -> None:
    """Connect, and read until there is nobody left."""
    epoll = select.epoll()
    sockets = {}
    for _ in range(clients):
        client = socket.create_connection(("127.0.0.1", port))
        client.setblocking(False)
        sockets[client.fileno()] = client
        epoll.register(client, select.EPOLLIN)
    buffer = bytearray(1 << 18)
    while sockets:
        ready = epoll.poll(0, 4096)
        for fd, _ in ready:
            if not sockets[fd].recv_into(buffer):
                sockets.pop(fd).close()
        if not ready:
            time.sleep(NAP_SECONDS)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
