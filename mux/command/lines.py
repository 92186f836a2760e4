r"""Print the lines of `mux tail`: a message each, with the time, and with its channel when there are several.

1. A line is a line: control characters of a payload are escaped, so it can neither end the line nor move the
   cursor, change colours or ring.
2. Scripts read the lines of one channel without colours: "12:00:00.123  payload".
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import datetime
from zlib import crc32

from mux.command.server_url import escape_controls

# SGR foregrounds that are legible on dark and on light: no black, white or bright yellow; red is for trouble.
_COLOURS = (36, 33, 32, 35, 34, 96, 92, 95, 94)


def format_message(time: datetime, message: str | bytes, label: str = "") -> str:
    """Return one line for a message: text with control characters escaped, binary as its size and hex."""
    if isinstance(message, bytes):
        shown = f"({len(message)} bytes) {message.hex(' ')}"
    else:
        shown = escape_controls(message)
    return f"{time:%H:%M:%S}.{time.microsecond // 1000:03d}  {label}{shown}"


def channel_labels(channels: Sequence[str], *, colour: bool) -> dict[str, str]:
    """Return the label that is printed before the messages of each channel; an empty one when there is one channel.

    A channel has the same colour today and tomorrow, unless it would look like another one of these.
    """
    if len(channels) < 2:
        return dict.fromkeys(channels, "")
    names = {channel: escape_controls(channel) for channel in channels}
    width = max(map(len, names.values()))
    labels: dict[str, str] = {}
    taken: set[int] = set()
    for channel, name in names.items():
        padded = f"{name:{width}}"
        if colour:
            at = _colour(channel, taken)
            taken.add(at)
            padded = f"\x1b[{_COLOURS[at]}m{padded}\x1b[0m"
        labels[channel] = f"{padded}  "
    return labels


def _colour(channel: str, taken: set[int]) -> int:
    wanted = crc32(os.fsencode(channel)) % len(_COLOURS)
    order = [(wanted + step) % len(_COLOURS) for step in range(len(_COLOURS))]
    return next((at for at in order if at not in taken), wanted)


def colour_wanted() -> bool:
    """Tell whether standard output is a terminal, and NO_COLOR is not set (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def print_line(line: str) -> None:
    """Print, and end the program quietly when nobody reads any more."""
    encoding = sys.stdout.encoding
    try:
        print(line.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except BrokenPipeError:
        # As Python's own documentation has it: else the interpreter complains when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
