"""The commands of `python -m bench`.

What draws is imported when there is something to draw: it takes longer to load than all the rest.
"""

from __future__ import annotations

import ipaddress
import signal
import socket
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from redis.exceptions import RedisError

from bench import report
from bench.compare import Comparison, Step, installed
from bench.compare import compare as run_comparison
from bench.loadgen.crowd import descriptors_for
from bench.loadgen.dialect import PLAIN, SDK, SDK_PATH, SOCKET_IO, Inlet, Target, parse_target
from bench.loadgen.load import Load
from bench.loadgen.stamp import STAMP_BYTES
from bench.measure import measure
from bench.peers.registry import DEFAULT_DIRECTORY
from bench.report import console, number
from bench.results import RESULTS, ROOT, environment, save
from bench.scale import FULL as FULL_STEPS
from bench.scale import SMOKE as SMOKE_STEPS
from bench.scale import curves
from bench.servers import find_server
from bench.works import CASES, SECONDS

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

OWN_HOST = "--i-own-this-host"

INTERRUPTED = 130
"""The exit status that a shell gives for a command that Ctrl-C ended."""

Results = Annotated[Path, typer.Option(help="Where to write.")]
Smoke = Annotated[bool, typer.Option("--smoke", help="Tiny amounts; the numbers mean nothing.")]


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
    at_once: Annotated[int, typer.Option(min=1, help="Handshakes under way at a time.")] = 256,
    socket_io: Annotated[bool, typer.Option("--socket-io", help="Speak Socket.IO: emit join and publish.")] = False,
    sdk: Annotated[bool, typer.Option("--sdk", help=f"Be SDK clients of Centrifugo, at {SDK_PATH}.")] = False,
    i_own_this_host: Annotated[bool, typer.Option(OWN_HOST, help="Send load to another machine.")] = False,
    results: Results = RESULTS,
) -> None:
    """Load one server: open clients, publish on a schedule, count what arrives and how late."""
    target = replace(_target(url), path=SDK_PATH) if sdk else _target(url)
    quote = b'"' if sdk else b""
    is_here = _is_loopback(target.host)
    if not is_here and not i_own_this_host:
        _fail(f"{target.host} is not this machine; load is sent elsewhere only with {OWN_HOST}")
    if (fit := descriptors_for(clients)) < clients:
        typer.echo(f"the descriptor limit (ulimit -Hn) allows {fit} connections: {clients} are too many")
        clients = fit
    if channels > clients:
        _fail(f"{channels} channels need as many clients, and there are {clients}")
    work = Load(
        target=target,
        clients=clients,
        channels=channels,
        messages=round(rate * seconds),
        rate=rate,
        message_bytes=size,
        inlet=Inlet(url=redis_url, channel=redis_channel, before=quote, after=quote) if redis_url else None,
        dialect=SOCKET_IO if socket_io else SDK if sdk else PLAIN,
        at_once=at_once,
    )
    stop = threading.Event()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, lambda number, frame: _end(stop))
    try:
        result = measure(work, find_server(target.port) if is_here else None, redis_url, stop=stop.is_set)
    except (OSError, RuntimeError, RedisError, ValueError) as error:
        _fail(str(error))
    report.table(url, ("", ""), [(name, number(value, 4)) for name, value in result.figures.items()])
    parameters = {"url": url, "clients": clients, "channels": channels, "rate": rate, "seconds": seconds, "size": size}
    made = environment()
    content = {"environment": made, "parameters": parameters, "interrupted": stop.is_set(), "result": result.figures}
    _written(save("load", content, results))
    if result.delivery is not None:
        from bench.plots import plot_load

        what = f"{clients:,} clients, {channels:,} channels, {rate:,g} messages/s of {size:,} B for {seconds:g} s"
        _written(plot_load(result.delivery.counts, made, results, what=what))
    if stop.is_set():
        raise typer.Exit(INTERRUPTED)
    if refused := result.figures["refused"]:
        _fail(f"{refused:.0f} clients were not served: {result.reason}")


