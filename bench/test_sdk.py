"""SDK clients, beside Centrifugo where it is on the PATH: a socket with very many channels; clients that come back.

What do 100,000 subscriptions on one socket cost in memory and CPU, when commands come a thousand in a frame? And what
do 10,000 clients cost that come back in bunches, each with a position in one of 1,000 channels, and each owed the 50
messages of its channel? The client is a bare socket and json, for an SDK would cost more than the server.

Fan-out to SDK clients is among the works of `python -m bench compare`, as `mux, SDK clients`.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any
from urllib.request import Request, urlopen

import pytest

from bench.conftest import Benchmark, Score
from bench.loadgen.dialect import text_frame
from bench.loadgen.frames import split
from bench.parts import PAYLOAD
from bench.peers.registry import CENTRIFUGO, DEFAULT_DIRECTORY, MUX_SDK
from bench.servers import Running, redis_use
from bench.test_resume import AT_ONCE, CHANNELS, CLIENTS, EACH, is_ready, publish

MANY, AT_A_TIME = 100_000, 1000
"""Subscriptions of one socket, and commands of one frame."""

PROMISED_BYTES, PROMISED_US = 250, 10
"""The most memory and CPU time of one of these subscriptions."""

IS_ABSENT = CENTRIFUGO.kind.absent(DEFAULT_DIRECTORY)
OPTIONS = ("--max-channels-per-connection", "200000", "--max-pending-bytes", str(64 << 20))
PEERS = [
    replace(MUX_SDK, command=lambda place: [*MUX_SDK.command(place), *OPTIONS]),
    pytest.param(
        CENTRIFUGO, marks=pytest.mark.skipif(CENTRIFUGO.kind.absent(DEFAULT_DIRECTORY), reason="no Centrifugo")
    ),
]

pytestmark = pytest.mark.parametrize("server", PEERS, indirect=True, ids=lambda peer: peer.name)


class SdkClient:
    """A socket that speaks the SDKs' protocol."""

    def __init__(self, server: Running, stack: ExitStack) -> None:
        target = server.target
        self._socket = stack.enter_context(socket.create_connection((target.host, target.port), 60))
        self._socket.sendall(target.request(""))
        self._data = b""
        while b"\r\n\r\n" not in self._data:
            self._data += self._socket.recv(4096)
        self._data = self._data.partition(b"\r\n\r\n")[2]
        self._replies = self._read()
        self.send({"id": 1, "connect": {}})

    def send(self, *commands: dict[str, Any]) -> None:
        """Send commands in one frame."""
        self._socket.sendall(text_frame(b"\n".join(json.dumps(command).encode() for command in commands)))

    def reply(self, number: int) -> dict[str, Any]:
        """Return the reply to a command, past all that comes before it."""
        return next(reply for reply in self._replies if reply.get("id") == number)

    def _read(self) -> Iterator[dict[str, Any]]:
        while received := self._socket.recv(1 << 18):
            self._data += received
            for _, head, payload in split(self._data):
                self._data = self._data[len(head) + len(payload) :]
                yield from map(json.loads, payload.splitlines())


def test_many_channels_on_one_socket(server: Running, smoke: bool, benchmark: Benchmark, score: Score) -> None:
    """The channels have no other subscriber; what a server needs for its first thousand is not weighed."""
    frames = 3 if smoke else MANY // AT_A_TIME + 1
    case = benchmark.group = f"sdk_{(frames - 1) * AT_A_TIME}channels_1socket"
    with ExitStack() as stack:
        client = SdkClient(server, stack)
        numbers = iter(range(2, 1 << 30))

        def subscribe() -> None:
            some = [next(numbers) for _ in range(AT_A_TIME)]
            client.send(*({"id": n, "subscribe": {"channel": f"ch-{n}"}} for n in some))
            assert "subscribe" in client.reply(some[-1])

        def subscribe_often() -> None:
            for _ in range(frames - 1):
                subscribe()

        subscribe()
        used, before = server.tree.cpu_seconds(), server.tree.memory_bytes()
        benchmark.pedantic(subscribe_often, rounds=1)
        us_each = (server.tree.cpu_seconds() - used) * 1e6 / ((frames - 1) * AT_A_TIME)
        bytes_each = (server.tree.memory_bytes() - before) / ((frames - 1) * AT_A_TIME)
    score(case, "us CPU/subscription", value=us_each)
    score(case, "bytes/subscription", value=bytes_each)
    if server.peer is not CENTRIFUGO and not smoke:
        assert bytes_each < PROMISED_BYTES
        assert us_each < PROMISED_US


def test_sdk_clients_come_back(server: Running, smoke: bool, benchmark: Benchmark, score: Score) -> None:
    """Each connects, and subscribes from where it was; the Redis commands of mux are its probes and beats."""
    channels, clients = (10, 20) if smoke else (CHANNELS, CLIENTS)
    case = benchmark.group = f"sdk_resume_{clients}clients_{channels * EACH}msgs"
    prefix = "kept:" if server.peer is CENTRIFUGO else ""
    names = [f"{prefix}CH-{number:06d}" for number in range(channels)]
    with ExitStack() as stack:
        if not prefix:
            is_ready(server)
        positions = _positions(SdkClient(server, stack), names)
        _publish(server, names)

    def come_back() -> None:
        for first in range(0, clients, AT_ONCE):
            with ExitStack() as stack:
                some = [(SdkClient(server, stack), n % channels) for n in range(first, min(first + AT_ONCE, clients))]
                for client, channel in some:
                    client.send(_subscribe(2, names[channel], recover=True, **positions[channel]))
                for client, _ in some:
                    reply = client.reply(2)["subscribe"]
                    assert reply["recovered"]
                    assert len(reply["publications"]) == EACH

    used, before = server.tree.cpu_seconds(), redis_use(server.place.redis_url)
    benchmark.pedantic(come_back, rounds=1)
    used, asked = server.tree.cpu_seconds() - used, redis_use(server.place.redis_url) - before
    score(case, "us CPU/client", value=used * 1e6 / clients)
    score(case, "us Redis CPU/client", value=asked.cpu_seconds * 1e6 / clients)
    score(case, "Redis commands/client", value=asked.commands / clients)


def _subscribe(number: int, channel: str, **more: object) -> dict[str, Any]:
    return {"id": number, "subscribe": {"channel": channel, "recoverable": True, **more}}


def _positions(client: SdkClient, names: list[str]) -> list[dict[str, Any]]:
    found = []
    for number, name in enumerate(names, 2):
        client.send(_subscribe(number, name))
        reply = client.reply(number)["subscribe"]
        found.append({"epoch": reply["epoch"], "offset": reply.get("offset", 0)})
    return found


def _publish(server: Running, names: list[str]) -> None:
    if server.peer is not CENTRIFUGO:
        publish(server.place.redis_url, len(names) * EACH, len(names))
        return
    body = json.dumps({"channels": names, "data": PAYLOAD.decode()}).encode()
    for _ in range(EACH):
        url = f"http://{server.target.host}:{server.target.port}/api/broadcast"
        with urlopen(Request(url, body, {"Content-Type": "application/json"}), timeout=60) as answer:
            assert b"error" not in answer.read()
