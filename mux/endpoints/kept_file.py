"""A file that browsers keep, and ask for again by its ETag (RFC 9110, section 13.1.2)."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

from sanic.request import Request
from sanic.response import HTTPResponse


class KeptFile:
    """One representation of a file, which does not change while a process lives.

    Args:
        body: what it is made of.
        content_type: its media type.
        headers: the fields of every answer, besides those about caching.
    """

    __slots__ = ("_body", "_content_type", "_headers")

    def __init__(self, body: bytes, content_type: str, headers: Mapping[str, str]) -> None:
        self._body = body
        self._content_type = content_type
        self._headers = {
            "Cache-Control": "no-cache",
            "ETag": f'"{sha256(body).hexdigest()[:32]}"',
            "X-Content-Type-Options": "nosniff",
            **headers,
        }

    def answer(self, request: Request) -> HTTPResponse:
        """Answer with the file, or with 304 when the browser has it."""
        known = request.headers.get("if-none-match", "")
        if self._headers["ETag"] in {tag.strip().removeprefix("W/") for tag in known.split(",")}:
            return HTTPResponse(status=304, headers=self._headers)
        return HTTPResponse(self._body, 200, self._headers, self._content_type)
