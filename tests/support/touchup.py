"""Sanic's rewriting of its own methods, once for all apps of a test run that it would rewrite alike.

Before an app starts, Sanic parses nine of its methods, takes out what the app has no use for, and compiles them. That
is more than all else that starting an app in a test takes, and what comes out depends on the names of the app's
signals and on the versions of HTTP that it serves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sanic import Sanic
from sanic.touchup.schemes.base import BaseScheme

Method = Callable[..., Any]


def rewrite_once() -> None:
    """Have Sanic take a method that it has rewritten before for an app with the same signals and versions."""
    build: Callable[[Method, dict[str, Any], Sanic[Any, Any]], Method] = BaseScheme.build
    rewritten: dict[tuple[Method, frozenset[str], frozenset[object]], Method] = {}

    def build_once(
        cls: type[BaseScheme], method: Method, module_globals: dict[str, Any], app: Sanic[Any, Any]
    ) -> Method:
        for scheme in cls._registry:
            scheme(app)  # evens out the signals of all apps of the process
        signals = frozenset(signal.name for signal in app.signal_router.routes)
        versions = frozenset(info.settings["version"] for info in app.state.server_info)
        key = method, signals, versions
        if key not in rewritten:
            rewritten[key] = build(method, module_globals, app)
        return rewritten[key]

    BaseScheme.build = classmethod(build_once)  # type: ignore[method-assign,assignment]