@app.command()
def compare(
    rounds: Annotated[int, typer.Option(min=1, help="How often everything is repeated.")] = 3,
    only: Annotated[list[str] | None, typer.Option(help="Only servers with this in their name; repeatable.")] = None,
    case: Annotated[list[str] | None, typer.Option(help="Only this work; repeatable.")] = None,
    peers_dir: Annotated[Path, typer.Option(help="Where the peers are installed.")] = DEFAULT_DIRECTORY,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long to publish, in works with a rate.")] = SECONDS,
    every_round: Annotated[
        bool, typer.Option("--every-round", help="Ask those again too that lost a tenth of a work or failed.")
    ] = False,
    smoke: Smoke = False,
    results: Results = RESULTS,
) -> None:
    """Give mux and every installed peer the same work, and print one table and plots."""
    peers_dir = peers_dir.resolve()
    contenders, said = installed(peers_dir, only or ())
    names = [one.name for one in CASES]
    if unknown := set(case or ()) - set(names):
        _fail(f"there is no work named {min(unknown)!r}; there are {', '.join(names)}")
    comparison = Comparison(peers=said)
    made = environment()

    def keep(step: Step) -> None:
        figures = comparison.cases[step.case.name][step.name][-1]
        console.print(f"{step.case.name}: {step.name}: {number((figures or {}).get(step.case.unit))} {step.case.unit}")
        save("compare", {"environment": made, "rounds": rounds, **comparison.as_json()}, results)

    is_interrupted = False
    try:
        run_comparison(
            contenders,
            comparison,
            rounds=rounds,
            smoke=smoke,
            seconds=seconds,
            peers=peers_dir,
            cases=case or (),
            spares_hopeless=not every_round,
            after_step=keep,
        )
    except KeyboardInterrupt:
        is_interrupted = True
    if comparison.cases:
        from bench.plots import plot_comparison

        report.show(comparison)
        _written(results / "compare.json")
        _written(plot_comparison(comparison, made, results))
    if is_interrupted:
        raise typer.Exit(INTERRUPTED)


@app.command()
def scale(smoke: Smoke = False, results: Results = RESULTS) -> None:
    """Show how the cost of mux grows with subscribers, channels, payload, processes and connections."""
    steps = SMOKE_STEPS if smoke else FULL_STEPS
    wanted = steps["connection-memory"]
    if (fit := descriptors_for(round(max(wanted)))) < max(wanted):
        typer.echo(f"the descriptor limit (ulimit -Hn) allows {fit} connections: larger steps are left out")
        steps = steps | {"connection-memory": [count for count in wanted if count <= fit]}
    found = []
    made = environment()
    for curve in curves(steps, console.print):
        found.append(curve)
        path = save("scale", {"environment": made, "curves": [one.as_json() for one in found]}, results)
        bend = f"; it bends: {curve.why}" if curve.bends else ""
        console.print(f"{curve.title}: {curve.y_label} = {curve.law}{bend}", style="bold", soft_wrap=True)
    from bench.plots import plot_curves

    _written(path)
    _written(plot_curves(found, made, results))


@app.command()
def readme(
    root: Annotated[Path, typer.Option(help="The directory of README.md and bench/README.md.")] = ROOT,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; fail if they are not up to date.")] = False,
    results: Annotated[Path, typer.Option(help="Where the results are.")] = RESULTS,
) -> None:
    """Write the benchmark sections of both documents from the results files."""
    try:
        changed = report.write_documents(root, results, check=check)
    except (OSError, ValueError) as error:
        _fail(str(error))
    if check and changed:
        _fail(f"{changed[0]} is not what the results say: run `python -m bench readme`")


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


def _end(stop: threading.Event) -> None:
    """Let a run end early and be reported; a second Ctrl-C ends it at once."""
    if stop.is_set():
        raise KeyboardInterrupt
    stop.set()


def _written(path: Path | None) -> None:
    if path is not None:
        console.print(f"written: {path}", soft_wrap=True)


def _fail(reason: str) -> NoReturn:
    print(f"error: {reason}", file=sys.stderr)
    raise typer.Exit(2)


def main() -> None:
    """Run a command; SIGTERM ends it like Ctrl-C, so that no server outlives it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    app()
