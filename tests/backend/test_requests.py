"""Requests with every mistake there is, to `mux serve` itself: each has one defined answer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mux.backend.routes import MAX_BODY_BYTES
from tests.support.servers import TOKEN, mux_serve

KEY = "test-api-key"


@dataclass
class Server:
    """A server with an API, and without one."""

    client: httpx.Client
    url: str
    ops_url: str
    bare_url: str

    def ask(self, method: str, body: object, **options: object) -> httpx.Response:
        """Send a command; a body that is no bytes is written as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"X-API-Key": KEY, **options.pop("headers", {})}  # type: ignore[dict-item]
        return self.client.post(f"{self.url}/api/{method}", content=content, headers=headers)


@pytest.fixture(scope="module")
def server(redis_url: str) -> Iterator[Server]:
    """A server of this module."""
    options = "--redis-url", redis_url, "--prefix", "api-requests:", "--log-level", "debug"
    env = {"MUX_API_KEY": KEY, "MUX_CLIENT_PUBLISH": "no"}
    with (
        mux_serve(*options, "--ops-port", "0", env=env) as with_api,
        mux_serve(*options) as bare,
        httpx.Client(timeout=30) as client,
    ):
        ops = re.search(r"Health and numbers: (\S+)", with_api.welcome)
        assert ops is not None
        yield Server(client, f"http://127.0.0.1:{with_api.port}", ops[1], f"http://127.0.0.1:{bare.port}")
        _, said = with_api.stop()
        assert KEY not in said
        assert "Traceback" not in said


@pytest.mark.parametrize(
    ("method", "body", "code", "said"),
    [
        ("publish", [], 107, "Expected 'object', got 'array'"),
        ("publish", None, 107, "got 'null'"),
        ("publish", {}, 107, "missing required field 'channel'"),
        ("publish", {"channel": 5, "data": 1}, 107, "Expected 'str', got 'int' - at '$.channel'"),
        ("publish", {"channel": "", "data": 1}, 107, "is empty"),
        ("publish", {"channel": "a b", "data": 1}, 107, "printable ASCII"),
        ("publish", {"channel": "$fleet", "data": 1}, 107, "reserved"),
        ("publish", {"channel": "x" * 256, "data": 1}, 107, "256 bytes"),
        ("publish", {"channel": "a"}, 107, "neither data nor b64data"),
        ("publish", {"channel": "a", "b64data": "x"}, 107, "no base64"),
        ("publish", {"channel": "a", "b64data": "ü"}, 107, "no base64"),
        ("publish", {"channel": "a", "data": "x" * 65_535}, 107, "65537 bytes"),
        ("publish", {"channel": "a", "data": 1, "idempotency_key": "x" * 256}, 107, "256 characters"),
        ("publish", {"channel": "a", "data": 1, "version": 3}, 108, "neither tags nor a version"),
        ("broadcast", {"data": 1}, 107, "'channels'"),
        ("broadcast", {"channels": ["a"] * 10_001, "data": 1}, 107, "10001 entries"),
        ("broadcast", {"channels": []}, 107, "neither data"),
        ("history", {"channel": "a", "limit": "1"}, 107, "$.limit"),
        ("history", {"channel": "a", "since": {"offset": 2**53}}, 107, "an offset is"),
        ("history", {"channel": "a", "since": {"offset": -1}}, 107, "an offset is"),
        ("history", {"channel": "a", "since": {"offset": 0}, "reverse": True}, 107, "before offset 0"),
        ("history", {"channel": "a", "limit": 1, "since": {"offset": 1, "epoch": "ü"}}, 112, "position"),
        ("history_remove", {"channel": "a"}, 108, "by themselves"),
        ("channels", {"pattern": "ü"}, 107, "printable"),
        ("presence", {"channel": "$a"}, 107, "reserved"),
        ("presence_stats", {}, 107, "'channel'"),
        ("disconnect", {"user": "a", "disconnect": {"code": 1006}}, 107, "1006"),
        ("disconnect", {"user": "a", "disconnect": {"code": 4000, "reason": "x" * 124}}, 107, "123 bytes"),
        ("disconnect", {"user": "a", "client": "b"}, 107, "as presence tells it"),
        ("disconnect", {"user": "x" * 256}, 107, "255"),
        ("unsubscribe", {"user": "a"}, 107, "is empty"),
        ("unsubscribe", {"user": "a", "channel": ""}, 107, "is empty"),
        ("refresh", {"user": "a", "expire_at": 2**70}, 107, "a month ahead"),
        ("subscribe", {"user": "a", "channel": ""}, 107, "is empty"),
        ("subscribe", {"user": "a", "channel": "b", "info": 1}, 108, "with data alone"),
        ("rpc", {"method": "a"}, 104, "no rpc"),
        ("batch", {"commands": {}}, 107, "$.commands"),
        ("batch", {"commands": [{"history": {}}] * 17}, 107, "at most 16"),
    ],
)
def test_a_mistake_is_told_in_one_sentence(server: Server, method: str, body: object, code: int, said: str) -> None:
    """With a code, and with the status 200; or as a status, for who wants that."""
    answer = server.ask(method, body)
    assert answer.status_code == 200
    error = answer.json()["error"]
    assert error["code"] == code
    assert said in error["message"]
    bare = server.ask(method, body, headers={"X-Centrifugo-Error-Mode": "transport"})
    assert bare.status_code == {104: 404, 107: 400, 108: 400, 112: 416}[code]
    assert bare.json() == error


