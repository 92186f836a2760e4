"""mux: one Redis connection, any number of channels."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mux.app import Mux, http_protocol
    from mux.broker.gap import Gap
    from mux.endpoints.hooks import ClientMessage, Grant, Member
    from mux.endpoints.sdk.failures import CommandFailed
    from mux.endpoints.sdk.rpc import RpcCall
    from mux.errors import (
        BrokerError,
        BrokerLost,
        BrokerRefused,
        BrokerUnavailable,
        ClientError,
        InvalidChannel,
        InvalidSetting,
        MessageTooLarge,
        Missed,
        MuxError,
        SlowListener,
    )
    from mux.recovery.listener import Message
    from mux.serve.application import create_app
    from mux.settings.settings import Settings
    from mux.version import __version__

__all__ = (
    "BrokerError",
    "BrokerLost",
    "BrokerRefused",
    "BrokerUnavailable",
    "ClientError",
    "ClientMessage",
    "CommandFailed",
    "Gap",
    "Grant",
    "InvalidChannel",
    "InvalidSetting",
    "Member",
    "Message",
    "MessageTooLarge",
    "Missed",
    "Mux",
    "MuxError",
    "RpcCall",
    "Settings",
    "SlowListener",
    "__version__",
    "create_app",
    "http_protocol",
)

_HOMES = {
    "ClientMessage": "mux.endpoints.hooks",
    "CommandFailed": "mux.endpoints.sdk.failures",
    "Gap": "mux.broker.gap",
    "Grant": "mux.endpoints.hooks",
    "Member": "mux.endpoints.hooks",
    "Message": "mux.recovery.listener",
    "Mux": "mux.app",
    "RpcCall": "mux.endpoints.sdk.rpc",
    "Settings": "mux.settings.settings",
    "__version__": "mux.version",
    "create_app": "mux.serve.application",
    "http_protocol": "mux.app",
}


def __getattr__(name: str) -> object:
    """Import what is asked for; the command handles signals before anything of it is there, and half needs no Sanic."""
    if name not in __all__:
        raise AttributeError(f"module 'mux' has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "mux.errors")), name)
