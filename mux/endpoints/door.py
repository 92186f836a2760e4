"""Which requests for the feed are let in, and what they are told if not.

A host, a page, a channel's name, and room: each is looked at before anything is done for a request. A refusal is a
Refused; it is counted by its reason, and answered with its status and its sentence.
"""

from __future__ import annotations

from sanic.helpers import STATUS_CODES
from sanic.response import HTTPResponse, text

from mux import reasons
from mux.endpoints.asking import Asking
from mux.endpoints.takeover import own_end, plain_connections
from mux.errors import Refused
from mux.hub.admission import Admission
from mux.hub.hub import Hub
from mux.hub.subscriber import AnySubscriber
from mux.settings import Settings
from mux.wire.channel import Namespace, check_channel
from mux.wire.http.cors import sharing
from mux.wire.http.host import HostPolicy
from mux.wire.http.origin import OriginPolicy

STATUS_CODES.setdefault(reasons.HOST.status, b"Misdirected Request")  # Sanic says UNKNOWN


class Door:
    """Looks at requests.

    Args:
        hub: who is in already, and where refusals are counted.
        admission: whether there is room for one more.
        settings: prefix, allowed_host and allowed_origin.
    """

    def __init__(self, hub: Hub, admission: Admission[AnySubscriber], settings: Settings) -> None:
        self._hub = hub
        self._admission = admission
        self._namespace = Namespace(settings.prefix)
        self._hosts = HostPolicy(settings.allowed_host)
        self._origins = OriginPolicy(settings.allowed_origin)

    def check_host(self, request: Asking) -> None:
        """Let a request pass that came under a name that is served.

        Raises:
            Refused: it came under another.
        """
        headers = request.headers
        hosts = headers.getall("host", [])
        if not self._hosts.passes_at_sight(hosts):
            self._hosts.check(
                hosts,
                headers.getall("origin", []),
                own=own_end(request),
                version=request.version,
                names={name.lower() for name in headers},
            )

    def check_origin(self, request: Asking) -> None:
        """Let the page pass that a request is from, if it is from one, under a name that is served.

        Raises:
            Refused: as check_host(), or the page is of another host, and not allowed.
        """
        self.check_host(request)
        origins = request.headers.getall("origin", [])
        if len(origins) > 1:
            raise Refused(reasons.ORIGIN, "a request has at most one Origin")
        if origins:  # request.host reads the headers of proxies, which costs
            self._origins.check(origins[0], request.host)

    def channel(self, request: Asking, name: str | bytes) -> bytes:
        """Return the Redis channel that a request may use; name is percent-decoded already.

        Raises:
            Refused: as check_origin().
            InvalidChannel: no channel has this name.
        """
        self.check_origin(request)
        return self._namespace.redis_channel(check_channel(name))

    def check_site(self, request: Asking) -> None:
        """Let a request join that a page of another site has not sent in secret.

        Raises:
            Refused: its browser says so, and it has no Origin that could be allowed.
        """
        if "origin" not in request.headers:
            self._origins.check_site(request.headers.getall("sec-fetch-site", []))

    def room(self, request: Asking) -> str:
        """Return the address to count a new client by; nothing when addresses are not counted.

        Raises:
            Refused: there is no room for it.
        """
        address = request.client_ip if self._admission.counts_addresses else ""
        self._admission.check(clients=len(self._hub), plain=plain_connections(request), address=address)
        return address

    def headers(self, request: Asking) -> dict[str, str]:
        """Return what every answer says about who may read it."""
        origins = request.headers.getall("origin", [])
        if len(origins) != 1:  # of several none is let in, so none may read either
            return sharing(self._origins, None, "")
        return sharing(self._origins, origins[0], request.host)

    def refuse(self, error: Refused) -> HTTPResponse:
        """Count a refusal and return its answer."""
        self._hub.refused[error.reason.counted_as] += 1
        return text(f"{error}\n", error.reason.status, dict(error.reason.fields))
