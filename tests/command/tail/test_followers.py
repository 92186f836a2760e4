"""Event streams as a client hears them, and what else may answer."""

from __future__ import annotations

from collections.abc import Iterator
from queue import Queue
from threading import Thread

import pytest
from websockets.sync.server import ServerConnection, serve

from mux.command.access import parse_access
from mux.command.server_url import parse_server_url
from mux.command.tail import followers
from mux.command.tail.followers import EventStreamFollower, Missed, WebSocketFollower
from mux.errors import ServerUnreachable
from tests.command.scripted_server import Answer, ScriptedServer

STREAM = "text/event-stream"


def hear(server: ScriptedServer) -> tuple[list[str | bytes | Missed], str]:
    """Return the messages of a channel until its end, and what is said of that."""
    messages: list[str | bytes | Missed] = []
    with pytest.raises(ServerUnreachable) as end:
        for message in EventStreamFollower(parse_server_url(server.url), "a/b").messages():
            messages.append(message)  # noqa: PERF402 - what came before the end counts
    return messages, str(end.value)


def test_events_become_messages(server: ScriptedServer) -> None:
    """Text, binary as base64, and the goodbye of the server; heartbeats are nothing."""
    pieces = [b"retry: 2000\n\n", b"data: one\n", b"data: two\n\n: still here\n\n", b"data: AP8=\nevent: binary\n\n"]
    pieces += [b"event: binary\ndata: no base64!\n\n", b": 1001 going\x1b away\n\n"]
    server.answers["/feed/a%2Fb"] = Answer(body=iter(pieces), kind=f"{STREAM}; charset=utf-8")
    messages, end = hear(server)
    assert messages == ["one\ntwo", b"\x00\xff", "no base64!"]
    assert end == "the server closed the connection: 1001 going\\x1b away"
    assert server.asked[0][1]["Accept"] == STREAM


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", ["YHOO\n+2\n10"]),
        (b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
         ["first event", "second event", " third event"]),
        (b"data\n\ndata\ndata\n\ndata:", ["", "\n"]),
        (b"event: binary\n\ndata: AP8=\n\n", ["AP8="]),
        (b"data: a\xe2\x80\xa8b\x0bc\x85\r\n\r\n", ["a\u2028b\x0bc\ufffd"]),
        (b"retry: 3000\nunknown: x\ndata: a: b\n\n", ["a: b"]),
        (b"data: cut off\n", []),
        (b"event: position\nid: e-7\ndata:\n\ndata: a\nid: e-8\n\nid: e-9\nevent: position\ndata:\n\n", ["a"]),
    ],
    ids=["lines", "comment and ids", "empty data", "types", "no line ends", "fields", "unfinished", "heartbeats"],
)  # fmt: skip
def test_events_are_those_of_the_standard(server: ScriptedServer, stream: bytes, expected: list[str]) -> None:
    """Its own examples, and its small print; a network may cut the bytes anywhere."""
    for size in (1, 7, len(stream)):
        pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
        server.answers["/feed/a%2Fb"] = Answer(body=iter(pieces), kind=STREAM)
        assert hear(server)[0] == expected


def test_a_gap_is_told_and_the_stream_goes_on(server: ScriptedServer) -> None:
    """With the number of messages where the server knows it; any other reason is the end."""
    told = [b'{"reason":"gap","missed":1}', b'{"reason":"gap"}', b'{"since":"e-1","reason":"too_old"}']
    stream = [b"event: missed\ndata: %b\n\ndata: %d\n\n" % (data, number) for number, data in enumerate(told)]
    server.answers["/feed/a%2Fb"] = Answer(body=iter(stream), kind=STREAM)
    messages, end = hear(server)
    assert messages == [Missed(1), "0", Missed(None), "1"]
    assert str(Missed(1)) == "the server missed 1 message of all channels"
    assert str(Missed(None)) == "the server may have missed messages"
    assert end.startswith("not all messages since this position are known any more")


@pytest.mark.parametrize("data", ["gap", "{", "[]", '"gap"', "{}", "1" * 5000])
def test_what_is_missed_is_the_end_when_nobody_says_why(server: ScriptedServer, data: str) -> None:
    """Whatever a server says of it."""
    server.answers["/feed/a%2Fb"] = Answer(body=iter([f"event: missed\ndata: {data}\n\n".encode()]), kind=STREAM)
    assert hear(server)[1].startswith("not all messages since this position are known any more")


def test_a_crash_is_no_goodbye(server: ScriptedServer) -> None:
    """A stream that breaks off is told from one that ends, and the last heartbeat is no reason."""

    def crash() -> Iterator[bytes]:
        yield b": still here\n\ndata: whole\n\ndata: ha"
        raise ConnectionAbortedError

    server.answers["/feed/a%2Fb"] = Answer(body=crash(), kind=STREAM)
    messages, end = hear(server)
    assert messages == ["whole"]
    assert end.startswith("the connection was closed: ")


