"""Who is compared: how to start each, what it needs, how to talk to it, and where to publish.

Every peer does the same job: a client joins a channel, every message published to it reaches the client, and
what a client sends is published. One process each, compression off, as long a backlog as mux, and no
heartbeat within the time of a run.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgpack  # type: ignore[import-untyped]  # it has no types

from bench.loadgen.dialect import PLAIN, SOCKET_IO, Dialect
from bench.loadgen.publisher import Door

HERE = Path(__file__).parent
DEFAULT_DIRECTORY = HERE.parent / ".peers"
NCHAN_MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")

PYTHON_INSTALL = "python -m venv {peers}/python && {peers}/python/bin/pip install -r bench/peers/requirements.txt"
NODE_INSTALL = "mkdir -p {peers}/node && cp bench/peers/package.json {peers}/node && npm install --prefix {peers}/node"
NGINX_INSTALL = "apt-get install nginx libnginx-mod-nchan"

RAW = "raw PUBLISH"

_BODY = "\x00"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a peer is to run."""

    port: int
    redis_url: str
    """redis:// URL."""
    peers: Path
    """Where the peers are installed."""
    scratch: Path
    """For a server that needs files of its own."""
    workers: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A server to compare."""

    name: str
    command: Callable[[Place], list[str]]
    absent: Callable[[Path], str | None] = lambda peers: None
    """Why it cannot be started, or None."""
    install: str = ""
    version: Callable[[Path], str] = lambda peers: ""
    path: str = "/feed/{channel}"
    dialect: Dialect = PLAIN
    door: Callable[[Place, int], Door] = lambda place, size: Door(url=place.redis_url)
    """Where to publish messages of so many bytes."""
    published: str = RAW
    """The same in words, for the table."""
    language: str = "Python"
    """What it is written in, its own part at least."""
    is_many: bool = False
    """True when it can be several processes that share a port."""
    copies: bool = False
    """True when these are copies of it, False when it starts them by itself."""


def _python(script: str) -> Callable[[Place], list[str]]:
    return lambda place: [
        str(place.peers / "python/bin/python"), str(HERE / script), str(place.port), place.redis_url,
    ]  # fmt: skip


def _node(script: str) -> Callable[[Place], list[str]]:
    return lambda place: ["node", str(HERE / script), str(place.port), place.redis_url]


def _no_python(peers: Path) -> str | None:
    return None if (peers / "python/bin/python").exists() else "not installed"


def _no_node(peers: Path) -> str | None:
    if shutil.which("node") is None:
        return "there is no node"
    return None if (peers / "node/node_modules/ws").exists() else "not installed"


def _no_nchan(peers: Path) -> str | None:
    return None if shutil.which("nginx") and NCHAN_MODULE.exists() else "not installed"


def _python_version(*names: str) -> Callable[[Path], str]:
    code = (
        "import sys; from importlib.metadata import version as v;"
        "print(', '.join(f'{name} {v(name)}' for name in sys.argv[1:]))"
    )
    return lambda peers: _said([str(peers / "python/bin/python"), "-c", code, *names])


def _node_version(*names: str) -> Callable[[Path], str]:
    code = "console.log(process.argv.slice(1).map(n => n + ' ' + require(n + '/package.json').version).join(', '))"

    def version(peers: Path) -> str:
        node = _said(["node", "--version"])
        return f"{_said(['node', '-e', code, *names], cwd=peers / 'node')} (node {node})"

    return version


def _said(command: list[str], cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=30, check=False)
    return (done.stdout or done.stderr).strip()


def _nchan_version(peers: Path) -> str:
    nginx = _said(["nginx", "-v"]).rpartition("/")[2]
    return f"nginx {nginx}, nchan {_said(['dpkg-query', '-W', '-f=${Version}', 'libnginx-mod-nchan'])}"


def _mux(place: Place) -> list[str]:
    options = "--no-announce --ping-seconds 86400 --log-level error"
    return [
        sys.executable, "-m", "mux", "serve", *options.split(), "--port", str(place.port),
        "--workers", str(place.workers), "--redis-url", place.redis_url,
    ]  # fmt: skip


def _nchan(place: Place) -> list[str]:
    text = (HERE / "nchan.conf").read_text()
    values = {"port": place.port, "redis": place.redis_url, "directory": place.scratch, "module": NCHAN_MODULE}
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    path = place.scratch / "nginx.conf"
    path.write_text(text)
    return ["nginx", "-c", str(path), "-p", str(place.scratch)]


def _litestar_door(place: Place, size: int) -> Door:
    return Door(url=place.redis_url, channel="{channel}")


def _django_door(place: Place, size: int) -> Door:
    before, after = _packed({"type": "feed.message", "message": _BODY * size}, size)
    return Door(url=place.redis_url, channel="asgi__group__{channel}", before=before, after=after)


def _python_socketio_door(place: Place, size: int) -> Door:
    before = b'{"method":"emit","event":"message","data":["'
    after = (
        b'"],"binary":false,"namespace":"/","room":"{channel}","skip_sid":null,"callback":null,"host_id":"benchmark"}'
    )
    return Door(url=place.redis_url, channel="socketio", before=before, after=after)


def _socketio_door(place: Place, size: int) -> Door:
    packet = {"type": 2, "data": ["message", _BODY * size], "nsp": "/"}
    # The names of channels are all as long as this placeholder.
    options = {"rooms": ["{channel}"], "except": [], "flags": {}}
    before, after = _packed(["bench", packet, options], size)
    return Door(url=place.redis_url, channel="socket.io#/#{channel}#", before=before, after=after)


def _nchan_door(place: Place, size: int) -> Door:
    return Door(url=f"http://127.0.0.1:{place.port}", channel="/publish/{channel}")


def _packed(value: object, size: int) -> tuple[bytes, bytes]:
    """Return what MessagePack puts before and after a message of so many bytes."""
    packed: bytes = msgpack.packb(value)
    before, _, after = packed.partition(_BODY.encode() * size)
    return before, after


def _baseline(name: str, *words: str) -> Callable[[Place], list[str]]:
    return lambda place: [
        sys.executable, "-m", f"bench.baselines.{name}", place.redis_url, str(place.port), *words,
    ]  # fmt: skip


MUX = Peer(name="mux", command=_mux, is_many=True)

PER_CHANNEL = Peer(name="Sanic, PubSub per channel", command=_baseline("pubsub_per_channel"), is_many=True, copies=True)

STOCK = Peer(name="Sanic stock", command=_baseline("stock"))
"""Only beside the suites: with our broker it is among the peers."""

PEERS = (
    MUX,
    PER_CHANNEL,
    Peer(name="Sanic stock + our broker", command=_baseline("stock", "our-broker")),
    Peer(
        name="Starlette + broadcaster",
        command=_python("starlette_broadcaster.py"),
        absent=_no_python,
        install=PYTHON_INSTALL,
        version=_python_version("starlette", "broadcaster", "uvicorn", "redis"),
    ),
    Peer(
        name="Litestar channels",
        command=_python("litestar_channels.py"),
        absent=_no_python,
        install=PYTHON_INSTALL,
        version=_python_version("litestar", "uvicorn", "redis"),
        door=_litestar_door,
    ),
    Peer(
        name="Django Channels",
        command=_python("django_channels.py"),
        absent=_no_python,
        install=PYTHON_INSTALL,
        version=_python_version("django", "channels", "channels-redis", "uvicorn", "redis"),
        door=_django_door,
        published="PUBLISH in its MessagePack",
    ),
    Peer(
        name="python-socketio",
        command=_python("python_socketio.py"),
        absent=_no_python,
        install=PYTHON_INSTALL,
        version=_python_version("python-socketio", "uvicorn", "redis"),
        path="/socket.io/?EIO=4&transport=websocket",
        dialect=SOCKET_IO,
        door=_python_socketio_door,
        published="PUBLISH in its JSON",
    ),
    Peer(
        name="ws + ioredis",
        language="Node",
        command=_node("ws_ioredis.js"),
        absent=_no_node,
        install=NODE_INSTALL,
        version=_node_version("ws", "ioredis"),
    ),
    Peer(
        name="Socket.IO",
        language="Node",
        command=_node("socketio_redis.js"),
        absent=_no_node,
        install=NODE_INSTALL,
        version=_node_version("socket.io", "@socket.io/redis-adapter", "ioredis"),
        path="/socket.io/?EIO=4&transport=websocket",
        dialect=SOCKET_IO,
        door=_socketio_door,
        published="PUBLISH in its MessagePack",
    ),
    Peer(
        name="nchan",
        language="C",
        command=_nchan,
        absent=_no_nchan,
        install=NGINX_INSTALL,
        version=_nchan_version,
        door=_nchan_door,
        published="HTTP POST, on its CPU",
    ),
)
