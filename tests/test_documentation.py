"""What the pages name is there: links, files, commands, options, settings and metrics."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mux.metrics import catalogue
from mux.settings import Settings, environment_variable
from tests.support.servers import run_mux

ROOT = Path(__file__).parent.parent
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *(page for part in ("mux", "bench", "tests") for page in sorted((ROOT / part).glob("**/README.md"))),
]
PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))

LARGEST_README_BYTES = 13_000
"""The first page answers what a newcomer asks; the rest belongs to the folder that it is about."""


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@PAGE
def test_every_link_leads_somewhere(page: Path) -> None:
    """A page of this repository, and a heading of it."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), target
        if anchor:
            assert anchor in anchors(found), target


@PAGE
def test_every_file_that_is_named_exists(page: Path) -> None:
    """Files of the repository are named by their path from its root, or from the folder of the page."""
    for name in re.findall(r"`((?:mux|tests|bench|\.github|\.ci)/[\w./-]+)`", page.read_text()):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"`([\w/]+\.py)`", page.read_text()):
        assert (page.parent / name).exists() or (ROOT / name).exists(), name


def commands() -> Iterator[str]:
    """Yield every command of mux that a page shows."""
    for page in PAGES:
        yield from re.findall(r"^    mux +(serve|publish|tail|top|token)\b", page.read_text(), re.MULTILINE)


def test_every_command_and_option_that_is_named_exists() -> None:
    """What a newcomer types is understood."""
    shown = set(commands())
    assert shown >= {"serve", "publish", "tail", "top"}
    known = {option for one in shown for option in re.findall(r"--[a-z][a-z-]+", run_mux(one, "--help").stdout)}
    text = "\n".join(page.read_text() for page in PAGES if "bench" not in page.parts and "tests" not in page.parts)
    named = set(re.findall(r"`(--[a-z][a-z-]+)", text))
    assert named - known <= {"--env-file"}, "options of other programs"


def test_every_setting_and_metric_that_is_named_exists() -> None:
    """Operators copy them into files and alerts."""
    variables = {environment_variable(spec) for spec in Settings.__dataclass_fields__.values()}
    source = Path(catalogue.__file__).read_text()
    for page in PAGES:
        text = page.read_text()
        assert set(re.findall(r"\bMUX_[A-Z_]+[A-Z]\b", text)) <= variables | {"MUX_URL", "MUX_TOKEN"}
        for metric in re.findall(r"`(mux_[a-z_]+)", text):
            assert metric.removeprefix("mux_").removesuffix("_total").removesuffix("_seconds") in source, metric


def test_the_first_page_is_short() -> None:
    """People who have never seen the project decide in a minute."""
    assert len((ROOT / "README.md").read_bytes()) < LARGEST_README_BYTES
