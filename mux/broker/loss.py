"""Why a connection to Redis ended, or was not made, for counters and for people."""

from __future__ import annotations

import os
import socket
import ssl
from typing import NamedTuple

_NO_TLS = "it does not speak TLS; name it without the second s, as redis://"
_NO_VERSION = "it and we have no version of TLS in common"

_TLS_REASONS = {
    "WRONG_VERSION_NUMBER": _NO_TLS,
    "HTTP_REQUEST": _NO_TLS,
    "RECORD_LAYER_FAILURE": _NO_TLS,
    "UNKNOWN_PROTOCOL": _NO_TLS,
    "CERTIFICATE_REQUIRED": "it wants a certificate of ours; name one with ssl_certfile and ssl_keyfile",
    "ALERT_UNKNOWN_CA": "it does not know the authority of our certificate; see ssl_certfile",
    "ALERT_BAD_CERTIFICATE": "it wants another certificate of ours; see ssl_certfile and ssl_keyfile",
    "ALERT_CERTIFICATE": "it does not take our certificate; see ssl_certfile and ssl_keyfile",
    "PROTOCOL_VERSION": _NO_VERSION,
    "UNSUPPORTED_PROTOCOL": _NO_VERSION,
    "HANDSHAKE_FAILURE": "it refused the TLS handshake: it may want a certificate of ours or other ciphers",
    "EOF": "it ended the connection in the TLS handshake: it may speak no TLS, or want a certificate of ours",
}
"""Reasons by OpenSSL's name for a failure, or a part of that name; the first that fits counts."""

_NOT_FOR_THIS_NAME = frozenset((62, 63, 64))
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH, _EMAIL_MISMATCH and _IP_ADDRESS_MISMATCH."""

_FIRST_BYTES = {
    b"\x15\x03": "it speaks TLS; name it as rediss://",
    b"\x16\x03": "it speaks TLS; name it as rediss://",
    b"HTTP/": "it is a web server",
    b"SSH-": "it is an SSH server",
}


class Loss(NamedTuple):
    """Why a connection ended.

    Attributes:
        cause: one word: closed, error, garbled, deaf, demoted, moved, output_buffer, unreachable, failed, or shut when
            we ended it.
        reason: the same as half a sentence.
    """

    cause: str
    reason: str


def reason_of(error: BaseException) -> str:
    """Return what went wrong as half a sentence, without the address."""
    if isinstance(error, ssl.SSLError):
        return _tls_reason(error)
    if isinstance(error, socket.gaierror):  # its number is none of the system's
        return (error.strerror or "the name cannot be resolved").lower()
    # asyncio puts the address into the text; the caller names it already.
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno).lower()
    if isinstance(error, ConnectionResetError) and not str(error):  # of asyncio, for an end in the TLS handshake
        return _TLS_REASONS["EOF"]
    if isinstance(error, UnicodeError):
        return "it is no name of a host"
    return str(error) or type(error).__name__


def reason_of_garbage(error: Exception, data: bytes) -> str:
    """Say what is there instead of Redis, from what came first."""
    for first, reason in _FIRST_BYTES.items():
        if data.startswith(first):
            return f"what came is not Redis' protocol: {reason}"
    return f"what came is not Redis' protocol ({error})"


def _tls_reason(error: ssl.SSLError) -> str:
    # An SSLError is an OSError whose number is OpenSSL's: 1 is any failure, and EPERM for the system.
    if isinstance(error, ssl.SSLCertVerificationError):
        said = error.verify_message.rstrip(".").lower() or "it cannot be verified"
        if error.verify_code in _NOT_FOR_THIS_NAME:
            return f"its certificate is for another name: {said}; name it as its certificate does"
        return f"its certificate is not trusted: {said}; see ssl_ca_certs and ssl_cert_reqs"
    name = (error.reason or str(error)).upper().replace(" ", "_")
    for part, reason in _TLS_REASONS.items():
        if part in name:
            return reason
    return f"TLS failed: {name.replace('_', ' ').lower()}"
