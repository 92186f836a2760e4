"""The command line: `mux serve` (what `mux` alone does), `mux publish`, `mux tail`, `mux top` and `mux token`.

The options of `serve` are made from the fields of Settings, so that name, default, unit and environment
variable are said once. Whatever an operator can get wrong ends in one sentence and a status that is not
0: 2 for a mistake on the command line, 1 for everything else.
"""

from __future__ import annotations

import inspect
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import Field, fields
from typing import Annotated, Any, get_type_hints

import typer
from typer.core import TyperGroup

from mux.errors import InvalidSetting, MuxError
from mux.settings.environment import environment_variable, means_yes
from mux.settings.settings import Settings
from mux.settings.values import GatherMs, Meaning
from mux.version import __version__

Url = Annotated[
    str, typer.Option("--url", envvar="MUX_URL", show_envvar=True, help="Where the mux server is.", metavar="URL")
]
Channel = Annotated[str, typer.Argument(metavar="CHANNEL", help="Name of the channel.")]
Header = Annotated[
    list[str] | None,
    typer.Option("--header", metavar="'NAME: VALUE'", help="Sent with every request; repeatable.", show_default=False),
]
Ca = Annotated[
    str | None,
    typer.Option(
        "--ca", metavar="FILE", help="PEM certificates to trust instead of the machine's.", show_default=False
    ),
]
Token = Annotated[
    str | None,
    typer.Option("--token", envvar="MUX_TOKEN", show_envvar=True, metavar="TOKEN", help="Sent as a bearer token."),
]

DEFAULT_URL = "http://127.0.0.1:8000"


class _ServeByDefault(TyperGroup):
    """`mux --port 9000` means `mux serve --port 9000`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        own = {"--help", "--version", "--install-completion", "--show-completion"}
        if not args or (args[0].startswith("-") and args[0] not in own):
            args = ["serve", *args]
        return super().parse_args(ctx, args)


cli = typer.Typer(cls=_ServeByDefault, rich_markup_mode=None, pretty_exceptions_enable=False)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"mux {__version__}")
        raise typer.Exit


@cli.callback()
def mux(
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it.")] = False,
) -> None:
    """A WebSocket feed server: one Redis connection, any number of channels. Without a command: serve."""


def serve(**options: object) -> None:
    """Serve /feed/<channel> until Ctrl-C or SIGTERM."""
    settings = Settings.load(options)
    # Here and below: imported by the command that needs it, so that the others start twice as fast.
    from mux.serve.run import serve as run

    run(settings)


def _option(spec: Field[Any], kind: Any) -> inspect.Parameter:
    """Return the command-line option of a setting."""
    meaning: Meaning = spec.metadata["meaning"]
    flag = "--" + spec.name.replace("_", "-")
    default: Any = spec.default
    if kind is bool:
        default = "yes" if default else "no"
    notes = [meaning.unit, environment_variable(spec), f"default {default}" if default not in (None, ()) else ""]
    option = typer.Option(
        f"{flag}/--no-{flag[2:]}" if kind is bool else flag,
        help=f"{meaning.text} [{'; '.join(filter(None, notes))}]",
        show_default=False,
    )
    if kind == tuple[str, ...]:
        kind = list[str]
    elif kind == GatherMs:
        kind = str  # a number or a word; Settings knows which
    return inspect.Parameter(
        spec.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )


def _with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for every setting."""
    types = get_type_hints(Settings)
    parameters = [_option(spec, types[spec.name]) for spec in fields(Settings)]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what inspect reads first
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


cli.command()(_with_settings(serve))


@cli.command()
def publish(
    channel: Channel,
    message: Annotated[
        str, typer.Argument(metavar="[MESSAGE|-]", help="The message; - reads stdin, a message a line.")
    ] = "-",
    url: Url = DEFAULT_URL,
    token: Token = None,
    header: Header = None,
    ca: Ca = None,
) -> None:
    """Publish a message, or every line of standard input, to a channel."""
    from mux.command.access import parse_access
    from mux.command.publish import publish as post

    access = parse_access(header or (), ca=ca, token=token)
    post(url, channel, _lines() if message == "-" else [os.fsencode(message)], access)


@cli.command()
def tail(
    channels: Annotated[list[str], typer.Argument(metavar="CHANNEL...", help="Names of channels.")],
    url: Url = DEFAULT_URL,
    last: Annotated[
        int | None, typer.Option("--last", min=0, metavar="N", help="Begin with the last N messages of each channel.")
    ] = None,
    since: Annotated[
        str, typer.Option("--since", metavar="TIME|POSITION", help="Begin 30s ago (ms, s, m, h, d), or at a position.")
    ] = "",
    sse: Annotated[bool, typer.Option("--sse", help="Over Server-Sent Events instead of WebSockets.")] = False,
    color: Annotated[
        bool | None, typer.Option("--color/--no-color", help="Colours per channel. [default: in a terminal]")
    ] = None,
    token: Token = None,
    header: Header = None,
    ca: Ca = None,
) -> None:
    """Print what passes on channels, with times, until Ctrl-C."""
    from mux.command.access import parse_access
    from mux.command.tail.tail import tail as follow

    access = parse_access(header or (), ca=ca, token=token)
    follow(url, channels, last=last, since=since, sse=sse, colour=color, access=access)


