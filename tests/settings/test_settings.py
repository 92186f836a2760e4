from __future__ import annotations

import re
from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from sanic import Sanic

import mux
from mux import Mux
from mux.errors import InvalidSetting
from mux.settings.environment import environment_variable
from mux.settings.misspelt import unknown_variables
from mux.settings.settings import Settings
from mux.settings.values import Meaning

DEFAULTS = {
    "host": "127.0.0.1",
    "port": 8000,
    "workers": 1,
    "redis_url": None,
    "prefix": "feed:",
    "announce": True,
    "max_message_bytes": 64 * 1024,
    "allowed_origin": (),
    "allowed_host": (),
    "client_publish": True,
    "token_key": None,
    "token_jwks_url": None,
    "allow_weak_token_key": False,
    "token_audience": None,
    "token_issuer": None,
    "token_cookie": None,
    "anyone_subscribe": (),
    "anyone_publish": (),
    "user_subscribe": (),
    "user_publish": (),
    "max_token_checks_per_second": 50,
    "announce_as": "uuid",
    "api_key": (),
    "max_pending_bytes": 1024 * 1024,
    "max_pending_total_bytes": 0,
    "max_unwritable_seconds": 10,
    "ping_seconds": 25,
    "pong_seconds": 10,
    "probe_seconds": 5,
    "gather_ms": 0,
    "compress": False,
    "compress_min_bytes": 256,
    "max_held_bytes": 4 * 1024 * 1024,
    "max_held_seconds": 5,
    "journal_bytes": 32 * 1024 * 1024,
    "journal_seconds": 3600,
    "on_gap": "keep",
    "drain_seconds": 5,
    "stall_seconds": 30.0,
    "log_json": False,
    "max_connections": 0,
    "max_connections_per_address": 0,
    "handshake_seconds": 10,
    "keep_alive_seconds": 75,
    "max_channels_per_connection": 1000,
    "max_messages_per_second": 0,
    "max_messages_burst": 100,
    "max_control_frames_per_second": 0,
    "max_control_frames_burst": 100,
    "inspect": True,
    "inspect_token": None,
    "ops_host": None,
    "ops_port": None,
    "page": True,
    "publisher_info": False,
    "sdk": True,
    "log_level": "info",
}
"""The documented defaults, and those of the command line."""


def values(settings: Settings) -> dict[str, object]:
    """Return all settings by name."""
    return {spec.name: getattr(settings, spec.name) for spec in fields(settings)}


def test_the_defaults_are_those_of_the_design() -> None:
    """With an empty environment, and when made directly."""
    assert values(Settings.load({}, {})) == values(Settings()) == DEFAULTS


@pytest.mark.parametrize("name", DEFAULTS)
def test_every_setting_says_what_it_is(name: str) -> None:
    """A sentence, a unit where it has one in its name, and an environment variable."""
    (spec,) = (spec for spec in fields(Settings) if spec.name == name)
    meaning = spec.metadata["meaning"]
    assert isinstance(meaning, Meaning)
    assert meaning.text.endswith(".")
    assert meaning.unit == next((unit for unit in ("bytes", "seconds") if name.endswith(unit)), "")
    assert environment_variable(spec) == "MUX_" + name.upper()