def test_mistakes_in_a_batch_are_of_one_command(server: Server) -> None:
    """The others are done."""
    commands = [
        {"nope": {}},
        {},
        {"publish": {}, "info": {}},
        {"batch": {"commands": []}},
        {"info": None},
        {"info": {}},
    ]
    replies = server.ask("batch", {"commands": commands}).json()["replies"]
    assert [reply["error"]["code"] for reply in replies[:5]] == [104, 107, 107, 104, 107]
    assert len(replies[5]["info"]["nodes"]) >= 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{}{}",
        b"channel=a",
        b'{"channel": "a", "data": "\xff"}',
        b'{"channel": "a", "data": "\\ud800"}',
        b'{"channel": "a", "data": NaN}',
        b"[" * 100_000,
        b'{"channel": "a", "data": ' + b"[" * 2000 + b"]" * 2000 + b"}",
    ],
)
def test_what_is_no_json_is_refused(server: Server, body: bytes) -> None:
    """With 400 and a sentence."""
    answer = server.ask("publish", body)
    assert (answer.status_code, answer.text.count("\n")) == (400, 1)
    assert answer.text.startswith("the body is no JSON: ")


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (b"12345678901234567890123", "12345678901234567890123"),
        (b"1.10", "1.10"),
        (b'{ "a" :\n[ 1 , " \\" { } " ] }', '{"a":[1," \\" { } "]}'),
        (b"null", "null"),
        (b'"\\u00e9"', '"\\u00e9"'),
        (b"[" * 900 + b"]" * 900, "[" * 900 + "]" * 900),
    ],
)
def test_data_arrives_as_it_was_written(server: Server, sent: bytes, told: str) -> None:
    """Without spaces between its tokens; no number loses a digit."""
    assert "result" in server.ask("publish", b'{"channel": "exact", "data": %b}' % sent).json()
    found = server.ask("history", {"channel": "exact", "limit": 1, "reverse": True}).text
    assert f'"data":{told},' in found


def test_history_tells_what_is_no_json(server: Server) -> None:
    """Text as a JSON string, and bytes as base64."""
    server.ask("publish", {"channel": "kinds", "b64data": "AP8="})
    found = server.ask("history", {"channel": "kinds", "limit": -1}).json()["result"]["publications"]
    assert [(one["data"], one["b64data"]) for one in found] == [(None, "AP8=")]


def test_a_body_has_a_bound(server: Server) -> None:
    """It is refused by its length, before it is read."""
    answer = server.ask("publish", b" " * (MAX_BODY_BYTES + 1))
    assert answer.status_code == 413


