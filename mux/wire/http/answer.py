"""The answer that refuses a request: one sentence, and the end of the connection.

Pure: no I/O, no clock, no asyncio.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from mux.errors import Refused


def refusal(error: Refused, fields: Mapping[str, str], *, is_bare: bool) -> bytes:
    """Return a whole answer.

    Args:
        error: why; its message is the body.
        fields: to be sent beside those of every refusal.
        is_bare: leaves the body out, as for a HEAD.
    """
    status, body = HTTPStatus(error.reason.status), f"{error}\n".encode()
    lines = [f"HTTP/1.1 {status.value} {status.phrase}"]
    lines += [f"{name}: {value}" for name, value in {**fields, **error.reason.fields}.items()]
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        lines.append("Allow: GET, HEAD, OPTIONS, POST")
    lines += [
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Connection: close",
        "\r\n",
    ]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + (b"" if is_bare else body)