@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        ("MUX_HOST", "0.0.0.0", "host", "0.0.0.0"),
        ("MUX_PORT", "9000", "port", 9000),
        ("MUX_PORT", " 0 ", "port", 0),
        ("MUX_WORKERS", "4", "workers", 4),
        ("MUX_REDIS_URL", "redis://localhost", "redis_url", "redis://localhost"),
        ("MUX_PREFIX", "shop:", "prefix", "shop:"),
        ("MUX_ANNOUNCE", "no", "announce", False),
        ("MUX_ANNOUNCE", "FALSE", "announce", False),
        ("MUX_ANNOUNCE", "0", "announce", False),
        ("MUX_ANNOUNCE", "off", "announce", False),
        ("MUX_ANNOUNCE", "Yes", "announce", True),
        ("MUX_ANNOUNCE", "on", "announce", True),
        ("MUX_ANNOUNCE", "true", "announce", True),
        ("MUX_ANNOUNCE", "1", "announce", True),
        ("MUX_MAX_MESSAGE_BYTES", "1", "max_message_bytes", 1),
        ("MUX_ALLOWED_ORIGIN", "https://a.com", "allowed_origin", ("https://a.com",)),
        ("MUX_ALLOWED_ORIGIN", "https://a.com,https://b.com", "allowed_origin", ("https://a.com", "https://b.com")),
        ("MUX_ALLOWED_ORIGIN", "https://a.com  *", "allowed_origin", ("https://a.com", "*")),
        ("MUX_MAX_PENDING_BYTES", "65536", "max_pending_bytes", 65536),
        ("MUX_MAX_UNWRITABLE_SECONDS", "2.5", "max_unwritable_seconds", 2.5),
        ("MUX_PING_SECONDS", "60", "ping_seconds", 60.0),
        ("MUX_PONG_SECONDS", "5e-1", "pong_seconds", 0.5),
        ("MUX_GATHER_MS", "1.5", "gather_ms", 1.5),
        ("MUX_GATHER_MS", "auto", "gather_ms", "auto"),
        ("MUX_MAX_CONNECTIONS", "10", "max_connections", 10),
        ("MUX_MAX_MESSAGES_PER_SECOND", "0.5", "max_messages_per_second", 0.5),
        ("MUX_LOG_LEVEL", "debug", "log_level", "debug"),
    ],
)
def test_the_environment_is_read(variable: str, text: str, name: str, value: object) -> None:
    """As the type of its field; nothing else changes."""
    settings = values(Settings.load({}, {variable: text}))
    assert settings == DEFAULTS | {name: value}
    assert type(settings[name]) is type(value)


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_variable_is_none(text: str) -> None:
    """A deployment that sets a variable to nothing gets the default."""
    assert values(Settings.load({}, {f"MUX_{name.upper()}": text for name in DEFAULTS})) == DEFAULTS


