"""`mux top` in a terminal, and into pipes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from queue import SimpleQueue
from typing import cast

import pytest

from mux.command.top.stats import FleetReader, Look
from mux.command.top.top import looking
from mux.command.top.top import top as top_command
from mux.errors import InvalidSetting
from tests.command.pseudo_terminal import PseudoTerminal, mux, terminal
from tests.command.scripted_server import Answer, ScriptedServer, scripted_server
from tests.command.top import made_up
from tests.command.top.picture import draw
from tests.support.servers import PATIENCE_SECONDS, run_mux

LEAVE_ALTERNATE_SCREEN = b"\x1b[?25h\x1b[?1049l"


@contextmanager
def top(server: ScriptedServer, *options: str, columns: int = 100, lines: int = 30,
        env: dict[str, str] | None = None) -> Iterator[PseudoTerminal]:  # fmt: skip
    """Run `mux top`, drawn once."""
    with terminal(*mux("top", "--url", server.url, *options), columns=columns, lines=lines, env=env) as shown:
        shown.until_shown("mux top", "q quits")
        yield shown


def test_everything_is_drawn(server: ScriptedServer) -> None:
    """A line per process, totals with curves, the busiest channels."""
    server.missing = [made_up.missing(9)]
    with top(server) as shown:
        assert b"\x1b[?1049h" in shown.said
        assert "2 processes, 1 missing" in shown.text
        assert re.search(r"connections +22\.1k +\S+ +peak 22\.1k", shown.text)
        assert re.search(r"delivered/s +54\.7k", shown.text)
        assert "memory 206 MiB" in shown.text
        assert shown.line("feed-1:4701").split() == [
            "feed-1:4701", "12.2k", "3.9k", "1.2k", "30.4k", "50", "KiB", "114", "MiB", "1.5", "ms", "0", "0",
        ]  # fmt: skip
        assert shown.line("lobby").split() == ["lobby", "━" * 20, "412", "12.4k"]
        assert "feed-3:4709  missing, silent for 3.2 s" in shown.text
        assert shown.colours("missing, silent") == {"red"}
        assert shown.colours("30.4k") == {"cyan"}
        titles = shown.line("PROCESS")
        assert [len(titles), len(shown.line("feed-1:4700"))] == [99, 99], "numbers end at the margin"


def test_what_grows_is_red_as_it_happens(server: ScriptedServer) -> None:
    """Gaps and evictions, in the process's line and in the sum; what is old is not."""
    server.processes = [made_up.process(0, gaps=4), made_up.process(1)]
    with top(server) as shown:
        assert "gaps 4" in shown.text
        assert "red" not in shown.colours("gaps 4")
        server.processes = [made_up.process(0, gaps=5), made_up.process(1, evicted={"overflow": 3})]
        shown.until_shown("gaps 5 +1", "evicted 3 +3 (overflow 3)")
        assert shown.colours("5 +1") == {"red"}
        assert shown.line("feed-1:4700").split()[-2:] == ["5", "+1"]
        assert shown.colours("3 +3") == {"red"}
        server.processes = [made_up.process(0, connections=100)]
        shown.until(lambda text: "█▂  " in text)  # and the curve goes down at its right end


def test_nothing_a_server_says_is_obeyed(server: ScriptedServer) -> None:
    """Neither by the terminal, as an escape sequence, nor by rich, as markup."""
    evil = "\x1b]0;owned\x07\x1b[2J\x9b31m[red]x[/red] [/] :bomb:"
    shown_as = r"\x1b]0;owned\x07\x1b[2J\x9b31m[red]x[/red] [/] :bomb:"
    server.processes = [made_up.process(0, host=evil, evicted={evil: 1})]
    server.missing = [made_up.missing() | {"host": evil}]
    server.answers["/channels"] = Answer(body=json.dumps(made_up.channels((evil,))).encode())
    with top(server, columns=160, lines=40) as shown:
        assert shown.text.count(shown_as) >= 3, shown.text
        assert shown.colours(shown_as + ":4709") == {"red"}
        server.answers["/stats"] = Answer(503, evil.encode() + b"\n", "text/plain")
        shown.until_shown("no answer for ", "/stats: " + shown_as.replace(r"\x9b", "\N{REPLACEMENT CHARACTER}")[:20])
        assert not any(word in shown.said for word in (b"\x07", b"\x1b]", b"\x1b[2J", b"\xc2\x9b"))
    ended = run_mux("top", "--url", server.url)
    assert ended.returncode == 1
    assert "\x1b" not in ended.stderr


