"""nginx before a server, as many have it."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.servers import PATIENCE_SECONDS

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")

USUAL_RECIPE = """
server {
    listen 127.0.0.1:{listen};
    location / {
        proxy_pass http://127.0.0.1:{port};
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection "upgrade";
    }
}
"""
"""The block that everybody copies for WebSockets: no header tells the server behind it that there is a proxy."""


@contextmanager
def nginx(
    block: str, listen: int, port: int, directory: Path, *, has_master: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    """Run nginx with a block of its http section for as long as the block runs.

    With a master its worker is replaced by another at a SIGHUP, and ends what it serves half a second after.
    """
    assert NGINX is not None
    places = "".join(
        f"{name}_temp_path {directory}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    block = block.replace("{listen}", str(listen)).replace("{port}", str(port))
    configuration = directory / "nginx.conf"
    configuration.write_text(
        f"daemon off;\nmaster_process {'on' if has_master else 'off'};\nworker_shutdown_timeout 500ms;\n"
        f"pid {directory}/pid;\nerror_log stderr;\n"
        f"events {{ worker_connections 256; }}\nhttp {{\naccess_log off;\n{places}{block}\n}}\n"
    )
    command = [NGINX, "-p", str(directory), "-c", str(configuration), "-e", "stderr"]
    log = directory / "stderr"  # not a pipe: nginx waits when one is full, and each failed connect is a line
    with log.open("wb") as stderr:
        process = subprocess.Popen(command, stderr=stderr)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)
    assert "[emerg]" not in log.read_text()


async def reachable(port: int) -> None:
    """Wait until somebody listens."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionError:
                await asyncio.sleep(0.01)
            else:
                writer.close()
                return