def test_the_process_environment_is_read_when_no_other_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the command does."""
    monkeypatch.setenv("MUX_PORT", "9000")
    assert Settings.load().port == 9000


@pytest.mark.parametrize(
    ("explicit", "environ", "expected"),
    [
        ({"port": 1}, {"MUX_PORT": "2"}, 1),
        ({"port": 0}, {"MUX_PORT": "2"}, 0),
        ({"port": None}, {"MUX_PORT": "2"}, 2),
        ({}, {"MUX_PORT": "2"}, 2),
        ({"port": 1}, {}, 1),
        ({"port": None}, {}, 8000),
        ({"port": 1}, {"MUX_PORT": "nonsense"}, 1),
    ],
)
def test_explicit_wins_over_the_environment_and_that_over_the_default(
    explicit: dict[str, object], environ: dict[str, str], expected: int
) -> None:
    """None is not explicit; 0 is."""
    assert Settings.load(explicit, environ).port == expected


def test_false_and_an_empty_list_are_explicit() -> None:
    """They win over the environment as anything else does."""
    environ = {"MUX_ANNOUNCE": "yes", "MUX_ALLOWED_ORIGIN": "*"}
    settings = Settings.load({"announce": False, "allowed_origin": []}, environ)
    assert (settings.announce, settings.allowed_origin) == (False, ())


def test_a_list_becomes_a_tuple() -> None:
    """The command line has a list of origins."""
    assert Settings.load({"allowed_origin": ["https://a.com", "*"]}, {}).allowed_origin == ("https://a.com", "*")


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("port", -1, "port is -1; it must be at least 0"),
        ("port", 65536, "port is 65536; it must be at most 65535"),
        ("workers", 0, "workers is 0; it must be at least 1"),
        ("workers", 1025, "workers is 1025; it must be at most 1024"),
        ("max_message_bytes", 0, "max_message_bytes is 0; it must be at least 1"),
        ("max_pending_bytes", 65535, "max_pending_bytes is 65535; it must be at least 65536"),
        ("max_unwritable_seconds", 0.04, "max_unwritable_seconds is 0.04; it must be at least 0.05"),
        ("max_unwritable_seconds", float("nan"), "max_unwritable_seconds is nan; it must be a number"),
        ("ping_seconds", 0, "ping_seconds is 0; it must be at least 0.05"),
        ("ping_seconds", float("nan"), "ping_seconds is nan; it must be a number"),
        ("pong_seconds", 0, "pong_seconds is 0; it must be at least 0.01"),
        ("pong_seconds", 25, "pong_seconds is 25; it must be less than ping_seconds, 25"),
        ("ping_seconds", 10, "pong_seconds is 10; it must be less than ping_seconds, 10"),
        ("ping_seconds", 1e9, "ping_seconds is 1000000000.0; it must be at most 86400.0"),
        ("max_unwritable_seconds", 1e300, "max_unwritable_seconds is 1e+300; it must be at most 86400.0"),
        ("gather_ms", -1, "gather_ms is -1; it must be at least 0"),
        ("gather_ms", "101", "gather_ms is 101.0; it must be at most 100"),
        ("gather_ms", True, "gather_ms is True; it must be a number or auto"),
        ("gather_ms", "soon", "gather_ms is 'soon'; it must be a number or auto"),
        ("max_connections", -1, "max_connections is -1; it must be at least 0"),
        ("max_connections_per_address", -1, "max_connections_per_address is -1; it must be at least 0"),
        ("handshake_seconds", 0.1, "handshake_seconds is 0.1; it must be at least 0.2"),
        ("max_messages_burst", 0, "max_messages_burst is 0; it must be at least 1"),
        ("max_control_frames_per_second", -1, "max_control_frames_per_second is -1; it must be at least 0"),
        ("log_level", "loud", "log_level is 'loud'; it must be one of debug, info, warning, error"),
        ("prefix", "", "the prefix '' must be 1 to 64 printable ASCII characters without space"),
        ("prefix", "a b", "the prefix 'a b' must be 1 to 64 printable ASCII characters without space"),
        (
            "allowed_origin",
            ("example.com",),
            "the allowed origin 'example.com' is not scheme://host or scheme://host:port, nor null or file://",
        ),
    ],
)
def test_an_impossible_value_is_one_sentence(name: str, value: object, sentence: str) -> None:
    """Name, value and what is allowed."""
    with pytest.raises(InvalidSetting) as caught:
        Settings.load({name: value}, {})
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", 0),
        ("port", 65535),
        ("workers", 1024),
        ("max_message_bytes", 1),
        ("max_pending_bytes", 65536),
        ("max_unwritable_seconds", 0.05),
        ("pong_seconds", 24.9),
        ("gather_ms", 100),
        ("gather_ms", "auto"),
    ],
)
def test_the_limits_themselves_are_allowed(name: str, value: object) -> None:
    """At least and at most mean what they say."""
    assert values(Settings.load({name: value}, {}))[name] == value


def test_the_largest_message_is_as_large_as_redis_takes() -> None:
    """512 MiB, and not a byte more."""
    assert Settings(max_message_bytes=536_870_912).max_message_bytes == 536_870_912
    with pytest.raises(InvalidSetting, match="max_message_bytes is 536870913; it must be at most 536870912"):
        Settings(max_message_bytes=536_870_913)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "8000"),
        ("workers", 1.5),
        ("max_message_bytes", "64k"),
        ("ping_seconds", "25"),
        ("ping_seconds", float("inf")),
        ("announce", "no"),
        ("allowed_origin", "https://example.com"),
        ("prefix", b"feed:"),
    ],
)
def test_a_value_of_the_wrong_type_is_one_sentence(name: str, value: object) -> None:
    """Mux(app, announce="no") once announced, and max_message_bytes="64k" was a TypeError about str and int."""
    with pytest.raises(InvalidSetting, match=name):
        Settings.load({name: value}, {})


@pytest.mark.parametrize(
    ("variable", "text", "sentence"),
    [
        ("MUX_PORT", "http", "MUX_PORT is 'http'; it must be a number"),
        ("MUX_PORT", "80.5", "MUX_PORT is '80.5'; it must be a number"),
        ("MUX_MAX_MESSAGE_BYTES", "64k", "MUX_MAX_MESSAGE_BYTES is '64k'; it must be a number"),
        ("MUX_PING_SECONDS", "25s", "MUX_PING_SECONDS is '25s'; it must be a number"),
        ("MUX_GATHER_MS", "soon", "MUX_GATHER_MS is 'soon'; it must be a number or auto"),
        ("MUX_ANNOUNCE", "maybe", "MUX_ANNOUNCE is 'maybe'; it must be yes or no"),
        ("MUX_PORT", "70000", "port is 70000; it must be at most 65535"),
        ("MUX_LOG_LEVEL", "loud", "log_level is 'loud'; it must be one of debug, info, warning, error"),
    ],
)
def test_an_impossible_variable_is_one_sentence(variable: str, text: str, sentence: str) -> None:
    """Which variable, what it is, and what it could be."""
    with pytest.raises(InvalidSetting) as caught:
        Settings.load({}, {variable: text})
    assert str(caught.value) == sentence


def test_an_unknown_name_is_named_with_those_there_are() -> None:
    """A typo is found at once."""
    with pytest.raises(InvalidSetting, match=r"unknown setting 'redisurl'; there are .*redis_url") as caught:
        Settings.load({"redisurl": "redis://localhost", "zoo": 1}, {})
    assert all(name in str(caught.value) for name in DEFAULTS)


@pytest.mark.parametrize("token", ["", "short12", "with a space", "umlaut-über", "line\nbreak"])
def test_a_token_that_cannot_be_is_not_repeated(token: str) -> None:
    """It is a secret even when it is none."""
    with pytest.raises(InvalidSetting) as caught:
        Settings.load({"inspect_token": token}, {})
    assert str(caught.value) == "inspect_token must be at least 8 printable ASCII characters without space"


def test_a_token_is_not_in_the_text_of_settings() -> None:
    """Where they are logged or shown by a debugger."""
    assert "correct-horse" not in repr(Settings(inspect_token="correct-horse"))


def test_settings_cannot_be_changed() -> None:
    """What was checked stays as it was checked."""
    with pytest.raises(FrozenInstanceError):
        Settings().port = 1  # type: ignore[misc]  # that it is frozen is the point


def test_the_table_covers_every_setting() -> None:
    """Whoever adds a setting says here what its default is."""
    assert get_type_hints(Settings).keys() == DEFAULTS.keys()


KUBERNETES = {
    # What a Service called mux, and one called mux-redis, put into the environment of every pod.
    "MUX_SERVICE_HOST": "10.0.0.7",
    "MUX_SERVICE_PORT": "8000",
    "MUX_SERVICE_PORT_HTTP": "8000",
    "MUX_PORT": "tcp://10.0.0.7:8000",
    "MUX_PORT_8000_TCP": "tcp://10.0.0.7:8000",
    "MUX_PORT_8000_TCP_PROTO": "tcp",
    "MUX_PORT_8000_TCP_PORT": "8000",
    "MUX_PORT_8000_TCP_ADDR": "10.0.0.7",
    "MUX_PORT_53_UDP": "udp://10.0.0.7:53",
    "MUX_REDIS_SERVICE_HOST": "10.0.0.8",
    "MUX_REDIS_PORT": "tcp://10.0.0.8:6379",
    "MUX_REDIS_PORT_6379_TCP_ADDR": "10.0.0.8",
}


def test_a_kubernetes_service_called_mux_changes_nothing() -> None:
    """MUX_PORT=tcp://… once kept everything from starting, apps included that have no port."""
    assert values(Settings.load({}, KUBERNETES)) == DEFAULTS
    assert unknown_variables(KUBERNETES) == []
    with pytest.raises(InvalidSetting, match="MUX_PORT is '8000/tcp'"):
        Settings.load({}, {"MUX_PORT": "8000/tcp"})