def test_a_new_size_is_drawn_whole(server: ScriptedServer) -> None:
    """Nothing wraps, nothing of the old picture is left; a terminal of any size is used as far as it goes."""
    server.processes = [made_up.process(number) for number in range(9)]
    with top(server) as shown:
        for columns, lines in ((60, 20), (50, 20), (40, 14), (40, 5), (160, 50), (12, 3)):
            shown.resize(columns, lines)
            shown.until(partial(has_shape, columns, lines))
            rows = shown.text.splitlines()
            assert all(row.startswith(" ") for row in rows if row), shown.text
            assert shown.text.count("mux top") == 1
            assert any(row.startswith(" … and ") for row in rows) is (lines in (20, 14, 5)), shown.text
        shown.resize(34, 40)
        shown.until(partial(has_shape, 34, 40))
        assert re.search(r"^ delivered/s +437k {2,}\S+$", shown.text, re.MULTILINE), (
            "a curve to the margin, and no peak"
        )
        shown.type(b"q")
        assert shown.ended() == 0


def has_shape(columns: int, lines: int, text: str) -> bool:
    """Whether a whole picture is on a screen of this size: its first line, its last, and a margin at the right."""
    rows = text.split("\n")
    last = rows[-1].startswith(" q quits") if lines >= 8 else bool(rows[-1])
    return len(rows) == lines and rows[0].startswith(" mux top") and last and max(map(len, rows)) < columns


def test_a_tall_fleet_shows_its_busiest(server: ScriptedServer) -> None:
    """The rest is counted; channels keep a third of the lines."""
    server.processes = [made_up.process(number) for number in range(40)]
    server.missing = [made_up.missing(50)]
    with top(server, lines=24, env={"NO_COLOR": "1"}) as shown:
        rows = shown.text.splitlines()
        first = next(at for at, row in enumerate(rows) if "PROCESS" in row)
        assert "missing" in rows[first + 1]
        assert [row.split()[0] for row in rows[first + 2 : first + 5]] == [
            "feed-10:4739",
            "feed-10:4738",
            "feed-10:4737",
        ]
        more = re.search(r"… and (\d+) more", shown.text)
        assert more
        assert int(more[1]) + len(re.findall(r"feed-\d+:47", shown.text)) == 41
        assert "lobby" in shown.text
        assert shown.colours("1 missing") == shown.colours("mux top") == {"default"}, "NO_COLOR"


