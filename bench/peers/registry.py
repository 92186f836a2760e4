"""The servers that are compared: how to start each, what it needs, how to talk to it, and where to publish.

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

from bench.loadgen.dialect import PLAIN, SDK, SDK_PATH, SOCKET_IO, Dialect, Inlet

HERE = Path(__file__).parent
DEFAULT_DIRECTORY = HERE.parent / ".peers"
NCHAN_MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")

_SOCKET_IO_PATH = "/socket.io/?EIO=4&transport=websocket"
_BODY = "\x00"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The place where a server is to run."""

    port: int
    redis_url: str
    """redis:// URL."""
    peers: Path
    """The directory in which the peers are installed."""
    scratch: Path
    """For a server that needs files of its own."""
    workers: int = 1


@dataclass(frozen=True, slots=True)
class Kind:
    """The common traits of the servers of one origin."""

    language: str
    """The language that they are written in, their own part at least."""
    install: str = ""
    absent: Callable[[Path], bool] = lambda peers: False
    """Tells whether they are not installed."""
    version: Callable[[Path, tuple[str, ...]], str] = lambda peers, packages: ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A server to compare."""

    name: str
    command: Callable[[Place], list[str]]
    kind: Kind
    packages: tuple[str, ...] = ()
    """The packages whose versions matter."""
    path: str = "/feed/{channel}"
    dialect: Dialect = PLAIN
    inlet: Callable[[Place, int], Inlet] = lambda place, size: Inlet(url=place.redis_url)
    """The place to publish messages of so many bytes."""
    published: str = "raw PUBLISH"
    """The place to publish in words, for the table."""
    is_many: bool = False
    """True when it can be several processes that share a port."""
    copies: bool = False
    """True when these are copies of it, False when it starts them by itself."""

    @property
    def language(self) -> str:
        """The language that the server is written in."""
        return self.kind.language


def _said(command: list[str], cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=30, check=False)
    return (done.stdout or done.stderr).strip()


def _python_version(peers: Path, packages: tuple[str, ...]) -> str:
    code = "import sys; from importlib.metadata import version as v; "
    code += "print(', '.join(f'{name} {v(name)}' for name in sys.argv[1:]))"
    return _said([str(peers / "python/bin/python"), "-c", code, *packages])


def _node_version(peers: Path, packages: tuple[str, ...]) -> str:
    code = "console.log(process.argv.slice(1).map(n => n + ' ' + require(n + '/package.json').version).join(', '))"
    return f"{_said(['node', '-e', code, *packages], cwd=peers / 'node')} (node {_said(['node', '--version'])})"


def _nchan_version(peers: Path, packages: tuple[str, ...]) -> str:
    nginx = _said(["nginx", "-v"]).rpartition("/")[2]
    return f"nginx {nginx}, nchan {_said(['dpkg-query', '-W', '-f=${Version}', *packages])}"


OWN = Kind("Python")
PYTHON = Kind(
    "Python",
    "python -m venv {peers}/python && {peers}/python/bin/pip install -r bench/peers/requirements.txt",
    lambda peers: not (peers / "python/bin/python").exists(),
    _python_version,
)
NODE = Kind(
    "Node",
    "mkdir -p {peers}/node && cp bench/peers/package.json {peers}/node && npm install --prefix {peers}/node",
    lambda peers: not shutil.which("node") or not (peers / "node/node_modules/ws").exists(),
    _node_version,
)
NGINX = Kind(
    "C",
    "apt-get install nginx libnginx-mod-nchan",
    lambda peers: not shutil.which("nginx") or not NCHAN_MODULE.exists(),
    _nchan_version,
)
CENTRIFUGO_SERVER = Kind(
    "Go",
    "go install github.com/centrifugal/centrifugo/v6@latest",
    lambda peers: not shutil.which("centrifugo"),
    lambda peers, packages: _said(["centrifugo", "version"]),
)


def _script(name: str) -> Callable[[Place], list[str]]:
    def command(place: Place) -> list[str]:
        program = "node" if name.endswith(".js") else str(place.peers / "python/bin/python")
        return [program, str(HERE / name), str(place.port), place.redis_url]

    return command


def _baseline(name: str) -> Callable[[Place], list[str]]:
    program = [sys.executable, "-m", "bench.baselines.sanic_servers", name]
    return lambda place: [*program, place.redis_url, str(place.port)]


def _mux(place: Place, *more: str) -> list[str]:
    # Clients here never answer a ping, and a ping would be counted as a message.
    options = "--no-announce --ping-seconds 86400 --log-level error"
    where = f"--port {place.port} --workers {place.workers} --redis-url {place.redis_url}"
    return [sys.executable, "-m", "mux", "serve", *options.split(), *where.split(), *more]


def _nchan(place: Place) -> list[str]:
    return ["nginx", "-c", _configuration(place, "nchan.conf"), "-p", str(place.scratch)]


def _centrifugo(place: Place) -> list[str]:
    return ["centrifugo", "--config", _configuration(place, "centrifugo.json")]


def _configuration(place: Place, name: str) -> str:
    text = (HERE / name).read_text()
    values = {"port": place.port, "redis": place.redis_url, "directory": place.scratch, "module": NCHAN_MODULE}
    for key, value in values.items():
        text = text.replace(f"@{key}@", str(value))
    path = place.scratch / name
    path.write_text(text)
    return str(path)


def _quoted(place: Place, size: int) -> Inlet:
    return Inlet(url=place.redis_url, before=b'"', after=b'"')


def _centrifugo_inlet(place: Place, size: int) -> Inlet:
    # A Publication of its Protobuf: field 4, length, data.
    length = size + 2
    head = b"\x22" + (bytes([length]) if length < 0x80 else bytes([length & 0x7F | 0x80, length >> 7]))
    return Inlet(url=place.redis_url, channel="centrifugo.client.{channel}", before=head + b'"', after=b'"')


def _django_inlet(place: Place, size: int) -> Inlet:
    before, after = _packed({"type": "feed.message", "message": _BODY * size}, size)
    return Inlet(url=place.redis_url, channel="asgi__group__{channel}", before=before, after=after)


def _python_socketio_inlet(place: Place, size: int) -> Inlet:
    before = b'{"method":"emit","event":"message","data":["'
    after = b'"],"binary":false,"namespace":"/","room":"{channel}","skip_sid":null,"callback":null,"host_id":"bench"}'
    return Inlet(url=place.redis_url, channel="socketio", before=before, after=after)


def _socketio_inlet(place: Place, size: int) -> Inlet:
    packet = {"type": 2, "data": ["message", _BODY * size], "nsp": "/"}
    # The names of channels are all as long as this placeholder.
    options = {"rooms": ["{channel}"], "except": [], "flags": {}}
    before, after = _packed(["bench", packet, options], size)
    return Inlet(url=place.redis_url, channel="socket.io#/#{channel}#", before=before, after=after)


def _packed(value: object, size: int) -> tuple[bytes, bytes]:
    """Return what MessagePack puts before and after a message of so many bytes."""
    packed: bytes = msgpack.packb(value)
    before, _, after = packed.partition(_BODY.encode() * size)
    return before, after


MUX = Peer(name="mux", command=_mux, kind=OWN, is_many=True)
MUX_SDK = Peer(name="mux, SDK clients", command=_mux, kind=OWN, path=SDK_PATH, dialect=SDK, inlet=_quoted)
MUX_WITHOUT_JOURNAL = Peer(
    name="mux without journal", command=lambda place: _mux(place, "--journal-bytes", "0"), kind=OWN
)
PER_CHANNEL = Peer(
    name="Sanic, PubSub per channel", command=_baseline("per-channel"), kind=OWN, is_many=True, copies=True
)
CENTRIFUGO = Peer(
    name="Centrifugo", command=_centrifugo, kind=CENTRIFUGO_SERVER, path=SDK_PATH, dialect=SDK,
    inlet=_centrifugo_inlet, published="PUBLISH of its Protobuf",
)  # fmt: skip
STOCK = Peer(name="Sanic stock + our broker", command=_baseline("stock"), kind=OWN)

PEERS = (
    MUX,
    MUX_SDK,
    CENTRIFUGO,
    PER_CHANNEL,
    STOCK,
    Peer(
        name="Starlette + broadcaster", command=_script("starlette_broadcaster.py"), kind=PYTHON,
        packages=("starlette", "broadcaster", "uvicorn", "redis"),
    ),
    Peer(
        name="Litestar channels", command=_script("litestar_channels.py"), kind=PYTHON,
        packages=("litestar", "uvicorn", "redis"),
        inlet=lambda place, size: Inlet(url=place.redis_url, channel="{channel}"),
    ),
    Peer(
        name="Django Channels", command=_script("django_channels.py"), kind=PYTHON,
        packages=("django", "channels", "channels-redis", "uvicorn", "redis"),
        inlet=_django_inlet, published="PUBLISH in its MessagePack",
    ),
    Peer(
        name="python-socketio", command=_script("python_socketio.py"), kind=PYTHON,
        packages=("python-socketio", "uvicorn", "redis"), path=_SOCKET_IO_PATH, dialect=SOCKET_IO,
        inlet=_python_socketio_inlet, published="PUBLISH in its JSON",
    ),
    Peer(name="ws + ioredis", command=_script("ws_ioredis.js"), kind=NODE, packages=("ws", "ioredis")),
    Peer(
        name="Socket.IO", command=_script("socketio_redis.js"), kind=NODE,
        packages=("socket.io", "@socket.io/redis-adapter", "ioredis"), path=_SOCKET_IO_PATH, dialect=SOCKET_IO,
        inlet=_socketio_inlet, published="PUBLISH in its MessagePack",
    ),
    Peer(
        name="nchan", command=_nchan, kind=NGINX, packages=("libnginx-mod-nchan",),
        inlet=lambda place, size: Inlet(url=f"http://127.0.0.1:{place.port}", channel="/publish/{channel}"),
        published="HTTP POST, on its CPU",
    ),
)  # fmt: skip
