"""The token that a server draws, and who finds it."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mux.serve.token_file import draw, find_token, token_file


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder that the system made for this user, as it does at a login."""
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return runtime


def mode(path: Path) -> int:
    """Return who may do what with a file."""
    return stat.S_IMODE(path.lstat().st_mode)


def test_a_token_is_found_while_its_server_lives(home: Path) -> None:
    """By its port, in a file that is this user's alone, and that is gone with the server."""
    token = draw()
    with token_file(token, "127.0.0.1", 8000) as path:
        assert path == home / "mux" / "8000-127.0.0.1.token"
        assert (mode(path), mode(path.parent)) == (0o600, 0o700)
        assert path.read_text() == token
        assert find_token("127.0.0.1", 8000) == find_token("localhost", 8000) == token
        assert find_token("127.0.0.1", 80) is None
    assert list((home / "mux").iterdir()) == []
    assert find_token("127.0.0.1", 8000) is None


@pytest.mark.parametrize(
    ("listened_on", "asked", "is_found"),
    [
        ("127.0.0.1", "localhost", True),
        ("::1", "localhost", True),
        ("::1", "::1", True),
        ("0.0.0.0", "127.0.0.1", True),
        ("::", "localhost", True),
        ("10.0.0.1", "10.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("127.0.0.1", "feed.example.com", False),
        ("127.0.0.1", "localhost.example.com", False),
        ("0.0.0.0", "10.0.0.1", False),
        ("10.0.0.1", "localhost", False),
    ],
)
def test_a_token_is_given_to_its_own_server_alone(listened_on: str, asked: str, is_found: bool) -> None:
    """A server elsewhere that happens to have the same port is not told it."""
    with token_file("the-token", listened_on, 8000):
        assert (find_token(asked, 8000) == "the-token") is is_found


def test_what_a_killed_server_left_is_not_read(home: Path) -> None:
    """Whoever listens on its port now is somebody else; the next server of this user takes its place."""
    code = (
        "import os; from mux.serve.token_file import token_file\n"
        "with token_file('of-the-dead', '127.0.0.1', 8000): print('there', flush=True); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert (home / "mux" / "8000-127.0.0.1.token").read_text() == "of-the-dead"
    assert find_token("127.0.0.1", 8000) is None
    with token_file("of-the-living", "127.0.0.1", 8000):
        assert find_token("127.0.0.1", 8000) == "of-the-living"
    assert list((home / "mux").iterdir()) == []


def test_two_servers_on_one_port_have_a_token_each() -> None:
    """They listen on different addresses; and a file that another server has renewed is not removed."""
    with token_file("one", "127.0.0.1", 8000), token_file("two", "127.0.0.2", 8000):
        assert [find_token(host, 8000) for host in ("127.0.0.1", "127.0.0.2")] == ["one", "two"]
        with token_file("newer", "127.0.0.1", 8000) as path:
            assert find_token("127.0.0.1", 8000) == "newer"
    assert path is not None
    assert not path.exists()


def test_no_link_is_followed(home: Path, tmp_path: Path) -> None:
    """One under the name of the file is replaced, and one in the place of the folder is not used."""
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    folder = home / "mux"
    folder.mkdir(mode=0o700)
    (folder / "8000-127.0.0.1.token").symlink_to(victim)
    assert find_token("127.0.0.1", 8000) is None
    with token_file("the-token", "127.0.0.1", 8000) as path:
        assert path is not None
        assert not path.is_symlink()
        assert path.parent == folder
    assert victim.read_text() == "untouched"
    folder.rmdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    folder.symlink_to(elsewhere)
    with token_file("the-token", "127.0.0.1", 8000) as path:
        assert path is not None
        assert path.parent == tmp_path / "state" / "mux"
        assert find_token("127.0.0.1", 8000) == "the-token"
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("lax", [0o770, 0o707, 0o755])
def test_a_folder_that_others_may_enter_is_not_used(home: Path, tmp_path: Path, lax: int) -> None:
    """The next one is, which is made where there is none."""
    (home / "mux").mkdir()
    (home / "mux").chmod(lax)
    with token_file("the-token", "127.0.0.1", 8000) as path:
        assert path is not None
        assert path.parent == tmp_path / "state" / "mux"
        assert mode(path.parent) == 0o700


def test_a_file_that_others_may_read_is_not_believed(home: Path) -> None:
    """It is not what a server has made."""
    with token_file("the-token", "127.0.0.1", 8000) as path:
        assert path is not None
        path.chmod(0o644)
        assert find_token("127.0.0.1", 8000) is None


def test_a_user_without_any_folder_has_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The server serves all the same, and says once what that means."""
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(file))
    monkeypatch.setenv("XDG_STATE_HOME", str(file))
    monkeypatch.setenv("HOME", str(file))
    monkeypatch.setattr("mux.serve.token_file.os.getuid", lambda: 4_000_000)
    with token_file("the-token", "127.0.0.1", 8000) as path:
        assert path is None
    (line,) = caplog.messages
    assert line.startswith("the token cannot be kept for `mux top`, which needs --token then: ")
    assert "the-token" not in line
