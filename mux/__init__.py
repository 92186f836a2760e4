"""mux: one Redis connection, any number of channels."""

from mux.app import Mux, create_app
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