@pytest.mark.parametrize(
    ("how", "status"),
    [(b"q", 0), (b"\x03", 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
    ids=["q", "Ctrl-C", "SIGTERM", "SIGHUP"],
)
def test_the_terminal_is_left_as_it_was(server: ScriptedServer, how: bytes | signal.Signals, status: int) -> None:
    """Its attributes, its screen and its cursor, whatever ends the program."""
    with top(server) as shown:
        lflag = shown.attributes[3]
        assert not lflag & (termios.ECHO | termios.ICANON)
        if isinstance(how, bytes):
            shown.type(how)
        else:
            shown.process.send_signal(how)
        assert shown.ended() == status
        assert shown.attributes == shown.attributes_before
        assert shown.said.endswith(LEAVE_ALTERNATE_SCREEN)
        assert shown.said.count(b"\x1b[?1049h") == 1


def test_an_error_leaves_the_terminal_as_it_was(server: ScriptedServer) -> None:
    """A bug in the drawing is seen on a terminal that works."""
    program = (
        "import sys; from mux.command.top import screen, top\n"
        "def broken(*_): raise RuntimeError('a bug')\n"
        "screen.amount = broken\n"
        f"top.top({server.url!r})\n"
    )
    with terminal(sys.executable, "-c", program) as shown:
        assert shown.ended() == 1
        assert shown.attributes == shown.attributes_before
        assert "RuntimeError: a bug" in shown.text
        assert b"\x1b[?1049l" in shown.said


def test_ctrl_z_lends_the_terminal_back(server: ScriptedServer) -> None:
    """The shell has its own screen and modes while the view is suspended; fg draws it again."""
    script = f'set -m; {" ".join(mux("top", "--url", server.url))}; echo stopped; read -r line; fg; echo "ended $?"'
    with terminal("bash", "-c", script) as shown:
        shown.until_shown("q quits")
        shown.type(b"\x1a")
        shown.until(lambda _: b"stopped" in shown.said)
        assert LEAVE_ALTERNATE_SCREEN in shown.said
        assert shown.attributes == shown.attributes_before
        shown.type(b"\n")
        shown.until(lambda _: shown.said.count(b"\x1b[?1049h") >= 2)
        shown.until(lambda _: shown.said.rpartition(b"\x1b[?1049h")[2].count(b"q quits") >= 1)
        shown.type(b"q")
        assert shown.ended() == 0
        assert b"ended 0" in shown.said
        assert shown.attributes == shown.attributes_before


def test_a_server_that_goes_away_is_waited_for() -> None:
    """The last picture stays, it says why there is no newer one, and goes on when there is."""
    with scripted_server() as server, top(server) as shown:
        port = server.port
        server.answers["/stats"] = Answer(503, b"no answer from Redis\n", "text/plain")
        shown.until_shown("no answer for ", " s: the server did not answer /stats: no answer from Redis", "lobby")
        assert shown.colours("no answer for") == {"red"}
        server.answers.clear()
        shown.until(lambda text: "no answer" not in text)
        # A server process that ends and comes back.
        server.close()
        shown.until_shown("no answer for ", ": connection refused", "feed-1:4700")
        with scripted_server(port) as again:
            again.processes = [made_up.process(7)]
            shown.until_shown("feed-2:4707")
        shown.type(b"q")
        assert shown.ended() == 0


def test_a_look_that_fails_in_any_way_is_shown() -> None:
    """The thread ended without a word, and the last picture stayed as if all were well."""

    class Broken:
        def look(self) -> Look:
            raise RecursionError("too deep")

        def close(self) -> None:
            pass

    found: SimpleQueue[object] = SimpleQueue()
    with looking(cast("FleetReader", Broken()), found.put):
        assert str(found.get(timeout=PATIENCE_SECONDS)) == "the answer cannot be used: too deep"


def test_keys_work_while_the_server_thinks(server: ScriptedServer) -> None:
    """A look that takes its time holds up nobody."""
    with top(server) as shown:

        def slow() -> Answer:
            server.stopped.wait(PATIENCE_SECONDS)
            return Answer()

        server.answers["/stats"] = slow
        asked = len(server.asked)
        shown.until(lambda _: len(server.asked) > asked)
        shown.type(b"q")
        assert shown.ended() == 0


def test_a_terminal_without_unicode_gets_ascii(server: ScriptedServer) -> None:
    """Curves and bars are drawn with what it has; a name it cannot write does not stop the view."""
    server.processes = [made_up.process(number, host="bücher") for number in range(30)]
    with top(server, env={"PYTHONIOENCODING": "ascii"}) as shown:
        assert re.search(r"\.\.\. and \d+ more", shown.text)
        assert "-" * 20 in shown.text
        assert "b?cher:4729" in shown.text
        assert shown.text.isascii()


def test_a_terminal_that_cannot_draw_gets_a_table(server: ScriptedServer) -> None:
    """As a pipe does."""
    with terminal(*mux("top", "--url", server.url), env={"TERM": "dumb"}) as shown:
        assert shown.ended() == 0
        assert "feed-1:4700" in shown.text
        assert b"\x1b[?1049h" not in shown.said


def test_a_pipe_gets_a_plain_table(server: ScriptedServer) -> None:
    """As with --once: all processes and channels, no escape sequence, no key."""
    server.processes = [made_up.process(number) for number in range(40)]
    server.missing = [made_up.missing(50)]
    ended = run_mux("top", "--url", server.url)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.count("feed-") == 41
    assert "chat/general" in ended.stdout
    assert "\x1b" not in ended.stdout
    assert max(map(len, ended.stdout.splitlines())) <= 120


def test_json_is_what_the_server_said(server: ScriptedServer) -> None:
    """One line; the token comes from the environment."""
    ended = run_mux("top", "--url", server.url, "--once", "--json", env={"MUX_TOKEN": "secret-token"})
    assert ended.returncode == 0
    assert len(ended.stdout.splitlines()) == 1
    assert json.loads(ended.stdout) == {"stats": made_up.stats(server.processes), "channels": made_up.channels()}
    assert server.asked[0][1]["Authorization"] == "Bearer secret-token"


def test_json_goes_on(server: ScriptedServer) -> None:
    """A line a second, until nobody reads, or the server ends it."""
    command = mux("top", "--url", server.url, "--json")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        lines = [json.loads(process.stdout.readline()) for _ in range(2)]
        assert all(line["stats"]["took_seconds"] for line in lines)
        server.answers["/stats"] = Answer(403, b"no more\n", "text/plain")
        assert process.wait(PATIENCE_SECONDS) == 1
        assert process.stderr.read() == "mux: the server refused: no more\n"


def test_nobody_there_is_one_sentence(free_port: int) -> None:
    """In a terminal that is untouched."""
    with terminal(*mux("top", "--url", f"http://127.0.0.1:{free_port}")) as shown:
        assert shown.ended() == 1
        assert shown.text.startswith("mux: no mux answers at ")
        assert b"\x1b" not in shown.said


def test_a_url_that_is_none_is_misuse() -> None:
    """Before anything is asked."""
    with pytest.raises(InvalidSetting, match="'lobby' must look like http:"):
        top_command("lobby")


def test_other_commands_do_not_wait_for_it() -> None:
    """What draws is imported by who draws: a publish in a loop starts as fast as before."""
    heavy = "{'rich', 'sanic', 'redis', 'websockets'}"
    program = f"import sys, mux.command.main, mux.command.publish; print(sorted({heavy} & sys.modules.keys()))"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=20)
    assert said.stdout == "[]\n"


def test_the_picture_of_the_readme_can_be_drawn() -> None:
    """`python -m tests.command.top.picture` draws it from a fleet that is made up; it fetches nothing, and is small."""
    picture = draw()
    assert "missing" in picture
    assert "@font-face" not in picture
    assert len(picture.encode()) <= 100_000
