"""Tables and paragraphs of exactly the width there is: what does not fit is left out, never wrapped.

Pure but for rich.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.text import Text

GAP = 2
"""Characters between two columns."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of numbers, or of bars if not right; rank 0 is the last to leave when it is narrow."""

    title: str
    width: int
    rank: int
    right: bool = True


def fitting(columns: Sequence[Column], width: int) -> list[int]:
    """Return which columns fit beside each other, in their order; the one of rank 0 always does.

    The first that does not fit ends it: a less important one does not take its place.
    """
    chosen: list[int] = []
    left = width + GAP
    for at in sorted(range(len(columns)), key=lambda at: columns[at].rank):
        left -= columns[at].width + GAP
        if left < 0 and chosen:
            break
        chosen.append(at)
    return sorted(chosen)


def table(
    columns: Sequence[Column], rows: Sequence[Sequence[Text] | Text], width: int, *, ellipsis: bool
) -> Iterator[Text]:
    """Yield a line of titles and a line per row; the first column takes the width that is left.

    A row that is one text goes across all columns.
    """
    shown = fitting(columns, width)
    widths = {at: columns[at].width for at in shown}
    widths[shown[0]] += max(0, width - sum(widths.values()) - GAP * (len(shown) - 1))
    titles = [Text(column.title, "dim") for column in columns]
    for row in [titles, *rows]:
        if isinstance(row, Text):
            yield fitted(row, width, ellipsis=ellipsis)
            continue
        line = Text()
        for place, at in enumerate(shown):
            right = place > 0 and columns[at].right
            line.append(" " * (GAP if place else 0))
            line.append_text(fitted(row[at], min(widths[at], width), ellipsis=ellipsis, right=right))
        yield line


def fitted(text: Text, width: int, *, ellipsis: bool, right: bool = False) -> Text:
    """Return a text of exactly this width, in cells of the terminal."""
    text = text.copy()
    text.truncate(width, overflow="ellipsis" if ellipsis else "crop")
    text.align("right" if right else "left", width)
    return text


def paragraph(chunks: Sequence[Text], width: int) -> list[Text]:
    """Return lines of chunks, three spaces apart; a chunk is never divided."""
    lines: list[Text] = []
    for chunk in chunks:
        if lines and lines[-1].cell_len + 3 + chunk.cell_len <= width:
            lines[-1].append("   ").append_text(chunk)
        else:
            lines.append(chunk.copy())
    return lines