REFUSALS = [
    (Answer(403, b"the origin is not allowed\n", "text/plain"), "the server refused: the origin is not allowed"),
    (Answer(426, b"", "text/html"), "the server refused: 426 Upgrade Required"),
    (Answer(200, b"<html>", "text/html"), "sent no event stream but text/html"),
]


@pytest.mark.parametrize(("answer", "sentence"), REFUSALS, ids=["403", "426", "a page"])
def test_an_answer_that_is_no_stream_is_one_sentence(server: ScriptedServer, answer: Answer, sentence: str) -> None:
    """The server's own where it is mux, else what came instead."""
    server.answers["/feed/a%2Fb"] = answer
    assert hear(server)[1].endswith(sentence)


@pytest.mark.parametrize("kind", [EventStreamFollower, WebSocketFollower])
@pytest.mark.parametrize("to", ["", "http://other.example", "//other.example", "http://127.0.0.1:1"])
def test_a_redirect_is_told_and_not_followed(
    server: ScriptedServer, kind: type[EventStreamFollower | WebSocketFollower], to: str
) -> None:
    """A WebSocket went on to another server, and took along the secret headers that were for this one."""
    server.answers["/feed/a"] = Answer(302, b"<html>", "text/html", location=f"{to}/feed/b")
    follower = kind(parse_server_url(server.url, parse_access(["X-Api-Key: secret"])), "a")
    with pytest.raises(ServerUnreachable) as end:
        list(follower.messages())
    assert str(end.value) == f"the server refused: 302 Found to {to}/feed/b"
    assert [path for path, _ in server.asked] == ["/feed/a"]


def test_no_feed_goes_by_a_proxy(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """With http_proxy in the environment a server on this machine was not reached by a WebSocket, and by all else."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    server.answers["/feed/a"] = Answer(403, b"not you\n", "text/plain")
    for kind in (EventStreamFollower, WebSocketFollower):
        with pytest.raises(ServerUnreachable, match="the server refused: not you"):
            list(kind(parse_server_url(server.url), "a").messages())


def test_what_a_server_says_is_not_obeyed_by_a_terminal(server: ScriptedServer) -> None:
    """The type of another answer, and the reason of a close, are shown with their control characters escaped."""
    server.answers["/feed/a%2Fb"] = Answer(200, b"", "text/\x1b]0;mine\x07")
    assert hear(server)[1].endswith("sent no event stream but text/\\x1b]0;mine\\x07")

    codes = [1000, 1011]

    def close(websocket: ServerConnection) -> None:
        websocket.close(codes.pop(), "\x1b[2J")

    with serve(close, "127.0.0.1", 0) as rogue:
        thread = Thread(target=rogue.serve_forever)
        thread.start()
        address = parse_server_url(f"http://127.0.0.1:{rogue.socket.getsockname()[1]}")
        while codes:
            with pytest.raises(ServerUnreachable, match=r"\\x1b\[2J") as end:
                list(WebSocketFollower(address, "a").messages())
            assert "\x1b" not in str(end.value)
        rogue.shutdown()
        thread.join()


def test_an_event_that_never_ends_is_given_up(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory stays bounded, whoever answers."""
    monkeypatch.setattr(followers, "MAX_MESSAGE_LENGTH", 1000)
    for pieces in ([b"data: ", b"x" * 2000], [b"data:\n" * 100] * 3, [b": x\n" * 100] * 3):
        server.answers["/feed/a%2Fb"] = Answer(body=iter([b"data: one\n\n", *pieces]), kind=STREAM)
        assert hear(server) == (["one"], "the server sent an event of over 1000 characters")


def test_a_feed_is_ended_by_another_thread(server: ScriptedServer) -> None:
    """Whoever quits does not wait for the next message; before it is open and again, it does nothing."""

    def quiet() -> Iterator[bytes]:
        yield b"data: one\n\n"
        server.stopped.wait(20)

    server.answers["/feed/a%2Fb"] = Answer(body=quiet(), kind=STREAM)
    follower = EventStreamFollower(parse_server_url(server.url), "a/b")
    follower.close()
    heard: Queue[str | bytes | Missed] = Queue()

    def read() -> None:
        with pytest.raises(ServerUnreachable):
            for message in follower.messages():
                heard.put(message)

    thread = Thread(target=read)
    thread.start()
    assert heard.get(timeout=20) == "one"
    follower.close()
    thread.join(20)
    assert not thread.is_alive()
    follower.close()
