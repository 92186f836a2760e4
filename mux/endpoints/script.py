"""GET /mux.js is a client for pages: many channels on one connection. It is one file, served as it is written.

On the wire it is compressed by gzip, also for a client that does not say what it accepts (RFC 9110, section 12.5.3).
Pages of all origins may load it: it has no secrets.
"""

from __future__ import annotations

import gzip
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

from sanic import Sanic
from sanic.request import Request
from sanic.response import HTTPResponse

from mux.endpoints.kept_file import KeptFile
from mux.wire.http.content import accepts_explicitly

_SOURCE = Path(__file__).with_name("mux.js").read_bytes()

INTEGRITY = f"sha256-{b64encode(sha256(_SOURCE).digest()).decode()}"
"""The hash by which a page knows the script (W3C, Subresource Integrity)."""

_HEADERS = {"Access-Control-Allow-Origin": "*", "Vary": "Accept-Encoding"}
_TYPE = "text/javascript; charset=utf-8"


class Script:
    """The script of one process."""

    def __init__(self) -> None:
        self._plain = KeptFile(_SOURCE, _TYPE, _HEADERS)
        packed = gzip.compress(_SOURCE, mtime=0)
        self._packed = KeptFile(packed, _TYPE, {**_HEADERS, "Content-Encoding": "gzip"})

    def mount(self, app: Sanic[Any, Any]) -> None:
        """Add the route to an app."""
        app.add_route(self.script, "/mux.js", methods=["GET", "HEAD"], name="mux_script")

    async def script(self, request: Request) -> HTTPResponse:
        """Answer with the script."""
        takes_gzip = accepts_explicitly(request.headers.get("accept-encoding", "gzip"), "gzip")
        return (self._packed if takes_gzip else self._plain).answer(request)
