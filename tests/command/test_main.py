"""`mux publish` and `mux tail`, and the help, as a person uses them."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from threading import Event, Thread

import pytest

from mux.command.lines import format_message
from mux.command.publish import publish
from mux.errors import ServerUnreachable
from mux.settings.environment import environment_variable
from mux.settings.settings import Settings
from tests.support.servers import PATIENCE_SECONDS, Serving, receive, run_mux, until


@pytest.fixture
async def url(feed: Serving) -> str:
    """Return where the server is."""
    return f"http://127.0.0.1:{feed.port}"


async def test_publish_sends_a_message(feed: Serving, url: str) -> None:
    """One message, as text."""
    async with feed.connect("a/b") as client:
        assert (await asyncio.to_thread(run_mux, "publish", "a/b", "grüße", "--url", url)).returncode == 0
        assert await receive(client, 1) == ["grüße"]


@pytest.mark.parametrize("dash", [["-"], []], ids=["dash", "nothing"])
async def test_publish_sends_a_message_for_every_line(feed: Serving, url: str, dash: list[str]) -> None:
    """Lines of standard input, in order, whatever ends them."""
    async with feed.connect() as client:
        ended = await asyncio.to_thread(run_mux, "publish", "lobby", *dash, "--url", url, stdin="one\ntwo\r\n\nlast")
        assert ended.returncode == 0
        assert await receive(client, 4) == ["one", "two", "", "last"]


async def test_publish_takes_a_new_connection_after_a_pause(
    feed: Serving, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server closes connections that are idle; a line that comes late is not lost with one."""
    monkeypatch.setattr("mux.command.publish.REUSE_SECONDS", -1)
    async with feed.connect() as client:
        assert await asyncio.to_thread(publish, url, "lobby", [b"one", b"two"]) == 2
        assert await receive(client, 2) == ["one", "two"]


@contextmanager
def connections_that_end(*scripts: list[bytes]) -> Iterator[tuple[str, list[list[bytes]], Event]]:
    """Serve a connection for each script, which says what each of its requests is answered; then it ends.

    The event is set when the first has ended.
    """
    heard: list[list[bytes]] = []
    ended = Event()

    def run() -> None:
        for answers in scripts:
            connection, _ = listener.accept()
            heard.append([])
            with connection:
                for answer in answers:
                    request = b""
                    while b"end" not in request:
                        request += connection.recv(65536)
                    heard[-1].append(request.partition(b"\r\n\r\n")[2])
                    connection.sendall(answer)
            ended.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=run)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", heard, ended
        thread.join()


DONE = b"HTTP/1.1 204 No Content\r\n\r\n"


def test_a_message_on_a_kept_connection_that_ends_is_sent_on_a_new_one() -> None:
    """The end had crossed it on its way: not a byte of an answer came."""
    with connections_that_end([DONE, b""], [DONE, DONE]) as (url, heard, _):
        assert publish(url, "lobby", [b"one end", b"two end", b"three end"]) == 3
    assert heard == [[b"one end", b"two end"], [b"two end", b"three end"]]


