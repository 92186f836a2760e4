"""What the pages name is there: links, files, commands, options, settings, metrics and methods."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
from configparser import ConfigParser
from functools import cache
from pathlib import Path

import pytest

import mux
from mux.metrics.catalogue import METRICS
from mux.settings.environment import environment_variable
from mux.settings.settings import Settings
from tests.support.pages import ROOT, blocks
from tests.support.servers import run_mux

PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / ".github").glob("*.md")),
    *(page for part in ("mux", "bench", "tests") for page in sorted((ROOT / part).glob("**/README.md"))),
]
PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))

LARGEST_README_BYTES = 13_000
"""The first page answers what a newcomer asks; the rest belongs to the folder that it is about."""

OF_OTHERS = {"--env-file"}
"""Options of other programs that a sentence names."""

ENDINGS = {"counter": ["_total"], "gauge": [""], "histogram": ["", "_bucket", "_sum", "_count"]}
"""What comes after the name of a metric, by its kind; a histogram as a whole is named without any."""


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
    for line in shown(page):
        for name in re.findall(r"(?<!\S)((?:mux|tests|bench)/\w[\w./-]*)", line):
            assert (ROOT / name).exists(), name


@pytest.mark.parametrize("folder", sorted({path.parent for path in (ROOT / "mux").glob("**/__init__.py")}), ids=str)
def test_every_folder_says_what_it_is_for(folder: Path) -> None:
    """A part of a protocol is on the page of the folder above."""
    assert (folder / "README.md").exists() or folder.parent.name == "wire"


def shown(page: Path) -> list[str]:
    """Return the lines of a page's blocks, without what is said beside a command."""
    return [line.partition("  #")[0].strip() for block in blocks(page) for line in block.splitlines()]


@cache
def options_of(command: str) -> set[str]:
    """Return every option that a command takes; of no command, those of mux itself."""
    return set(re.findall(r"--[a-z][a-z-]+", run_mux(*command.split(), "--help").stdout))


def commands(page: Path) -> list[list[str]]:
    """Return what follows `mux` in each command of a page, in blocks and in sentences."""
    in_sentences = re.findall(r"`mux((?: [^`]*)?)`", page.read_text())
    in_blocks = [found[1] for line in shown(page) if (found := re.search(r"(?:^|&& |/bin/)mux((?: [^=({]*)?)$", line))]
    return [shlex.split(rest) for rest in (*in_blocks, *in_sentences)]


def test_every_command_is_understood() -> None:
    """What a newcomer copies is a command of mux, with options that this command takes."""
    known = set(re.findall(r"^  (\w+) ", run_mux("--help").stdout.partition("Commands:")[2], re.MULTILINE))
    seen = set()
    for words in (words for page in PAGES for words in commands(page)):
        command = words[0] if words and not words[0].startswith("--") else ""
        seen.add(command)
        assert {word for word in words if word.startswith("--")} <= options_of(command), words
    assert {"serve", "publish", "tail", "top"} <= seen <= known | {""}


def test_every_option_that_a_sentence_names_exists() -> None:
    """Some command of mux takes it."""
    known = set().union(*(options_of(command) for command in ("", "serve", "publish", "tail", "top", "token")))
    text = "\n".join(page.read_text() for page in PAGES if "bench" not in page.parts and "tests" not in page.parts)
    assert set(re.findall(r"`(--[a-z][a-z-]+)", text)) - known <= OF_OTHERS


@PAGE
def test_every_environment_of_tox_and_every_module_exists(page: Path) -> None:
    """What is run by `tox -e`, `tox -m` or `python -m` is there."""
    tox = ConfigParser()
    tox.read(ROOT / "tox.ini")
    text = page.read_text()
    for name in re.findall(r"tox -e (\w+)", text):
        assert f"testenv:{name}" in tox, name
    for label in re.findall(r"tox -m (\w+)", text):
        assert f"{label} =" in tox["tox"]["labels"], label
    for module in re.findall(r"python -m ([a-z][\w.]*\w)", text):
        assert importlib.util.find_spec(module) is not None, module


@PAGE
def test_every_setting_and_metric_that_is_named_exists(page: Path) -> None:
    """Operators copy them into files and alerts; of a metric that was renamed the changelog has the name before."""
    variables = {environment_variable(spec) for spec in Settings.__dataclass_fields__.values()}
    exposed = {metric.name + ending for metric in METRICS for ending in ENDINGS[metric.kind]}
    text = re.sub(r"^ *\| `mux_\w+` (?=\| `mux_)", "", page.read_text(), flags=re.MULTILINE)
    assert set(re.findall(r"\bMUX_[A-Z_]+[A-Z]\b", text)) <= variables | {"MUX_URL", "MUX_TOKEN"}
    assert set(re.findall(r"\bmux_[a-z_]+", text)) <= exposed


@PAGE
def test_every_method_that_is_named_exists(page: Path) -> None:
    """What an app calls on its Mux."""
    for name in re.findall(r"\bmux\.([a-z_]+)\(", page.read_text()):
        assert hasattr(mux.Mux, name), name


def test_the_first_page_is_short() -> None:
    """People who have never seen the project decide in a minute."""
    assert len((ROOT / "README.md").read_bytes()) < LARGEST_README_BYTES


def test_the_top_level_has_what_was_agreed_on() -> None:
    """Everything else belongs into one of the folders; what git does not know is not looked at."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split(
        "\n"
    )
    top = {line.partition("/")[0] for line in listed if line and not line.startswith(".")}
    assert top <= {"mux", "bench", "tests", "pyproject.toml", "tox.ini", "README.md", "LICENSE"}