def test_an_app_reads_no_variables_of_the_command() -> None:
    """Whatever is wrong with the address, the workers or the log of a server is nothing to a library."""
    wrong = {"MUX_HOST": "x y", "MUX_PORT": "many", "MUX_WORKERS": "-1", "MUX_LOG_LEVEL": "loud", "MUX_LOG_JSON": "?"}
    settings = Settings.load({}, wrong | {"MUX_PAGE": "perhaps", "MUX_PREFIX": "shop:"}, in_app=True)
    assert values(settings) == DEFAULTS | {"prefix": "shop:"}


def test_every_setting_that_an_app_has_no_use_for_is_the_commands() -> None:
    """Whoever adds a setting that Mux(app) does not use says so in the table, and an app does not read its variable."""
    root = Path(mux.__file__).parent
    text = "".join((root / name).read_text() for name in ("core.py", "mount.py", "app.py"))
    text += "".join(path.read_text() for part in ("endpoints", "grants") for path in (root / part).rglob("*.py"))
    used = set(re.findall(r"settings\.(\w+)", text))
    assert {spec.name for spec in fields(Settings) if not spec.metadata["of_command"]} <= used


@pytest.mark.parametrize(
    ("variable", "sentence"),
    [
        ("MUX_REDISURL", "MUX_REDISURL is no setting of mux; MUX_REDIS_URL is one"),
        ("MUX_REDIS", "MUX_REDIS is no setting of mux; MUX_REDIS_URL is one"),
        ("mux_prefix", "mux_prefix is no setting of mux; MUX_PREFIX is one"),
        ("MUX_WORKER", "MUX_WORKER is no setting of mux; MUX_WORKERS is one"),
        ("MUX_PROT", "MUX_PROT is no setting of mux; MUX_PORT is one"),
        ("MUX_QQQQQQQQQ", "MUX_QQQQQQQQQ is no setting of mux"),
    ],
)
def test_a_misspelt_variable_is_told_with_the_nearest_name(variable: str, sentence: str) -> None:
    """Its value is not repeated, for it may be a secret; variables of the other commands are right."""
    environ = {variable: "hunter2", "MUX_URL": "x", "MUX_TOKEN": "x", "MUX_PREFIX": "x", "TMUX_PANE": "%1"}
    assert unknown_variables(environ) == [sentence]


