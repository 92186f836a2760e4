"""Every setting, once: its name, default, unit, environment variable, limits and meaning.

The command line is made from this table, the environment is read by it, and Mux(app, ...) takes its
fields as keyword arguments. An explicit value wins over the environment, and the environment over the
default.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_type_hints

from mux.errors import InvalidSetting
from mux.settings.environment import environment_variable, is_given, parse
from mux.settings.values import (
    GatherMs,
    Meaning,
    check_host,
    check_jwks_url,
    check_pattern,
    check_range,
    check_secret,
    check_type,
)
from mux.wire.channel import Namespace
from mux.wire.http.host import HostPolicy
from mux.wire.http.origin import OriginPolicy

LogLevel = Literal["debug", "info", "warning", "error"]
OnGap = Literal["keep", "close"]
AnnounceAs = Literal["uuid", "subject"]

UNIX = "unix:"
"""The prefix of an address that is the path of a unix socket."""

LONGEST_SECONDS = 86_400.0
"""Most seconds of a setting that is a time: a day. Far longer times overflow where they become milliseconds."""

MIN_TOKEN_LENGTH = 8
"""Fewest characters of an inspect_token: a shorter one can be tried out over a network in days."""

MIN_API_KEY_LENGTH = 12
"""Fewest characters of a key of the API, with which anything can be published."""

_NEED_A_KEY = (
    "token_audience",
    "token_issuer",
    "token_cookie",
    "anyone_subscribe",
    "anyone_publish",
    "user_subscribe",
    "user_publish",
)


def _setting(
    default: object,
    text: str,
    unit: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    *,
    secret: bool = False,
    of_command: bool = False,
) -> Any:  # like dataclasses.field(), it stands for a value of the field's type
    meaning = Meaning(text, unit, minimum, maximum)
    return field(default=default, repr=not secret, metadata={"meaning": meaning, "of_command": of_command})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one server, or of one Mux on an app.

    Raises:
        InvalidSetting: a value is out of range or contradicts another.
    """

    host: str = _setting("127.0.0.1", "Address to listen on.", of_command=True)
    port: int = _setting(
        8000, "TCP port to listen on; 0 takes any free one.", minimum=0, maximum=65535, of_command=True
    )
    workers: int = _setting(
        1, "How many processes serve; each has one Redis connection.", minimum=1, maximum=1024, of_command=True
    )
    redis_url: str | None = _setting(
        None,
        "redis://, rediss://, unix://, redis+sentinel:// or redis+cluster:// URL; without one a server is started.",
        secret=True,
    )
    prefix: str = _setting("feed:", "What the Redis channels of this fleet start with.")
    announce: bool = _setting(True, "Publish into a channel who joins and leaves it.")
    max_message_bytes: int = _setting(65536, "Largest message a client may send.", "bytes", 1, 512 * 1024 * 1024)
    allowed_origin: tuple[str, ...] = _setting(
        (), "Origin whose pages may connect beside those of this host, as https://example.com; * is any; repeatable."
    )
    allowed_host: tuple[str, ...] = _setting(
        (),
        "Host that is served, as feed.example.com or with a port; repeatable, * is any; without one, names that may be "
        "another site's are refused on loopback.",
    )
    client_publish: bool = _setting(True, "Publish what clients send; without it only the backend publishes.")
    publisher_info: bool = _setting(False, "Tell SDK clients who has published what another has.")
    token_key: str | None = _setting(
        None,
        "Secret of 32 bytes or more, or path of a public key in PEM, that clients' tokens are checked with; without "
        "one everybody may do everything.",
        secret=True,
    )
    token_jwks_url: str | None = _setting(
        None, "https:// or http:// URL of a JWK set whose keys clients' tokens are checked with, in place of token_key."
    )
    allow_weak_token_key: bool = _setting(False, "Take a secret for token_key that is shorter.")
    token_audience: str | None = _setting(None, "What the aud of a token must be, or have.")
    token_issuer: str | None = _setting(None, "What the iss of a token must be.")
    token_cookie: str | None = _setting(None, "Cookie that may have a token, for pages that may connect.")
    anyone_subscribe: tuple[str, ...] = _setting(
        (), "Channel that everybody may subscribe to, or the beginning of channels with * at its end; repeatable."
    )
    anyone_publish: tuple[str, ...] = _setting((), "The same for publishing; repeatable.")
    user_subscribe: tuple[str, ...] = _setting(
        (), "The same for whoever has a valid token, whose subject {sub} stands for; repeatable."
    )
    user_publish: tuple[str, ...] = _setting((), "The same for publishing; repeatable.")
    max_token_checks_per_second: int = _setting(
        50, "Tokens that are not valid and are checked for one address in a second, in each process.", minimum=1
    )
    announce_as: AnnounceAs = _setting(  # noqa: RUF009 - immutable
        "uuid", "The name of a client that joins or leaves: uuid, or subject where its token has one."
    )
    max_pending_bytes: int = _setting(1024 * 1024, "A client with more waiting for it is dropped.", "bytes", 65536)
    max_pending_total_bytes: int = _setting(
        0,
        "When more waits for all clients of a process, those with most are dropped; 0 is a quarter of the memory.",
        "bytes",
        0,
    )
    max_unwritable_seconds: float = _setting(
        10.0, "A client whose socket takes nothing for so long is dropped.", "seconds", 0.05, LONGEST_SECONDS
    )
    ping_seconds: float = _setting(25.0, "How often a silent client is pinged.", "seconds", 0.05, LONGEST_SECONDS)
    pong_seconds: float = _setting(10.0, "How long it then has to answer.", "seconds", 0.01)
    probe_seconds: float = _setting(
        5.0, "How long Redis may be silent until the connection is probed; two unheard probes end it.", "seconds", 0.05
    )
    gather_ms: GatherMs = _setting(  # noqa: RUF009 - immutable
        0.0,
        "Read from Redis at most once in so many milliseconds, so that one read brings more; auto is 2 while nine of "
        "ten messages have no listener here.",
        minimum=0,
        maximum=100,
    )
    compress: bool = _setting(
        False, "Compress what clients receive, once for all that can read it (permessage-deflate, gzip, deflate)."
    )
    compress_min_bytes: int = _setting(
        256, "A smaller message, or a smaller part of an event stream, is not compressed.", "bytes", 1
    )
    max_held_bytes: int = _setting(
        4 * 1024 * 1024, "What is published while Redis is away is held, up to so much.", "bytes", 0
    )
    max_held_seconds: float = _setting(5.0, "How long it is held; then its sender is told.", "seconds", 0)
    journal_bytes: int = _setting(
        32 * 1024 * 1024,
        "The latest messages of all channels are kept, up to so much, so that clients can resume; 0 keeps none.",
        "bytes",
        0,
    )
    journal_seconds: float = _setting(
        3600.0, "How long the latest messages are kept, if journal_bytes suffice; 0 keeps none.", "seconds", 0
    )
    on_gap: OnGap = _setting(  # noqa: RUF009 - immutable
        "keep", "What happens to clients when messages may have been missed: keep, or close with 1012 to re-sync."
    )
    drain_seconds: float = _setting(
        5.0, "Over how long clients are told to go when the server stops; 0 is at once.", "seconds", 0, 3600
    )
    stall_seconds: float = _setting(
        30.0,
        "A worker whose event loop stands still for so long is killed and replaced; 0 is never.",
        "seconds",
        0,
        LONGEST_SECONDS,
        of_command=True,
    )
    log_json: bool = _setting(False, "Log JSON, an object a line.", of_command=True)
    max_connections: int = _setting(
        0, "Clients each process takes; 0 takes as many as it may open files, less a few.", minimum=0
    )
    max_connections_per_address: int = _setting(
        0, "Of these, in each process, from one address or one /64 of IPv6; 0 is any number.", minimum=0
    )
    max_channels_per_connection: int = _setting(1000, "Channels that one connection may listen to.", minimum=1)
    handshake_seconds: float = _setting(
        10.0, "A connection without a complete request by then is closed, or with half a message.", "seconds", 0.2
    )
    keep_alive_seconds: float = _setting(
        75.0,
        "How long a plain connection may wait for its next request.",
        "seconds",
        0.2,
        LONGEST_SECONDS,
        of_command=True,
    )
    max_messages_per_second: float = _setting(
        0.0,
        "A client that sends more, on average, is closed with 1008, and more commands of an SDK client are not done; "
        "0 is any number.",
        minimum=0,
    )
    max_messages_burst: int = _setting(100, "Messages a client may send at once above that.", minimum=1)
    max_control_frames_per_second: float = _setting(0.0, "The same for pings and pongs; 0 is any number.", minimum=0)
    max_control_frames_burst: int = _setting(100, "Pings and pongs a client may send at once above that.", minimum=1)
    inspect: bool = _setting(True, "Serve /stats and /channels, and give channel names to the fleet.")
    inspect_token: str | None = _setting(
        None,
        "What /stats, /channels and /metrics want as a bearer token; without one `mux serve` draws one at its start.",
        secret=True,
    )
    ops_host: str | None = _setting(
        None,
        "Address of a listener of its own for /healthz, /readyz, /metrics, /stats and /channels, or unix:/path; "
        "with a port and no address it is 127.0.0.1.",
        of_command=True,
    )
    ops_port: int | None = _setting(
        None, "TCP port of that listener; 0 takes any free one.", minimum=0, maximum=65535, of_command=True
    )
    sdk: bool = _setting(True, "Serve the SDKs of Centrifugo at /connection/websocket.", of_command=True)
    page: bool = _setting(True, "Serve a page at / that shows channels live in a browser.", of_command=True)
    log_level: LogLevel = _setting(  # noqa: RUF009 - immutable
        "info", "How much to log: debug, info, warning or error.", of_command=True
    )

    api_key: tuple[str, ...] = _setting(
        (), "Key of the HTTP API for backends, in X-API-Key; repeatable; without one there is no API.", secret=True
    )

    def _check_tokens(self) -> None:
        """Check the settings of clients' tokens against each other."""
        if self.token_key is not None and self.token_jwks_url is not None:
            raise InvalidSetting("tokens are checked with a token_key or with a token_jwks_url, and not with both")
        for name in _NEED_A_KEY:
            value = getattr(self, name)
            if value and self.token_key is None and self.token_jwks_url is None:
                raise InvalidSetting(
                    f"{name} needs a token_key or a token_jwks_url: without one everybody may do everything"
                )
            if isinstance(value, tuple):
                for text in value:
                    check_pattern(name, text)
        if self.token_jwks_url is not None:
            check_jwks_url(self.token_jwks_url)

    def __post_init__(self) -> None:
        types = get_type_hints(type(self))
        for spec in fields(self):
            value = getattr(self, spec.name)
            check_type(spec, value, types[spec.name])
            check_range(spec, value)
        if self.inspect_token is not None:
            check_secret("inspect_token", self.inspect_token, MIN_TOKEN_LENGTH)
        for key in self.api_key:
            check_secret("an api_key", key, MIN_API_KEY_LENGTH)
        self._check_tokens()
        check_host("host", self.host)
        if self.ops_host is not None and not self.ops_host.startswith(UNIX):
            check_host("ops_host", self.ops_host)
        if self.ops_host is not None and (self.ops_port is None) != self.ops_host.startswith(UNIX):
            raise InvalidSetting("ops_host is unix:/path, or an address with an ops_port")
        Namespace(self.prefix)
        OriginPolicy(self.allowed_origin)
        HostPolicy(self.allowed_host)
        if self.pong_seconds >= self.ping_seconds:
            raise InvalidSetting(
                f"pong_seconds is {self.pong_seconds:g}; it must be less than ping_seconds, {self.ping_seconds:g}"
            )

    @classmethod
    def load(
        cls,
        explicit: Mapping[str, object] | None = None,
        environ: Mapping[str, str] | None = None,
        *,
        in_app: bool = False,
    ) -> Settings:
        """Return the settings of this environment, with what is given explicitly on top.

        Args:
            explicit: fields by name; None leaves a field to the environment.
            environ: in place of the environment variables of the process.
            in_app: leave the variables unread that only `mux serve` has a use for.

        Raises:
            InvalidSetting: a value cannot be, or a name is unknown.
        """
        explicit = explicit or {}
        environ = os.environ if environ is None else environ
        types = get_type_hints(cls)
        unknown = explicit.keys() - types.keys()
        if unknown:
            raise InvalidSetting(f"unknown setting {min(unknown)!r}; there are {', '.join(types)}")
        values: dict[str, Any] = {}
        for spec in fields(cls):
            given = explicit.get(spec.name)
            variable = environment_variable(spec)
            if given is not None:
                values[spec.name] = tuple(given) if isinstance(given, list) else given
                if types[spec.name] == GatherMs and isinstance(given, str):  # of the command line
                    values[spec.name] = parse(spec.name, given, GatherMs)
            elif is_given(environ.get(variable, "")) and not (in_app and spec.metadata["of_command"]):
                values[spec.name] = parse(variable, environ[variable].strip(), types[spec.name])
        return cls(**values)
