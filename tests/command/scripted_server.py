"""A server that answers what a test wants: JSON of the contract, refusals, garbage, event streams, or nothing."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

from tests.command.top import made_up


@dataclass
class Answer:
    """What one path is answered with; a body of pieces is sent chunked, a piece at a time, as they come."""

    status: int = 200
    body: bytes | Iterator[bytes] = b""
    kind: str = "application/json"
    location: str | None = None


@dataclass
class ScriptedServer:
    """What a test changes while the server runs."""

    port: int = 0
    processes: list[dict[str, Any]] = field(default_factory=lambda: [made_up.process(0), made_up.process(1)])
    missing: list[dict[str, Any]] = field(default_factory=list)
    answers: dict[str, Answer | Callable[[], Answer]] = field(default_factory=dict)
    """By path, instead of what mux would say."""
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """Path with query, and headers, of every request."""
    keeps: bool = True
    """Whether it keeps connections."""
    stopped: Event = field(default_factory=Event)
    close: Callable[[], None] = field(default=lambda: None)
    """Ends it; again does nothing."""

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def answer(self, path: str) -> Answer:
        """Return the answer to a path."""
        given = self.answers.get(path)
        if given is not None:
            return given if isinstance(given, Answer) else given()
        if path == "/stats":
            return Answer(body=json.dumps(made_up.stats(self.processes, self.missing)).encode())
        if path == "/channels":
            return Answer(body=json.dumps(made_up.channels()).encode())
        return Answer(404, b"no such page\n", "text/plain")


@contextmanager
def scripted_server(port: int = 0) -> Iterator[ScriptedServer]:
    """Serve for as long as the block runs."""
    script = ScriptedServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            script.asked.append((self.path, dict(self.headers)))
            answer = script.answer(self.path.partition("?")[0])
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.kind)
            if answer.location is not None:
                self.send_header("Location", answer.location)
            if isinstance(answer.body, bytes):
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)
            else:
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for piece in answer.body:
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                self.wfile.write(b"0\r\n\r\n")
                self.close_connection = True
            if not script.keeps:
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            """A client that goes away in the middle is what some tests are about."""

        def finish_request(self, request: Any, client_address: Any) -> None:
            connections.append(request)
            super().finish_request(request, client_address)

    connections: list[socket.socket] = []
    server = Server(("127.0.0.1", port), Handler)
    script.port = server.server_address[1]
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()

    def close() -> None:
        if script.stopped.is_set():
            return
        script.stopped.set()
        server.shutdown()
        server.socket.close()
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        server.server_close()
        thread.join()

    script.close = close
    try:
        yield script
    finally:
        close()
