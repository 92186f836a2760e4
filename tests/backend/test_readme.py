"""What the page on the API tells its readers to type."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

import mux
from tests.support.servers import ServerProcess, mux_serve

PAGE = (Path(mux.__file__).parent / "backend" / "README.md").read_text()
BLOCKS = [dedent(block).strip() for block in re.findall(r"(?:^ {4}.*\n|^\n(?= {4}))+", PAGE, re.MULTILINE)]
KEY = "9S7qv2ZkXc41"


@pytest.fixture(scope="module")
def server(redis_url: str) -> Iterator[ServerProcess]:
    """A server with the key of the page."""
    with mux_serve("--redis-url", redis_url, "--prefix", "api-readme:", env={"MUX_API_KEY": KEY}) as server:
        yield server


def test_the_lines_with_curl(server: ServerProcess) -> None:
    """Each is answered with a result."""
    lines = [line for block in BLOCKS for line in block.splitlines() if line.startswith("curl ")]
    assert len(lines) == 3
    for line in lines:
        command = line.replace("localhost:8000", f"127.0.0.1:{server.port}")
        said = subprocess.run(["sh", "-c", f"{command} -s"], capture_output=True, text=True, check=True, timeout=30)
        assert said.stdout.startswith('{"result":')


def test_the_lines_with_cent(server: ServerProcess) -> None:
    """They publish a message, and print it with its offset, and who is in the channel: nobody."""
    [code] = [block for block in BLOCKS if block.startswith("from cent")]
    code = code.replace("localhost:8000", f"127.0.0.1:{server.port}")
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    lines = said.stdout.splitlines()
    assert lines[-2].endswith("{'id': 7}")
    assert lines[-1] == "{}"