def test_a_misspelt_variable_is_logged_by_a_mux_in_an_app(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It once meant that a setting was the default, in silence."""
    monkeypatch.setenv("MUX_PREFX", "shop:")
    monkeypatch.setenv("MUX_PORT", "tcp://10.0.0.7:8000")
    Mux(Sanic("misspelt", configure_logging=False), redis_url="redis://127.0.0.1")
    assert [record.message for record in caplog.records] == ["MUX_PREFX is no setting of mux; MUX_PREFIX is one"]


@pytest.mark.parametrize("name", ["host", "ops_host"])
@pytest.mark.parametrize(
    "url", ["redis://user:hunter2@db", "redis:hunter2@db", "db:6379,password=hunter2", "'hunter2'", "db:6379", "[::1]"]
)
def test_a_url_is_no_address_to_listen_on(name: str, url: str) -> None:
    """A Redis URL in the wrong option was once repeated with its password."""
    with pytest.raises(InvalidSetting, match=f"^{name} must be a name or an address, without") as refused:
        Settings.load({name: url, "ops_port": 0}, {})
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "::1", "fe80::1%eth0", "::ffff:10.0.0.1", "feed-1.example.com"])
def test_a_name_or_an_address_is_one_to_listen_on(host: str) -> None:
    """With a zone as well, which only links of their own have."""
    settings = Settings.load({"host": host, "ops_host": host, "ops_port": 0}, {})
    assert (settings.host, settings.ops_host) == (host, host)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"token_key": "k" * 32, "token_jwks_url": "https://a.com/"}, "not with both"),
        ({"user_publish": ("chat",)}, "user_publish needs a token_key or a token_jwks_url"),
        (
            {"token_key": "k" * 32, "anyone_subscribe": ("a.*.b",)},
            "pattern 'a.*.b'; a pattern has \\* at its end",
        ),
        ({"token_key": "k" * 32, "anyone_subscribe": ("",)}, "is empty"),
        ({"token_key": "k" * 32, "user_subscribe": ("a b*",)}, "printable ASCII"),
        ({"token_key": "k" * 32, "user_subscribe": ("$probe*",)}, "reserved"),
        ({"token_jwks_url": "ftp://a.com/"}, "an http:// or https:// URL"),
        ({"token_jwks_url": "a.com/keys"}, "an http:// or https:// URL"),
        ({"token_jwks_url": "https://u:secret@a.com/"}, "without a user or a password$"),
        ({"token_jwks_url": "https://a.com:99999/"}, "an http:// or https:// URL"),
        ({"token_jwks_url": "https://a.com/\r\nX: y"}, "an http:// or https:// URL"),
        ({"token_jwks_url": "https:///keys"}, "an http:// or https:// URL"),
    ],
)
def test_settings_of_tokens_that_cannot_be(given: dict[str, Any], sentence: str) -> None:
    """Each has a sentence of its own, without what may be secret."""
    with pytest.raises(InvalidSetting, match=sentence):
        Settings(**given)


@pytest.mark.parametrize("pattern", ["*", "a", "a*", "user:{sub}:*", "{sub}"])
def test_a_pattern_is_a_channel_or_the_beginning_of_some(pattern: str) -> None:
    """With * at its end, and the subject anywhere."""
    assert Settings(token_jwks_url="https://a.com/keys", user_subscribe=(pattern,)).user_subscribe == (pattern,)
