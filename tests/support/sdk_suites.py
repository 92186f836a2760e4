"""The settings that a server needs for the tests which the SDKs of others bring along in their sources.

Those tests want a server at localhost:8000, tokens signed with `secret`, and the API key `test-api-key`:

    python -m tests.support.sdk_suites javascript      # or python, or go; serves until Ctrl-C

mux has no namespaces: the journal keeps every channel alike, so a test that wants a channel of two messages finds more.
Protobuf, deltas, and joins that nobody asked for are not there either.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from mux.command.main import main
from tests.support.servers import ServerProcess, mux_serve

SECRETS = {"MUX_TOKEN_KEY": "secret", "MUX_API_KEY": "test-api-key"}

_EVERY_SUITE = ("--allow-weak-token-key", "--allowed-origin", "*", "--journal-seconds", "300")
_EVERYTHING = ("--anyone-subscribe", "*", "--anyone-publish", "*", "--user-subscribe", "*", "--user-publish", "*")

OPTIONS = {
    "javascript": (*_EVERY_SUITE, *_EVERYTHING),
    "go": (*_EVERY_SUITE, *_EVERYTHING),
    # Users subscribe with a subscription token alone.
    "python": (*_EVERY_SUITE, "--user-publish", "*"),
}
"""Options of `mux serve` by the language of the suite."""


@contextmanager
def suite_server(language: str, *more: str) -> Iterator[ServerProcess]:
    """Serve what the suite of an SDK needs, on a free port, for as long as the block runs."""
    with mux_serve(*OPTIONS[language], *more, env=SECRETS) as server:
        yield server


if __name__ == "__main__":
    os.environ.update(SECRETS)
    sys.argv = ["mux", "serve", "--host", "localhost", "--port", "8000", *OPTIONS[sys.argv[1]], *sys.argv[2:]]
    main()
