"""mux: one Redis connection, any number of channels."""

from typing import TYPE_CHECKING

from mux.broker.gap import Gap
from mux.errors import (
    BrokerError,
    BrokerLost,
    BrokerRefused,
    BrokerUnavailable,
    ClientError,
    InvalidChannel,
    InvalidSetting,
    MessageTooLarge,
    MuxError,
)
from mux.settings import Settings
from mux.version import __version__

if TYPE_CHECKING:
    from mux.app import Mux, create_app

__all__ = (
    "BrokerError",
    "BrokerLost",
    "BrokerRefused",
    "BrokerUnavailable",
    "ClientError",
    "Gap",
    "InvalidChannel",
    "InvalidSetting",
    "MessageTooLarge",
    "Mux",
    "MuxError",
    "Settings",
    "__version__",
    "create_app",
)


def __getattr__(name: str) -> object:
    """Import what needs Sanic and redis-py when it is asked for; commands that are clients start without."""
    if name in ("Mux", "create_app"):
        from mux import app

        return getattr(app, name)
    raise AttributeError(f"module 'mux' has no attribute {name!r}")
