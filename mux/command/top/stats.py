"""Ask one server for GET /stats and GET /channels, and read the answers strictly.

A number that is missing or no number means that something else answers, or another version: one sentence says so,
instead of a screen full of zeros. Unknown keys are left alone.

Both requests go over one connection, which is kept. One request at a time; close() may come from any thread.
"""

from __future__ import annotations

import http.client
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import urlencode

import orjson

from mux.command.access import authorizes, bearer
from mux.command.server_url import ServerUrl, cause, escape_controls, reaching, reason, request
from mux.errors import ServerUnreachable
from mux.serve.token_file import find_token

CHANNELS_SHOWN = 50
"""Most channels that are asked for: more than a screen has lines."""

MAX_ANSWER_BYTES = 16 * 1024 * 1024
"""Longest answer that is read; a thousand processes take about a megabyte."""

MAX_NUMBER = 2**64
"""A bound that no sum of mux reaches; larger numbers are not drawn."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """Counters since the start, rates and levels, of a process or summed; keys as in the answer."""

    uptime_seconds: float
    connections: float
    channels: float
    received_per_second: float
    unheard_per_second: float
    delivered_per_second: float
    published_per_second: float
    pending_bytes: float
    gaps: float
    loop_lag_seconds: float
    memory_bytes: float
    journal_bytes: float
    journal_seconds: float
    resumes: float
    healed: float
    evicted: Mapping[str, float]
    refused: Mapping[str, float]
    resumes_refused: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Process:
    """One process of the fleet that has answered."""

    id: str
    host: str
    pid: int
    numbers: Numbers


@dataclass(frozen=True, slots=True)
class Missing:
    """A process that was there and did not answer."""

    host: str
    pid: int
    silent_seconds: float


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel over the whole fleet."""

    name: str
    subscribers: float
    messages_per_second: float


@dataclass(frozen=True, slots=True)
class Look:
    """Everything one look at a fleet shows; raw has both answers as they came, for programs."""

    raw: dict[str, Any]
    processes: list[Process]
    total: Numbers
    missing: list[Missing]
    channels: list[Channel]


class FleetReader:
    """Asks one server about its fleet.

    An Authorization among the headers of the address takes the place of the token.

    Args:
        address: where the server is.
        token: the token it wants; None takes the one that a server on this machine has drawn for itself, if any.
    """

    def __init__(self, address: ServerUrl, token: str | None = None) -> None:
        bearer(token)  # a token that cannot be used is told at once
        self._address = address
        self._connection = address.connection()
        self._finds_token = token is None and not authorizes(address.headers)
        self._token = self._find_token() if self._finds_token else token

    def look(self) -> Look:
        """Ask, and return what was answered.

        Raises:
            ServerUnreachable: nobody answers, the answer was no, or it was not mux'.
        """
        stats = self._get("/stats")
        channels = self._get(f"/channels?{urlencode({'sort': 'rate', 'limit': CHANNELS_SHOWN})}")
        try:
            return parse_look(stats, channels)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ServerUnreachable(f"what answers at {self._address.url} is not mux: its /stats is another") from error

    def close(self) -> None:
        """End the connection; a look that is under way ends with it."""
        sock: socket.socket | None = self._connection.sock
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def _get(self, path: str) -> Any:
        try:
            with reaching(self._address.url):
                response, answer = self._ask(path)
                if response.status == 403 and self._finds_token:
                    # Another server may be there by now, with a token of its own.
                    before, self._token = self._token, self._find_token()
                    if self._token != before:
                        response, answer = self._ask(path)
            return self._parsed(path.partition("?")[0], response, answer)
        except ServerUnreachable:
            self._connection.close()
            raise

    def _ask(self, path: str) -> tuple[http.client.HTTPResponse, bytes]:
        headers = {**bearer(self._token), **self._address.headers, "Accept": "application/json"}
        response = request(self._connection, "GET", self._address.path + path, headers)
        return response, response.read(MAX_ANSWER_BYTES + 1)

    def _parsed(self, name: str, response: http.client.HTTPResponse, answer: bytes) -> Any:
        if response.status == 404:
            raise ServerUnreachable(f"this server has no {name}: it was started with --no-inspect, or is not mux")
        if response.status in (401, 403):
            raise ServerUnreachable(f"the server refused: {reason(answer, response)}")
        if response.status != 200:
            raise ServerUnreachable(f"the server did not answer {name}: {reason(answer, response)}")
        if len(answer) > MAX_ANSWER_BYTES:
            raise ServerUnreachable(f"the server's {name} is over {MAX_ANSWER_BYTES} bytes")
        try:
            return orjson.loads(answer)
        except orjson.JSONDecodeError as error:
            said = f"what answers at {self._address.url} is not mux: its {name} is not JSON"
            raise ServerUnreachable(said) from error

    def _find_token(self) -> str | None:
        address = self._address
        return None if address.tls else find_token(address.host, address.port or http.client.HTTP_PORT)


def short_reason(error: ServerUnreachable) -> str:
    """Return why there was no answer, in a few words where the sentence has many."""
    return cause(error.__cause__) if isinstance(error.__cause__, OSError) else str(error)


def parse_look(stats: Any, channels: Any) -> Look:
    """Return the values of two answers.

    Raises:
        KeyError, TypeError, AttributeError, ValueError: they are not of the shape that mux gives.
    """
    return Look(
        raw={"stats": stats, "channels": channels},
        processes=[
            Process(_text(one["id"]), _text(one["host"]), int(_number(one["pid"])), _numbers(one))
            for one in stats["processes"]
        ],
        total=_numbers(stats["total"]),
        missing=[
            Missing(_text(one["host"]), int(_number(one["pid"])), _number(one["silent_seconds"]))
            for one in stats["missing"]
        ],
        channels=[
            Channel(_text(one["name"]), _number(one["subscribers"]), _number(one["messages_per_second"]))
            for one in channels["channels"]
        ],
    )


def _numbers(one: Any) -> Numbers:
    counts = ("evicted", "refused", "resumes_refused")
    # A server of an earlier version does not tell what came since.
    one = {"journal_bytes": 0, "journal_seconds": 0, "resumes": 0, "healed": 0, "resumes_refused": {}} | one
    plain: dict[str, Any] = {spec.name: _number(one[spec.name]) for spec in fields(Numbers) if spec.name not in counts}
    by_reason: dict[str, Any] = {
        name: {_text(key): _number(value) for key, value in one[name].items()} for name in counts
    }
    return Numbers(**plain, **by_reason)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(value)
    if not 0 <= value < MAX_NUMBER:
        raise ValueError(value)
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return escape_controls(value)
