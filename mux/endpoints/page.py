"""GET / is a page that shows channels live in a browser, and talks to them.

It is one file, page.html, with its own style and script: nothing to build, nothing to fetch but /mux.js beside it.
The page shows messages of strangers, so it is protected twice:

1. The script makes text nodes of payloads, never HTML.
2. The Content-Security-Policy lets run that script and mux.js and apply that one style, known by their hashes, and
   lets them connect to this server alone. It also takes HTML from the scripts' reach (Trusted Types).

The page does not change while a process lives: it is filled in once, and a browser asks by its ETag.
"""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Any

from sanic import Sanic
from sanic.request import Request
from sanic.response import HTTPResponse

from mux.endpoints.kept_file import KeptFile
from mux.endpoints.script import INTEGRITY
from mux.settings.settings import Settings
from mux.version import __version__

_FILE = Path(__file__).with_name("page.html")

_SCRIPT = f'<script src="mux.js" integrity="{INTEGRITY}"></script>'


class Page:
    """The page of one process.

    Args:
        settings: the page names the prefix, and what may be sent, if anything.
        path: where the feed is.
        sdk: whether /mux.js is there, and what it connects to.
        inspect: whether /stats and /channels are there to be asked.
    """

    def __init__(self, settings: Settings, *, path: str, sdk: bool, inspect: bool) -> None:
        page = _FILE.read_text(encoding="utf-8").replace("{script}", _SCRIPT if sdk else "", 1)
        for name, value in {
            "{version}": __version__,
            "{prefix}": settings.prefix,
            "{path}": path.removeprefix("/"),
            "{max_message_bytes}": str(settings.max_message_bytes),
            "{inspect}": "yes" if inspect else "no",
            "{client_publish}": "yes" if settings.client_publish else "no",
        }.items():
            page = page.replace(name, escape(value), 1)
        headers = {"Content-Security-Policy": _policy(page, sdk=sdk), "Referrer-Policy": "no-referrer"}
        self._file = KeptFile(page.encode(), "text/html; charset=utf-8", headers)

    def mount(self, app: Sanic[Any, Any]) -> None:
        """Add the route to an app."""
        app.add_route(self.page, "/", methods=["GET", "HEAD"], name="mux_page")

    async def page(self, request: Request) -> HTTPResponse:
        """Answer with the page."""
        return self._file.answer(request)


def _policy(page: str, *, sdk: bool) -> str:
    """Return the Content-Security-Policy of a page (W3C, Content Security Policy Level 3)."""
    directives = {
        "default-src": "'none'",
        "script-src": _hash(page, "script") + (f" '{INTEGRITY}'" if sdk else ""),
        "style-src": _hash(page, "style"),
        "img-src": "data:",  # the icon
        "connect-src": "'self'",  # of this host, ws: and wss: as well
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in directives.items())


def _hash(page: str, element: str) -> str:
    """Return the source expression of the one inline element of this kind."""
    (text,) = re.findall(f"<{element}>(.*?)</{element}>", page, re.DOTALL)
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
