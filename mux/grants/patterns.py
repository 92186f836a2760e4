"""Patterns of channels: which names a grant is for.

A pattern is the name of a channel, or the beginning of names with `*` at its end. `{sub}` in it stands for the subject
of a token. A subject never widens a pattern: what it brings is taken literally, also a `*`, which is percent-encoded at
the end of a name, and two subjects never become the same text. A wildcard is matched by a beginning alone.

Pure: no I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote

SUBJECT = "{sub}"
"""The part of a pattern that stands for the subject of a token."""

_KEPT = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%")
"""The characters of channel names, without the percent sign, which begins an encoded byte."""


class Patterns:
    """Some patterns, put together so that a name is looked up once however many there are.

    Args:
        names: names of channels.
        beginnings: beginnings of names.
    """

    __slots__ = ("_beginnings", "_names")

    def __init__(self, names: Iterable[str] = (), beginnings: Iterable[str] = ()) -> None:
        self._names = frozenset(names)
        self._beginnings = tuple(sorted(set(beginnings)))

    @classmethod
    def compile(cls, texts: Iterable[str], subject: str | None = None) -> Patterns:
        """Return the patterns of texts; one that needs a subject is left out when there is none."""
        names: list[str] = []
        beginnings: list[str] = []
        for text in texts:
            if SUBJECT in text and not subject:
                continue
            beginning = text.removesuffix("*")  # before a subject is in it
            filled = beginning.replace(SUBJECT, quote(subject or "", safe=_KEPT, errors="surrogatepass"))
            if beginning != text:
                beginnings.append(filled)
            else:
                names.append(f"{filled[:-1]}%2A" if filled.endswith("*") else filled)
        return cls(names, beginnings)

    def __str__(self) -> str:
        """Return the patterns as texts."""
        return " ".join(sorted([*self._names, *(f"{beginning}*" for beginning in self._beginnings)])) or "-"

    def match(self, name: str) -> bool:
        """Tell whether one of the patterns is for the channel of this name, or for every channel of this wildcard."""
        if name.endswith("*"):
            return name[:-1].startswith(self._beginnings)
        return name in self._names or name.startswith(self._beginnings)


NONE = Patterns()
"""Matches no name."""

ALL = Patterns(beginnings=[""])
"""Matches every name."""
