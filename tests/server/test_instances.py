"""Several instances behind a proxy, as the page on operating says, while one after the other is restarted."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from mux.serve.listening import listening_socket
from tests.support.nginx import NGINX, nginx, reachable
from tests.support.pages import OPERATING, block
from tests.support.servers import CONNECT_OPTIONS, PATIENCE_SECONDS, mux_serve, until

HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")

FIRST, SECOND = "10.0.0.11:8000", "10.0.0.12:8000"
"""Where the page has its instances."""


def own_port() -> int:
    """Return a port nobody listens on."""
    with listening_socket("127.0.0.1", 0) as sock:
        return int(sock.getsockname()[1])


@contextmanager
def behind_nginx(ports: list[int], listen: int, directory: Path) -> Iterator[None]:
    """Run nginx with the three blocks of the page."""
    upstream = block(OPERATING, "upstream mux {")
    whole = block(OPERATING, "map $http_upgrade")
    lines = block(OPERATING, "proxy_pass http://mux;")
    assert "proxy_pass http://127.0.0.1:8000;" in whole
    assert "listen 80;" in whole
    whole = whole.replace("proxy_pass http://127.0.0.1:8000;", lines).replace(
        "listen 80;", f"listen 127.0.0.1:{listen};"
    )
    for place, port in zip((FIRST, SECOND), ports, strict=True):
        assert place in upstream
        upstream = upstream.replace(place, f"127.0.0.1:{port}")
    with nginx(f"{upstream}{whole}", listen, ports[0], directory):
        yield


@contextmanager
def behind_haproxy(ports: list[int], listen: int, directory: Path) -> Iterator[None]:
    """Run HAProxy with the block of the page."""
    assert HAPROXY is not None
    text = block(OPERATING, "defaults\n")
    for place, own in ((FIRST, ports[0]), (SECOND, ports[1]), (":80\n", listen)):
        assert place in text
        text = text.replace(place, f"127.0.0.1:{own}" + "\n" * place.endswith("\n"))
    configuration = directory / "haproxy.cfg"
    configuration.write_text(f"global\n    stats socket {directory}/haproxy.sock\n\n{text}")
    checked = subprocess.run([HAPROXY, "-c", "-f", configuration], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert "WARNING" not in checked.stderr
    process = subprocess.Popen([HAPROXY, "-db", "-q", "-f", str(configuration)])
    try:
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


async def is_known(directory: Path, ports: list[int]) -> None:
    """Wait until HAProxy, if there is one, has found that both instances are there; nginx asks each every time."""
    if not (directory / "haproxy.cfg").exists():
        return
    rows: list[list[str]] = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(rows) < len(ports) or any("UP" not in row for row in rows):
            reader, writer = await asyncio.open_unix_connection(str(directory / "haproxy.sock"))
            writer.write(b"show stat\n")
            lines = (await reader.read()).decode().splitlines()
            writer.close()
            rows = [row for row in (line.split(",") for line in lines) if row[:2] in (["mux", "one"], ["mux", "two"])]


PROXIES = [
    pytest.param(behind_nginx, id="nginx", marks=pytest.mark.skipif(NGINX is None, reason="no nginx on this machine")),
    pytest.param(
        behind_haproxy, id="haproxy", marks=pytest.mark.skipif(HAPROXY is None, reason="no HAProxy on this machine")
    ),
]


@pytest.mark.parametrize("proxy", PROXIES)
async def test_no_newcomer_is_refused_while_one_instance_after_the_other_is_restarted(
    proxy: Callable[[list[int], int, Path], AbstractContextManager[None]], redis_url: str, prefix: str, tmp_path: Path
) -> None:
    """Clients that are sent away come back at once.

    A POST is answered 204 or 503. Of one that an instance read in its last moment nobody knows
    whether it was published: nginx says 502, and HAProxy nothing.
    """
    listen, ports = own_port(), [own_port(), own_port()]
    options = ("--prefix", prefix, "--drain-seconds", "0.5", "--no-announce")
    seen: Counter[str] = Counter()
    ends = asyncio.Event()

    async def stay() -> None:
        while not ends.is_set():
            try:
                async with connect(f"ws://127.0.0.1:{listen}/feed/lobby", **CONNECT_OPTIONS) as client:
                    seen["came"] += 1
                    async for _ in client:
                        seen["messages"] += 1
            except InvalidStatus as error:
                seen[f"refused {error.response.status_code}"] += 1
            except ConnectionClosed:
                pass

    async def post() -> None:
        async with httpx.AsyncClient(timeout=PATIENCE_SECONDS) as http:
            while not ends.is_set():
                try:
                    answer = await http.post(f"http://127.0.0.1:{listen}/feed/lobby", content="hello")
                except httpx.RemoteProtocolError:  # HAProxy has no answer when a connection that it kept has ended
                    seen["posted, perhaps"] += 1
                else:
                    seen[f"posted {answer.status_code}"] += 1
                await asyncio.sleep(0.05)

    def instance(stack: ExitStack, port: int) -> None:
        stack.enter_context(mux_serve(*options, "--port", str(port), env={"MUX_REDIS_URL": redis_url}))

    with ExitStack() as first, ExitStack() as second, proxy(ports, listen, tmp_path):
        for stack, port in zip((first, second), ports, strict=True):
            instance(stack, port)
        await reachable(listen)
        await is_known(tmp_path, ports)
        tasks = [asyncio.create_task(job) for job in (*(stay() for _ in range(5)), post())]
        for stack, port in zip((first, second), ports, strict=True):
            await asyncio.to_thread(stack.close)
            await asyncio.to_thread(instance, stack, port)
            await is_known(tmp_path, ports)
        await until(lambda: seen["messages"] >= 10)
        ends.set()
        for task in tasks[:-1]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert not tasks[-1].exception()
    assert seen["came"] >= 10, "each was sent away at least once"
    assert not [what for what in seen if what.startswith("refused")], seen
    assert {what for what in seen if what.startswith("posted")} <= {
        "posted 204",
        "posted 503",
        "posted 502",
        "posted, perhaps",
    }, seen
