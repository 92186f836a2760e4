"""The README's benchmark section: written from the results files, never by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import tables
from bench.compare import Comparison
from bench.curve import Curve
from bench.losses import losses
from bench.results import read
from bench.works import FULL

BEGIN = "<!-- bench: begin -->"
END = "<!-- bench: end -->"

PICTURES = "bench/results"
"""Where the pictures are, seen from the README."""


def write_section(path: Path, results: Path, *, check: bool) -> bool:
    """Put the section between the markers; return whether it was there already.

    Args:
        path: the README.
        results: the directory with compare.json and scale.json.
        check: write nothing.

    Raises:
        ValueError: the file has not both markers.
        OSError: a file cannot be read or written.
    """
    text = path.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} needs the lines {BEGIN} and {END}")
    wanted = "\n".join([before + BEGIN, "", *section(results), "", END + after])
    if wanted != text and not check:
        path.write_text(wanted)
    return wanted == text


def section(results: Path) -> Iterator[str]:
    """Give the lines of the section."""
    content = read(results / "compare.json")
    comparison = Comparison.from_json(content)
    yield from tables.markdown(comparison)
    yield ""
    yield (
        "Medians; in brackets how many times mux' cost it is, or for mux how many times the limit's, paired within"
        " each round. The limit is a loop of `send()` of ready bytes. † lost messages, or did not deliver them within"
        f" {FULL.longest:g} s of the last ({FULL.longest_burst:g} s where all are due at once). Who lost a tenth was"
        " not asked again in the next round."
    )
    lost = list(losses(comparison))
    if lost:
        yield ""
        yield "**Where mux is not first, and why**, with how many times mux' cost theirs is:"
        yield ""
        yield from (f"- {one.sentence()}" for one in lost)
    bad = list(tables.markdown_disjoint(comparison))
    if bad:
        yield ""
        yield (
            "The case that is bad for us, channels spread over several processes: every process hears every message,"
            " and Redis sends it to each."
        )
        yield ""
        yield from bad
    yield ""
    yield f"![What the same work costs]({PICTURES}/compare.svg)"
    if (results / "scale.json").exists():
        yield from _scale(read(results / "scale.json"))
    yield ""
    yield _made_with(content, comparison)


def _rounds(count: int) -> str:
    return "1 round: no spread" if count == 1 else f"{count} rounds"


def _scale(content: dict[str, Any]) -> Iterator[str]:
    yield ""
    yield f"How cost grows (`{content['environment']['command']}`, commit {content['environment']['commit']}):"
    yield ""
    yield "| | law fitted | |"
    yield "|---|---|---|"
    for curve in map(Curve.from_json, content["curves"]):
        bend = f"bends: {curve.why}" if curve.bends else ""
        yield f"| {curve.title}, {curve.y_label} | {curve.law} | {bend} |"
    yield ""
    yield f"![How cost grows]({PICTURES}/scale.svg)"


def _made_with(content: dict[str, Any], comparison: Comparison) -> str:
    made: dict[str, Any] = content["environment"]
    versions = ", ".join(f"{name} {number}" for name, number in made["versions"].items())
    others = "; ".join(about["version"] for about in comparison.peers.values() if about.get("version"))
    return (
        f"`{made['command']}`, commit {made['commit']}, {made['date'][:10]}, {_rounds(content['rounds'])}, "
        f"{made['cpu']}, {made['cpus']} CPUs, {made['system']}, Python {made['python']}: {versions}. Peers: {others}."
    )
