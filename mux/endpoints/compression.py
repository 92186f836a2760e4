"""Compress whole answers for requests that accept it, and say in which coding an answer is wanted.

An answer may have megabytes, so it is compressed in pieces, one in each turn of the loop.
"""

from __future__ import annotations

import asyncio

from sanic.request import Request
from sanic.response import HTTPResponse

from mux.settings.settings import Settings
from mux.wire.deflate import compressed_body
from mux.wire.http.content import content_coding


class Compression:
    """Decides which answers are compressed.

    Args:
        settings: compress and compress_min_bytes.
    """

    def __init__(self, settings: Settings) -> None:
        self.min_bytes = settings.compress_min_bytes if settings.compress else None
        """The size from which something is compressed, in bytes; None when nothing is."""
        self.fields = {"Vary": "Origin, Accept-Encoding"} if settings.compress else {}
        """The header fields of an answer that may be compressed: by what it may differ (RFC 9110, section 12.5.5)."""

    def coding(self, request: Request) -> str:
        """Return gzip, deflate or, for an answer that is not compressed, nothing."""
        if self.min_bytes is None:
            return ""
        return content_coding(",".join(request.headers.getall("accept-encoding", [])))

    async def compress(self, request: Request, response: HTTPResponse) -> HTTPResponse:
        """Return the answer to a request, compressed if that is wanted and it is large enough."""
        coding, body = self.coding(request), response.body or b""
        response.headers.update(self.fields)
        if coding and self.min_bytes is not None and len(body) >= self.min_bytes:
            parts = []
            for part in compressed_body(body, coding):
                parts.append(part)
                await asyncio.sleep(0)
            response.body = b"".join(parts)
            response.headers["Content-Encoding"] = coding
        return response
