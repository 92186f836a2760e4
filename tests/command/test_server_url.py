"""Where a server is, as a person writes it."""

from __future__ import annotations

import pytest

import mux
from mux.command.publish import publish
from mux.command.server_url import parse_server_url
from mux.command.tail.followers import EventStreamFollower, WebSocketFollower
from mux.errors import InvalidSetting, ServerUnreachable


@pytest.mark.parametrize("url", ["lobby", "ws://127.0.0.1", "http://", "http://box:port", "http://[::1"])
def test_a_url_that_is_none_is_one_sentence(url: str) -> None:
    """What is wrong with it is said, and it is said which."""
    with pytest.raises(InvalidSetting, match="the URL"):
        parse_server_url(url)


def test_paths_of_channels() -> None:
    """Under the path a proxy gives to the server; any argument becomes a path."""
    address = parse_server_url("https://box:8443/mux/")
    assert address.feed_path("a/b ü") == "/mux/feed/a%2Fb%20%C3%BC"
    assert address.websocket_url("a") == "wss://box:8443/mux/feed/a"


@pytest.mark.parametrize("kind", [EventStreamFollower, WebSocketFollower])
def test_nobody_there_is_one_sentence(free_port: int, kind: type[EventStreamFollower | WebSocketFollower]) -> None:
    """The same for every client."""
    url = f"http://127.0.0.1:{free_port}"
    with pytest.raises(ServerUnreachable, match=r"no mux answers at .*: connection refused; start one with `mux`"):
        list(kind(parse_server_url(url), "lobby").messages())
    with pytest.raises(ServerUnreachable, match="no mux answers at"):
        publish(url, "lobby", [b"x"])


def test_the_package_has_no_other_names() -> None:
    """Names that are imported late are told from those that are not there."""
    assert mux.Mux.__module__ == "mux.app"
    assert not hasattr(mux, "Mox")