@cli.command()
def top(
    url: Url = DEFAULT_URL,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            envvar="MUX_TOKEN",
            show_envvar=True,
            help="The server's --inspect-token; one that a server on this machine has drawn is found.",
        ),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Print one look and end.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON: a line a second, one with --once.")] = False,
    header: Header = None,
    ca: Ca = None,
) -> None:
    """Watch the whole fleet: its processes, rates and busiest channels. q quits."""
    from mux.command.access import parse_access
    from mux.command.top.top import top as watch

    watch(url, token=token, once=once, json=json, access=parse_access(header or (), ca=ca))


@cli.command("token")
def make_token(
    token: Annotated[
        str | None,
        typer.Argument(
            metavar="[TOKEN]", help="With --check: the token, or it is read from stdin.", envvar="MUX_TOKEN"
        ),
    ] = None,
    sub: Annotated[str | None, typer.Option("--sub", metavar="SUBJECT", help="Whose token it is.")] = None,
    subscribe: Annotated[
        list[str] | None, typer.Option("--subscribe", metavar="PATTERN", help="What it may subscribe to; repeatable.")
    ] = None,
    publish: Annotated[
        list[str] | None, typer.Option("--publish", metavar="PATTERN", help="What it may publish to; repeatable.")
    ] = None,
    expires: Annotated[
        str, typer.Option("--expires", metavar="TIME", help="How long it holds: 90s, 15m, 1h, 30d.")
    ] = "1h",
    check: Annotated[bool, typer.Option("--check", help="Say what a token grants, instead of making one.")] = False,
    token_key: Annotated[
        str | None,
        typer.Option("--token-key", help="The server's secret, or the PEM of its private key. [MUX_TOKEN_KEY]"),
    ] = None,
    allow_weak_token_key: Annotated[
        bool | None,
        typer.Option("--allow-weak-token-key", help="Take a secret that is shorter. [MUX_ALLOW_WEAK_TOKEN_KEY]"),
    ] = None,
    token_audience: Annotated[
        str | None, typer.Option("--token-audience", help="Its aud. [MUX_TOKEN_AUDIENCE]")
    ] = None,
    token_issuer: Annotated[str | None, typer.Option("--token-issuer", help="Its iss. [MUX_TOKEN_ISSUER]")] = None,
) -> None:
    """Print a token for clients of a server with this key, or say what one grants."""
    from mux.command.server_url import escape_controls
    from mux.grants.mint import mint, seconds_of
    from mux.grants.telling import told

    given = {
        "token_key": token_key,
        "allow_weak_token_key": allow_weak_token_key,
        "token_audience": token_audience,
        "token_issuer": token_issuer,
    }
    settings = Settings.load(given)
    if check:
        for line in told(settings, token or sys.stdin.read().strip()):
            print(escape_controls(line))
        return
    if settings.token_key is None:
        raise InvalidSetting("a token needs the server's key: --token-key or MUX_TOKEN_KEY")
    print(
        mint(
            settings.token_key,
            subject=sub,
            subscribe=subscribe or [],
            publish=publish or [],
            seconds=seconds_of(expires),
            audience=settings.token_audience,
            issuer=settings.token_issuer,
            allows_weak=settings.allow_weak_token_key,
        )
    )


def _lines() -> Iterator[bytes]:
    for line in sys.stdin.buffer:
        yield line.rstrip(b"\r\n")


def main() -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 misused, 130 interrupted."""
    try:
        status = cli(standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except typer.TyperException as error:
        _fail(_without_addresses(error.format_message()), 2)
    except InvalidSetting as error:
        _fail(str(error), 2)
    except MuxError as error:
        _fail(str(error), 1)
    except OSError as error:
        # Whatever is read-only, full or forbidden is the operator's to mend; for all else there is the debug log.
        logging.getLogger("mux").debug("the system refused", exc_info=True)
        what = f" {error.filename}" if error.filename is not None else ""
        if sys.stdout is not None:  # it may be what is full; then Python would say so once more at its end
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _fail(f"the system refuses{what}: {(error.strerror or str(error)).lower()}", 1)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
    sys.exit(status if isinstance(status, int) else 0)


def _without_addresses(sentence: str) -> str:
    """Take what may have a password in it out of a sentence about the command line: a URL in the wrong place."""
    given = sys.argv[1:]
    for word in (*given, *(part for one in given for part in one.split("=", 1))):
        if "@" in word or "://" in word or "password" in word.lower():
            sentence = sentence.replace(repr(word), "an address").replace(word, "an address")
    return sentence


def _fail(sentence: str, status: int) -> None:
    # Imported here, as above.
    from mux.logs.lines import STDERR, json_line
    from mux.logs.writer import write_at_once

    for handler in logging.getLogger().handlers:
        handler.flush()
    write_at_once(STDERR, json_line(logging.CRITICAL, "mux", sentence) if _wants_json() else f"mux: {sentence}")
    sys.exit(status)


def _wants_json() -> bool:
    """Return whether `mux serve` was asked for JSON; settings that cannot be read do not tell."""
    words = sys.argv[1:]
    if words and words[0] != "serve" and not words[0].startswith("-"):
        return False
    given = [word for word in words if word in ("--log-json", "--no-log-json")]
    return given[-1] == "--log-json" if given else means_yes(os.environ.get("MUX_LOG_JSON", ""))
