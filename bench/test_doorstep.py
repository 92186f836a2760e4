"""The cost of facing strangers.

How much CPU does a server use to let a client in, with the join announced and not, straight or behind an nginx that
takes TLS off? And how much more does a plain GET cost than it does without the doorstep?

Beside mux stand a bare Sanic handler, which checks nothing, Sanic's own WebSocket, and a limit: a uvloop protocol
that writes fixed bytes and reads nothing of what it is sent. The CPU is the server's alone, without nginx'. Clients
come one after the other and not in a storm, so each pays for a turn of the loop of its own; an announcement is a
message to Redis and back to the client. The figures do not tell how long a client waits.
"""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from bench.compare import LIMIT
from bench.conftest import Benchmark, Score
from bench.parts import wait_until_joined
from bench.peers.registry import MUX, OWN, STOCK, Peer, Place
from bench.servers import Running, free_port, serving

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
OPENSSL = shutil.which("openssl")

GET = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

FRONT = """
daemon off; master_process off; pid {folder}/pid; error_log stderr error;
worker_rlimit_nofile 32768;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
    uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
    server {{
        listen 127.0.0.1:{listen} ssl;
        ssl_certificate {folder}/cert.pem;
        ssl_certificate_key {folder}/key.pem;
        location / {{
            proxy_pass http://127.0.0.1:{port};
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
        }}
    }}
}}
"""


def _here(what: str) -> Callable[[Place], list[str]]:
    return lambda place: [sys.executable, "-m", "bench.baselines.door_servers", what, str(place.port)]


def _announced(place: Place) -> list[str]:
    return [{"--no-announce": "--announce"}.get(word, word) for word in MUX.command(place)]


ANNOUNCED = replace(MUX, name="mux, announced", command=_announced)
RAW = Peer(name=LIMIT, command=_here("raw"), kind=OWN)
BARE = Peer(name="Sanic, a bare handler", command=_here("bare"), kind=OWN)
SANICS = replace(STOCK, name="Sanic's WebSocket")


Connect = Callable[[], socket.socket]
"""Opens a connection of a client."""


def _straight(server: Running) -> Connect:
    return partial(socket.create_connection, (server.target.host, server.target.port), 60)


def _through(port: int) -> Connect:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return lambda: context.wrap_socket(socket.create_connection(("127.0.0.1", port), 60))


@contextmanager
def _tls_front(port: int, folder: Path) -> Iterator[int]:
    """Run nginx before a server for as long as the block runs; gives the port that speaks TLS."""
    assert NGINX
    assert OPENSSL
    subject = ["-subj", "/CN=localhost", "-days", "1", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    keys = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run([OPENSSL, "req", "-x509", *subject, *keys], check=True, capture_output=True)
    listen = free_port()
    (folder / "nginx.conf").write_text(FRONT.format(folder=folder, listen=listen, port=port))
    front = subprocess.Popen([NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"])
    try:
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", listen)).close()
                break
            except ConnectionRefusedError:
                assert front.poll() is None, "nginx has ended"
                assert time.monotonic() < deadline, "nginx does not listen"
                time.sleep(0.02)
        yield listen
    finally:
        front.terminate()
        front.wait()


def _come(server: Running, connect: Connect, stack: ExitStack, count: int) -> None:
    """Have so many more clients join a channel of their own."""
    for _ in range(count):
        client = stack.enter_context(connect())
        client.sendall(server.target.request(f"idle-{id(client)}"))
        wait_until_joined(client)


def _measure_joins(
    server: Running, connect: Connect, case: str, smoke: bool, benchmark: Benchmark, score: Score
) -> None:
    count, rounds = (3, 2) if smoke else (300, 8)
    benchmark.group = case
    with ExitStack() as stack:
        _come(server, connect, stack, count)
        benchmark.pedantic(lambda: _come(server, connect, stack, count), rounds=rounds)
    score(case, "us/client", per=count)


@pytest.mark.parametrize("server", [RAW, MUX, ANNOUNCED, SANICS], indirect=True, ids=lambda peer: peer.name)
def test_let_in(server: Running, smoke: bool, benchmark: Benchmark, score: Score) -> None:
    """Let clients in that come straight."""
    _measure_joins(server, _straight(server), "join_one_by_one", smoke, benchmark, score)


@pytest.mark.skipif(not (NGINX and OPENSSL), reason="there is no nginx, or no openssl")
@pytest.mark.parametrize("server", [RAW, MUX, ANNOUNCED, SANICS], indirect=True, ids=lambda peer: peer.name)
def test_let_in_behind_nginx(server: Running, tmp_path: Path, smoke: bool, benchmark: Benchmark, score: Score) -> None:
    """Let clients in whose TLS an nginx has taken off."""
    with _tls_front(server.place.port, tmp_path) as port:
        _measure_joins(server, _through(port), "join_behind_nginx_tls", smoke, benchmark, score)


@pytest.mark.parametrize("server", [RAW, MUX, BARE], indirect=True, ids=lambda peer: peer.name)
def test_plain_get(server: Running, smoke: bool, benchmark: Benchmark, score: Score) -> None:
    """Ask for /healthz on a kept connection, one request after the other."""
    count = 10 if smoke else 1000
    benchmark.group = case = "plain_get"
    with _straight(server)() as client:

        def ask() -> None:
            for _ in range(count):
                client.sendall(GET)
                answer = client.recv(4096)
                assert answer.startswith(b"HTTP/1.1 200 "), answer

        ask()
        benchmark.pedantic(ask, rounds=2 if smoke else 8)
    score(case, "us/request", per=count)


def test_plain_get_beside_sanics_protocol(redis_url: str, smoke: bool, benchmark: Benchmark, score: Score) -> None:
    """An app of mux is served with the doorstep and with Sanic's own protocol, in turns on one machine."""
    count, rounds = (10, 1) if smoke else (1000, 8)
    benchmark.group = case = "plain_get_same_app"
    least: dict[str, float] = {}
    protocols = {
        name: replace(MUX, name=name, command=partial(_same_app, name)) for name in ("mux", "Sanic's protocol")
    }
    with ExitStack() as stack:
        servers = {name: stack.enter_context(serving(peer, redis_url)) for name, peer in protocols.items()}

        def measure() -> None:
            for name, server in servers.items():
                with _straight(server)() as client:
                    before = server.tree.cpu_seconds()
                    for _ in range(count):
                        client.sendall(GET)
                        client.recv(4096)
                    took = (server.tree.cpu_seconds() - before) / count * 1e6
                least[name] = min(took, least.get(name, took))

        benchmark.pedantic(measure, rounds=rounds, warmup_rounds=1)
    for name, value in least.items():
        score(case, "us/request", value=value, contender=name)


def _same_app(name: str, place: Place) -> list[str]:
    what = "doorstep" if name == "mux" else "sanic"
    return [sys.executable, "-m", "bench.baselines.door_servers", what, str(place.port), place.redis_url]
