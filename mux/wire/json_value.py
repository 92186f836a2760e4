"""A text as a value of JSON, wherever messages travel inside of it.

Pure: bytes in, bytes out.
"""

from __future__ import annotations

import orjson


def json_value(text: bytes) -> bytes:
    """Return a text of JSON as it is, but for its line breaks, and any other text as a string of JSON.

    Args:
        text: valid UTF-8. The line breaks of JSON stand between its tokens, where they mean nothing.
    """
    try:
        orjson.loads(bytes(text))  # it may be Signed, which orjson does not take
    except orjson.JSONDecodeError:
        return orjson.dumps(text.decode())
    return text.translate(None, b"\r\n")
