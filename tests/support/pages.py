"""The pages of this repository, and the blocks of code in them."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]
OPERATING = ROOT / "mux/serve/README.md"


def blocks(page: Path) -> list[str]:
    """Return every indented block of a page, without its indentation; an empty line does not end a block."""
    found = re.findall(r"(?:^    .*\n(?:\n(?=    ))?)+", page.read_text(), re.MULTILINE)
    return [textwrap.dedent(block) for block in found]


def block(page: Path, beginning: str) -> str:
    """Return the one block of a page that begins so."""
    (found,) = [block for block in blocks(page) if block.startswith(beginning)]
    return found