@pytest.mark.parametrize(
    ("scripts", "sent"),
    [
        ([[b""]], 1),
        ([[DONE, b"HTTP/1.1 2"]], 2),
        ([[DONE, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"]], 2),
        ([[DONE, b"HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n" + b"x" * 70000]], 2),
        ([[DONE, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f000\r\n%061440d\r\n" % 0 * 9]], 2),
        ([[DONE, b""], [b""]], 3),
    ],
    ids=["new", "a byte came", "half an answer", "a long answer", "a long answer in chunks", "twice"],
)
def test_a_message_that_may_have_arrived_is_not_sent_again(scripts: list[list[bytes]], sent: int) -> None:
    """A new connection that ends, an answer that breaks off, a second try that fails: the person is told."""
    with connections_that_end(*scripts) as (url, heard, _), pytest.raises(ServerUnreachable, match="no mux answers at"):
        publish(url, "lobby", [b"one end", b"two end", b"three end"])
    assert sum(map(len, heard)) == sent


def test_a_connection_that_has_ended_is_noticed_before_a_message_leaves() -> None:
    """As when the input pauses for longer than the server keeps connections."""

    def messages() -> Iterator[bytes]:
        yield b"one end"
        assert ended.wait(PATIENCE_SECONDS)
        yield b"two end"

    with connections_that_end([DONE], [DONE]) as (url, heard, ended):
        assert publish(url, "lobby", messages()) == 2
    assert heard == [[b"one end"], [b"two end"]]


async def test_tail_ends_quietly_when_nobody_reads_its_output(feed: Serving, url: str) -> None:
    """`mux tail lobby | head -1` is no error."""
    command = f"{sys.executable} -m mux tail lobby --url {url} | head -1"
    shell = await asyncio.create_subprocess_shell(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    await until(lambda: len(feed.mux._core.hub) == 1)
    while shell.returncode is None:
        await feed.mux.publish("lobby", "ü\u2028\U0001f600")
        await asyncio.sleep(0.01)
    said, complaint = await asyncio.wait_for(shell.communicate(), PATIENCE_SECONDS)
    assert said.count(b"\n") == 1
    assert complaint == b""


async def test_publish_that_is_refused_says_why(url: str) -> None:
    """The server's own sentence reaches the person."""
    ended = await asyncio.to_thread(run_mux, "publish", "no spaces", "x", "--url", url)
    assert ended.returncode == 1
    assert "no space" in ended.stderr


async def test_tail_prints_what_passes(feed: Serving, url: str) -> None:
    """A line each, with the time; Ctrl-C ends it."""
    tail = await _tail("lobby", url)
    await until(lambda: len(feed.mux._core.hub) == 1)
    await feed.mux.publish("lobby", "hello")
    await feed.mux.publish("lobby", b"\x00\xff")
    assert tail.stdout is not None
    lines = [await asyncio.wait_for(tail.stdout.readline(), PATIENCE_SECONDS) for _ in range(2)]
    assert re.fullmatch(rb"\d\d:\d\d:\d\d\.\d{3}  hello\n", lines[0])
    assert lines[1].endswith(b"  (2 bytes) 00 ff\n")
    tail.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(tail.wait(), PATIENCE_SECONDS) == 130


async def test_tail_says_when_the_server_ends(feed: Serving, url: str) -> None:
    """A script that pipes a feed learns that it is over."""
    tail = await _tail("lobby", url)
    await until(lambda: len(feed.mux._core.hub) == 1)
    await feed.mux.drain()
    _, said = await asyncio.wait_for(tail.communicate(), PATIENCE_SECONDS)
    assert tail.returncode == 1
    assert b"1001" in said


async def test_tail_that_is_refused_says_why(url: str) -> None:
    """The server's own sentence reaches the person."""
    tail = await _tail("$reserved", url)
    _, said = await asyncio.wait_for(tail.communicate(), PATIENCE_SECONDS)
    assert tail.returncode == 1
    assert b"reserved" in said


async def _tail(channel: str, url: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "mux", "tail", channel, "--url", url, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_control_characters_do_not_reach_the_terminal() -> None:
    """A message cannot move the cursor, ring the bell or start a line of its own."""
    line = format_message(datetime(2026, 1, 2, 3, 4, 5, 6789), "a\x1b[2J\nb\x07\x9bc\x7fü")
    assert line == "03:04:05.006  a\\x1b[2J\\x0ab\\x07\\x9bc\\x7fü"


def test_help_lists_every_setting_with_its_variable_default_and_unit() -> None:
    """One definition serves the option, the variable and the help."""
    said = run_mux("serve", "--help", env={"COLUMNS": "200"}).stdout
    for spec in fields(Settings):
        assert f"--{spec.name.replace('_', '-')}" in said
        assert environment_variable(spec) in said
        if isinstance(spec.default, int | float | str) and not isinstance(spec.default, bool):
            assert f"default {spec.default}" in " ".join(said.split())
        unit = spec.metadata["meaning"].unit
        assert unit in said


def test_version() -> None:
    """`mux --version` says one line."""
    assert re.fullmatch(r"mux \d+\.\d+\.\d+\n", run_mux("--version").stdout)


def test_every_setting_is_documented() -> None:
    """What `mux serve --help` knows, the page on operating knows."""
    readme = (Path(__file__).parent.parent.parent / "mux/serve/README.md").read_text()
    for spec in fields(Settings):
        (row,) = [line for line in readme.splitlines() if f"| `{environment_variable(spec)}` |" in line]
        assert f"`--{spec.name.replace('_', '-')}`" in row
        if isinstance(spec.default, int | float | str) and not isinstance(spec.default, bool):
            assert f"{spec.default:g}" in row if isinstance(spec.default, float) else str(spec.default) in row


def test_no_page_puts_a_secret_on_a_command_line() -> None:
    """Every user of a machine can read the command lines of all its processes."""
    root = Path(__file__).parent.parent.parent
    readme = "\n".join(page.read_text() for page in (root / "README.md", *root.glob("mux/**/README.md")))
    commands = re.findall(r"^    (?:mux|curl|python|docker|sudo|pip) .*$", readme, re.MULTILINE)
    assert len(commands) > 10
    for command in commands:
        assert not re.search(r"secret|(?<!mux )token [^#]|Bearer|://[^ /]*@", command.partition(" #")[0]), command


@pytest.mark.parametrize("is_buffered", [True, False])
def test_full_disk_under_the_output_is_a_sentence(is_buffered: bool) -> None:
    """Whatever the system refuses is said in one line, without a traceback and not again at the end."""
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "mux", "--version"],
            env={**os.environ, "PYTHONUNBUFFERED": "" if is_buffered else "1"},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    assert (ended.returncode, ended.stderr) == (1, "mux: the system refuses: no space left on device\n")
