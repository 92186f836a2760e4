"""The commands of `python -m bench`.

What draws is imported when there is something to draw: it takes longer to load than all the rest.
"""

from __future__ import annotations

import ipaddress
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from redis.exceptions import RedisError

from bench import screen, tables
from bench.compare import Comparison, installed
from bench.compare import compare as run_comparison
from bench.interrupt import interruptible
from bench.loadgen.dialect import PLAIN, SOCKET_IO, Target, parse_target
from bench.loadgen.limits import descriptors_for
from bench.loadgen.publisher import Door
from bench.loadgen.run import Load
from bench.loadgen.stamp import STAMP_BYTES
from bench.measure import measure
from bench.meters import find_server
from bench.peers.registry import DEFAULT_DIRECTORY
from bench.readme import write_section
from bench.results import RESULTS, ROOT, environment, save
from bench.scale import FULL_STEPS, SMOKE_STEPS, curves
from bench.summary import ALL_CASES
from bench.works import FULL, SMOKE

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

OWN_HOST = "--i-own-this-host"

INTERRUPTED = 130
"""What a shell gives for a command that Ctrl-C ended."""


@app.callback()
def bench() -> None:
    """Load servers, and compare them."""


@app.command()
def load(
    url: Annotated[str, typer.Option(help="ws:// URL; {channel} in it is replaced, or else appended.")],
    clients: Annotated[int, typer.Option(min=1, help="Connections to open.")] = 1000,
    channels: Annotated[int, typer.Option(min=1, help="Channels they are spread over.")] = 1,
    rate: Annotated[float, typer.Option(min=0, help="Messages a second, all channels together.")] = 1000,
    seconds: Annotated[float, typer.Option(min=0, help="How long to publish; 0 only connects.")] = 10,
    size: Annotated[int, typer.Option(min=STAMP_BYTES, help="Bytes of a message.")] = 128,
    redis_url: Annotated[
        str | None, typer.Option(help="Publish here; else the first client of each channel publishes.")
    ] = None,
    redis_channel: Annotated[str, typer.Option(help="The Redis channel of a channel.")] = "feed:{channel}",
    processes: Annotated[int, typer.Option(min=1, help="Processes that receive.")] = 1,
    at_once: Annotated[int, typer.Option(min=1, help="Handshakes under way at a time.")] = 256,
    socket_io: Annotated[bool, typer.Option("--socket-io", help="Speak Socket.IO: emit join and publish.")] = False,
    i_own_this_host: Annotated[bool, typer.Option(OWN_HOST, help="Send load to another machine.")] = False,
    results: Annotated[Path, typer.Option(help="Where to write.")] = RESULTS,
) -> None:
    """Load one server: open clients, publish on a schedule, count what arrives and how late."""
    target = _target(url)
    if not _is_loopback(target.host) and not i_own_this_host:
        _fail(f"{target.host} is not this machine; load is sent elsewhere only with {OWN_HOST}")
    per_process = -(-clients // processes)
    fit = descriptors_for(per_process)
    if fit < per_process:
        typer.echo(f"the descriptor limit (ulimit -Hn) allows {fit} connections a process: {clients} are too many")
        clients = fit * processes
    if channels > clients:
        _fail(f"{channels} channels need as many clients, and there are {clients}")
    if redis_url is None and processes > 1:
        _fail("more than one process receives only what is published with --redis-url")
    work = Load(
        target=target,
        clients=clients,
        channels=channels,
        messages=round(rate * seconds),
        rate=rate,
        message_bytes=size,
        door=Door(url=redis_url, channel=redis_channel) if redis_url else None,
        dialect=SOCKET_IO if socket_io else PLAIN,
        processes=processes,
        at_once=at_once,
    )
    server = find_server(target.port) if _is_loopback(target.host) else None
    with screen.progress() as say, interruptible() as interrupt:
        try:
            result = measure(work, server, redis_url, say, stop=interrupt.is_asked)
        except (OSError, RuntimeError, RedisError, ValueError) as error:
            _fail(str(error))
    screen.show_load(result, work)
    parameters = {"url": url, "clients": clients, "channels": channels, "rate": rate, "seconds": seconds, "size": size}
    made = environment()
    content = {"environment": made, "parameters": parameters, "interrupted": interrupt.is_asked()}
    path = save("load", content | {"result": result.as_json()}, results)
    screen.show_path(path)
    if result.counts is not None:
        what = f"{clients:,} clients, {channels:,} channels, {rate:,g} messages/s of {size:,} B for {seconds:g} s"
        from bench.plots.load import plot_load

        for plot in plot_load(result.counts, result.moments, made, results, what=what):
            screen.show_path(plot)
    if interrupt.is_asked():
        raise typer.Exit(INTERRUPTED)
    if result.refused:
        _fail(f"{result.refused} clients were not served: {result.reason}")


@app.command()
def compare(
    rounds: Annotated[int, typer.Option(min=1, help="How often everything is repeated.")] = 3,
    only: Annotated[list[str] | None, typer.Option(help="Only servers with this in their name; repeatable.")] = None,
    case: Annotated[list[str] | None, typer.Option(help="Only this work; repeatable.")] = None,
    peers_dir: Annotated[Path, typer.Option(help="Where the peers are installed.")] = DEFAULT_DIRECTORY,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long to publish, in works with a rate.")] = FULL.seconds,
    every_round: Annotated[
        bool, typer.Option("--every-round", help="Ask also those again who lost a tenth of a work or failed.")
    ] = False,
    smoke: Annotated[bool, typer.Option("--smoke", help="Tiny amounts; the numbers mean nothing.")] = False,
    results: Annotated[Path, typer.Option(help="Where to write.")] = RESULTS,
) -> None:
    """Give mux and every installed peer the same work, and print one table and plots."""
    peers_dir = peers_dir.resolve()
    contenders, said = installed(peers_dir, only or ())
    unknown = set(case or ()) - {one.name for one in ALL_CASES}
    if unknown:
        _fail(f"there is no work named {min(unknown)!r}; there are {', '.join(one.name for one in ALL_CASES)}")
    comparison = Comparison(peers=said)
    path = results / "compare.json"
    made = environment()

    def keep() -> None:
        save("compare", {"environment": made, "rounds": rounds, **comparison.as_json()}, results)

    with _to_the_end_or_ctrl_c() as ended, screen.progress() as say:
        run_comparison(
            contenders,
            comparison,
            rounds=rounds,
            amounts=SMOKE if smoke else replace(FULL, seconds=seconds),
            peers=peers_dir,
            cases=case or (),
            spare_hopeless=not every_round,
            say=say,
            after_step=keep,
        )
    if not comparison.cases:
        raise typer.Exit(INTERRUPTED)
    tables.show(comparison)
    screen.show_path(path)
    from bench.plots.compare import plot_comparison

    for plot in plot_comparison(comparison, made, results):
        screen.show_path(plot)
    ended()


@app.command()
def scale(
    smoke: Annotated[bool, typer.Option("--smoke", help="Tiny amounts; the numbers mean nothing.")] = False,
    results: Annotated[Path, typer.Option(help="Where to write.")] = RESULTS,
) -> None:
    """Show how the cost of mux grows with subscribers, channels, payload, processes and connections."""
    steps = SMOKE_STEPS if smoke else FULL_STEPS
    fit = descriptors_for(max(steps.connections))
    if fit < max(steps.connections):
        typer.echo(f"the descriptor limit (ulimit -Hn) allows {fit} connections: larger steps are left out")
        steps = replace(steps, connections=[count for count in steps.connections if count <= fit])
    found = []
    made = environment()
    with _to_the_end_or_ctrl_c() as ended, screen.progress() as say:
        for curve in curves(steps, DEFAULT_DIRECTORY, say):
            found.append(curve)
            content = {"environment": made, "curves": [one.as_json() for one in found]}
            path = save("scale", content, results)
    if not found:
        raise typer.Exit(INTERRUPTED)
    for curve in found:
        screen.table(
            curve.title,
            (curve.x_label, curve.y_label),
            [(f"{x:,.0f}", screen.number(y)) for x, y in zip(curve.x, curve.y, strict=True)],
            left=0,
        )
        screen.console.print(curve.sentence(), soft_wrap=True)
    screen.show_path(path)
    from bench.plots.scale import plot_curves

    for plot in plot_curves(found, made, results):
        screen.show_path(plot)
    ended()


@app.command()
def readme(
    path: Annotated[Path, typer.Option(help="The file with the two markers.")] = ROOT / "README.md",
    check: Annotated[bool, typer.Option("--check", help="Change nothing; fail if it is not up to date.")] = False,
    results: Annotated[Path, typer.Option(help="Where the results are.")] = RESULTS,
) -> None:
    """Write the README's benchmark tables from the results files."""
    try:
        is_current = write_section(path, results, check=check)
    except (OSError, ValueError) as error:
        _fail(str(error))
    if check and not is_current:
        _fail(f"{path} is not what the results say: run `python -m bench readme`")


def _target(url: str) -> Target:
    try:
        return parse_target(url)
    except ValueError as error:
        _fail(str(error))


def _is_loopback(host: str) -> bool:
    try:
        addresses = socket.getaddrinfo(host, None)
    except OSError as error:
        _fail(f"{host}: {error.strerror}")
    return all(ipaddress.ip_address(address[4][0]).is_loopback for address in addresses)


@contextmanager
def _to_the_end_or_ctrl_c() -> Iterator[Callable[[], None]]:
    """Let Ctrl-C end the block, so that what there is is shown; gives what then makes an exit status of it."""
    interrupted = False

    def ended() -> None:
        if interrupted:
            raise typer.Exit(INTERRUPTED)

    try:
        yield ended
    except KeyboardInterrupt:
        interrupted = True
        screen.console.print("interrupted: this is what there is so far")


def _fail(reason: str) -> NoReturn:
    print(f"error: {reason}", file=sys.stderr)
    raise typer.Exit(2)


def main() -> None:
    """Run a command; SIGTERM ends it like Ctrl-C, so that no server outlives it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    app()
