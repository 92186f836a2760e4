"""The keys of the API, and where a request may have one.

    X-API-Key: KEY                  Authorization: apikey KEY                  /api/publish?api_key=KEY

Every key is compared in full, whichever is given, so the time it takes tells nothing of them.

Pure: values in, a decision out.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Sequence
from urllib.parse import parse_qsl

PARAMETER = "api_key"
"""The name of the query parameter that may hold a key."""


class Keys:
    """Knows which requests may use the API.

    Args:
        keys: any of them will do.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = [key.encode() for key in keys]

    def fit(self, fields: Iterable[tuple[str, str]], query: str) -> bool:
        """Tell whether a request has a key, by its header fields, whose names are in small letters, and its query."""
        given = []
        for name, value in fields:
            scheme, _, rest = value.partition(" ")
            if name == "x-api-key":
                given.append(value)
            elif name == "authorization" and scheme.lower() == "apikey":
                given.append(rest)
        given += [value for name, value in parse_qsl(query) if name == PARAMETER]
        return bool(given) and self._has(given[0].strip())

    def _has(self, key: str) -> bool:
        sent = key.encode("utf-8", "surrogatepass")
        return sum([hmac.compare_digest(sent, known) for known in self._keys]) > 0
