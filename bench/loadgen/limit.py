"""The limit: the cheapest thing a server could do.

It has the sockets, and the bytes lie ready, and all it does when a message is due is send them: no Redis, no
event loop, no parsing. What is due at once goes to a client in one piece. No server that gives a socket to
each client can fan out for less than a send for each, so the cost of any other also reads as "x of the limit".

Only sending is counted, and the naps between: not admitting clients, not making the bytes.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import defaultdict

from bench.loadgen.load import Load, Schedule
from bench.loadgen.publisher import Published
from bench.loadgen.stamp import message, now_us

_HEAD_END = b"\r\n\r\n"


class Limit:
    """Listens on the port of the load's target."""

    def __init__(self, load: Load) -> None:
        self._size = load.message_bytes
        self._clients: defaultdict[int, list[socket.socket]] = defaultdict(list)
        self._listener = socket.create_server((load.target.host, load.target.port), backlog=4096)
        threading.Thread(target=self._admit, daemon=True).start()

    def run(self, schedule: Schedule) -> Published:
        """Send everything when it is due."""
        frames = self._frames(schedule)
        clients = [self._clients[channel] for channel in range(schedule.channels)]
        late_us = done = 0
        while now_us() < schedule.start_us:
            time.sleep(0.001)
        cpu = time.process_time()
        if schedule.rate:
            while done < schedule.messages:
                now = now_us()
                due = schedule.due_by(now)
                if due == done:
                    time.sleep(max(0, schedule.due_us(done) - now) / 1e6)
                    continue
                late_us = max(late_us, now - schedule.due_us(done))
                for k in range(done, due):
                    frame = frames[k]
                    for client in clients[k % schedule.channels]:
                        client.send(frame)
                done = due
        else:
            for channel, members in enumerate(clients):
                ready = b"".join(frames[channel :: schedule.channels])
                for client in members:
                    client.sendall(ready)
        cpu = time.process_time() - cpu
        return Published(schedule.messages, late_us, cpu)

    def _frames(self, schedule: Schedule) -> list[bytes]:
        head = bytes((0x81, self._size)) if self._size < 126 else b"\x81\x7e" + self._size.to_bytes(2)
        if self._size > 0xFFFF:
            head = b"\x81\x7f" + self._size.to_bytes(8)
        frames = []
        for k in range(schedule.messages):
            sequence, channel = divmod(k, schedule.channels)
            frames.append(head + message(channel, sequence, schedule.due_us(k), self._size))
        return frames

    def _admit(self) -> None:
        while True:
            client, _ = self._listener.accept()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            head = b""
            while _HEAD_END not in head:
                head += client.recv(4096)
            channel = int(head.split(b" ", 2)[1].rpartition(b"-")[2])
            self._clients[channel].append(client)
            with contextlib.suppress(OSError):
                client.sendall(b"HTTP/1.1 101 Switching Protocols" + _HEAD_END)