@pytest.mark.parametrize("url", ["url", "ops_url"])
def test_without_a_right_key_every_answer_is_the_same(server: Server, url: str) -> None:
    """Whatever is asked for, by whichever way: 401, and not a byte of body."""
    given: list[tuple[dict[str, str], str]] = [
        ({}, ""),
        ({"X-API-Key": ""}, ""),
        ({"X-API-Key": KEY[:-1]}, ""),
        ({"X-API-Key": f"{KEY}x"}, ""),
        ({"Authorization": f"Bearer {KEY}"}, ""),
        ({"Authorization": f"Bearer {TOKEN}"}, ""),
        ({"Authorization": "apikey"}, ""),
        ({}, f"?key={KEY}"),
        ({}, "?api_key=%ff"),
    ]
    answers = set()
    for (headers, query), method, body in product(given, ("publish", "nope"), (b"", b"{", b'{"channel":"a","data":1}')):
        address = f"{getattr(server, url)}/api/{method}{query}"
        answer = server.client.post(address, content=body, headers=headers)
        answers.add((answer.status_code, answer.content, answer.headers["www-authenticate"], tuple(answer.headers)))
    assert len(answers) == 1
    assert next(iter(answers))[:3] == (401, b"", "apikey"), "a Bearer is not what is wanted"


@pytest.mark.parametrize("url", ["url", "ops_url"])
def test_a_key_has_three_places(server: Server, url: str) -> None:
    """All on both listeners."""
    address = f"{getattr(server, url)}/api/publish"
    body = b'{"channel":"a","data":1}'
    for headers, query in (
        ({"X-API-Key": KEY}, ""),
        ({"Authorization": f"apikey {KEY}"}, ""),
        ({"authorization": f"ApiKey  {KEY}"}, ""),
        ({}, f"?api_key={KEY}"),
    ):
        answer = server.client.post(address + query, content=body, headers=headers)
        assert answer.json()["result"]["offset"]


def test_other_requests(server: Server) -> None:
    """An unknown method, a GET, and an API that is off."""
    assert server.ask("nope", {}).status_code == 404
    get = server.client.get(f"{server.url}/api/info", headers={"X-API-Key": KEY})
    assert (get.status_code, get.headers["Allow"]) == (405, "POST")
    off, unknown = (
        server.client.post(f"{server.bare_url}/{path}", headers={"X-API-Key": KEY}) for path in ("api/info", "x")
    )
    assert (off.status_code, off.content) == (unknown.status_code, unknown.content) == (404, unknown.content)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
NAMES = st.sampled_from(
    [
        *("channel", "channels", "data", "b64data", "idempotency_key", "limit", "since", "reverse", "pattern", "user"),
        *("client", "disconnect", "expire_at", "expired", "commands", "parallel", "offset", "epoch", "tags", "code"),
    ]
)
METHODS = (
    *("publish", "broadcast", "history", "history_remove", "channels", "info", "presence", "presence_stats"),
    *("disconnect", "unsubscribe", "refresh", "subscribe", "rpc", "batch"),
)
COMMANDS = st.dictionaries(NAMES, JSON | st.just("lobby") | st.just(["lobby"]) | st.just({"offset": 3}), max_size=6)


@given(
    method=st.sampled_from(METHODS),
    body=st.one_of(
        COMMANDS, JSON, st.binary(max_size=60), st.lists(st.dictionaries(st.sampled_from(METHODS), COMMANDS))
    ),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_body_has_a_defined_answer(server: Server, method: str, body: object) -> None:
    """200 with a result or an error of the table, or 400; the log has no traceback (see the fixture)."""
    if isinstance(body, list) and method == "batch":
        body = {"commands": body}
    answer = server.ask(method, body)
    if answer.status_code == 400:
        assert answer.text.startswith("the body is no JSON: ")
        return
    assert answer.status_code == 200
    told = answer.json()
    assert told.keys() <= {"result", "error", "replies"}
    assert len(told) == 1
    if "error" in told:
        assert told["error"]["code"] in (100, 104, 107, 108, 112, 113)
