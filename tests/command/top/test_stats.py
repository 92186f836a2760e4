"""Asking a server about its fleet, and what else may answer."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from contextlib import closing
from itertools import count
from threading import Thread
from typing import Any

import pytest

from mux.command.server_url import parse_server_url
from mux.command.top.stats import FleetReader, short_reason
from mux.errors import InvalidSetting, ServerUnreachable
from tests.command.scripted_server import Answer, ScriptedServer
from tests.command.top import made_up


def look_at(url: str) -> str:
    """Return why there was no look."""
    with closing(FleetReader(parse_server_url(url))) as inspector, pytest.raises(ServerUnreachable) as refusal:
        inspector.look()
    return str(refusal.value)


def test_a_look_is_two_requests_on_one_connection(server: ScriptedServer) -> None:
    """With the token in a header, never in the URL; under the path the server has in its proxy."""
    server.missing = [made_up.missing()]
    server.answers = {f"/mux{path}": lambda path=path: server.answer(path) for path in ("/stats", "/channels")}  # type: ignore[misc]
    with closing(FleetReader(parse_server_url(f"{server.url}/mux/"), "secret-token")) as inspector:
        look = inspector.look()
    assert [process.pid for process in look.processes] == [4700, 4701]
    assert look.total.connections == 9800 + 12250
    assert look.missing[0].silent_seconds == 3.2
    assert look.channels[0].name == "lobby"
    assert [path for path, _ in server.asked] == ["/mux/stats", "/mux/channels?sort=rate&limit=50"]
    assert {headers["Authorization"] for _, headers in server.asked} == {"Bearer secret-token"}


def test_a_server_may_end_connections(server: ScriptedServer) -> None:
    """It closes one it had kept, without a word: asking again does no harm."""
    with closing(FleetReader(parse_server_url(server.url))) as inspector:
        inspector.look()
        server.keeps = False
        for _ in range(3):
            assert len(inspector.look().processes) == 2


def _stats(**numbers: float) -> bytes:
    """Return numbers of one process that cannot be; they would be drawn as a curve."""
    return json.dumps(made_up.stats([made_up.process(0) | numbers], [])).encode()


SAID = [
    (Answer(403, b"a token is wanted: give it with --token\n", "text/plain"), "refused: a token is wanted: give it"),
    (Answer(401, b"<html>who are you", "text/html"), "refused: 401 Unauthorized"),
    (Answer(404, b"", "text/plain"), "this server has no /stats: it was started with --no-inspect, or is not mux"),
    (Answer(503, b"no answer from Redis\n", "text/plain; charset=utf-8"), "did not answer /stats: no answer from"),
    (Answer(301, b"", "text/html"), "did not answer /stats: 301 Moved Permanently"),
    (Answer(body=b"<html>welcome</html>"), "is not mux: its /stats is not JSON"),
    (Answer(body=b"[]"), "is not mux: its /stats is another"),
    (Answer(body=b'{"processes": 7}'), "is not mux: its /stats is another"),
    (Answer(body=_stats(gaps=1e300)), "is not mux: its /stats is another"),
    (Answer(body=_stats(loop_lag_seconds=-1)), "is not mux: its /stats is another"),
    (Answer(body=b" " * (16 * 1024 * 1024 + 1)), "/stats is over 16777216 bytes"),
]


@pytest.mark.parametrize(("answer", "sentence"), SAID, ids=[sentence for _, sentence in SAID])
def test_an_answer_that_is_none_is_one_sentence(server: ScriptedServer, answer: Answer, sentence: str) -> None:
    """The server's own where it is mux, else what came instead."""
    server.answers["/stats"] = answer
    assert sentence in look_at(server.url)


def wrong(change: Callable[[Any], object]) -> Answer:
    """Return an answer of /stats that is nearly right."""
    stats = json.loads(json.dumps(made_up.stats([made_up.process()], [made_up.missing()])))
    change(stats)
    return Answer(body=json.dumps(stats).encode())


@pytest.mark.parametrize(
    "change",
    [
        lambda stats: stats["processes"][0].pop("gaps"),
        lambda stats: stats["processes"][0].update(gaps=True),
        lambda stats: stats["processes"][0].update(gaps="7"),
        lambda stats: stats["processes"][0].update(host=7),
        lambda stats: stats["processes"][0].update(evicted=[]),
        lambda stats: stats["total"].update(refused={"origin": None}),
        lambda stats: stats["missing"][0].update(pid="x"),
        lambda stats: stats.pop("missing"),
    ],
)
def test_numbers_are_numbers(server: ScriptedServer, change: Callable[[Any], object]) -> None:
    """Another version's answer is not drawn as zeros."""
    server.answers["/stats"] = wrong(change)
    assert "is not mux: its /stats is another" in look_at(server.url)


def test_names_cannot_steer_the_terminal(server: ScriptedServer) -> None:
    """A host is called what it likes; the terminal sees printable characters."""
    server.processes = [made_up.process(host="box\x1b[2J", evicted={"a\nb": 1})]
    with closing(FleetReader(parse_server_url(server.url))) as inspector:
        process = inspector.look().processes[0]
    assert process.host == "box\\x1b[2J"
    assert process.numbers.evicted == {"a\\x0ab": 1}


def test_nobody_there_is_one_sentence(free_port: int) -> None:
    """And a few words where there is no room."""
    with closing(FleetReader(parse_server_url(f"http://127.0.0.1:{free_port}"))) as inspector:
        with pytest.raises(ServerUnreachable, match=r"no mux answers at .*: connection refused; start") as refusal:
            inspector.look()
        assert short_reason(refusal.value) == "connection refused"
    assert short_reason(ServerUnreachable("the server refused: no")) == "the server refused: no"


def test_a_server_that_speaks_no_http_is_one_sentence() -> None:
    """Something else listens on the port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

        def greet() -> None:
            for _ in range(1):
                connection, _address = listening.accept()
                with connection:
                    connection.sendall(b"220 \x1bmail.example.com ESMTP\r\n")
                    connection.recv(1000)

        thread = Thread(target=greet)
        thread.start()
        said = look_at(f"http://127.0.0.1:{port}")
        thread.join()
    assert said.startswith(f"no mux answers at http://127.0.0.1:{port}: ")
    assert "\x1b" not in said


@pytest.mark.parametrize("token", ["söcret", "a\r\nb"])
def test_a_token_is_printable_ascii(token: str) -> None:
    """It becomes a header."""
    with pytest.raises(InvalidSetting, match="printable ASCII"):
        FleetReader(parse_server_url("http://127.0.0.1:1"), token)


def test_a_look_under_way_can_be_ended(server: ScriptedServer) -> None:
    """Whoever quits does not wait for a server that takes its time."""
    asked = count()

    def never() -> Answer:
        next(asked)
        inspector.close()
        server.stopped.wait(20)
        return Answer()

    server.answers["/stats"] = never
    with closing(FleetReader(parse_server_url(server.url))) as inspector, pytest.raises(ServerUnreachable):
        inspector.look()
    assert next(asked) <= 2
