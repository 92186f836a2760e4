"""Heads of requests by kind, each in several spellings, and what RFC 9112 has a server answer."""

from __future__ import annotations

HOST = b"Host: example.com\r\n"


def get(*lines: bytes) -> bytes:
    """Return a GET with some fields beside Host."""
    return b"GET /a HTTP/1.1\r\n" + HOST + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def post(*lines: bytes) -> bytes:
    """Return a POST with some fields beside Host."""
    return b"POST /a HTTP/1.1\r\n" + HOST + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def line(text: bytes) -> bytes:
    """Return a request with such a first line."""
    return text + b"\r\n" + HOST + b"\r\n"


REFUSED: dict[str, tuple[int, tuple[bytes, ...]]] = {
    "a blank before the colon (5.1)": (
        400,
        (
            post(b"Content-Length : 5"),
            post(b"Content-Length\t: 5"),
            post(b"Transfer-Encoding : chunked"),
            get(b"X  : y"),
            b"GET /a HTTP/1.1\r\nHost : example.com\r\n\r\n",
        ),
    ),
    "a folded value (5.2)": (
        400,
        (get(b"A: b\r\n c"), get(b"A: b\r\n\tc"), get(b"A:\r\n b"), get(b" A: b"), post(b"Content-Length:\r\n 5")),
    ),
    "no field at all (5)": (
        400,
        (get(b"novalue"), get(b": v"), get(b"A B: c"), get(b"A(: c"), get(b"\xc3\xa4: c")),
    ),
    "a control character in a value (5.5)": (
        400,
        (get(b"A: b\x00"), get(b"A: b\x07c"), get(b"A: \x7f"), get(b"A: b\rc"), get(b"A: \x1b[0m")),
    ),
    "a bare LF (2.2)": (
        400,
        (
            b"GET /a HTTP/1.1\n" + HOST + b"\r\n",
            get(b"A: b\nB: c"),
            b"GET /a HTTP/1.1\r\nHost: example.com\n\n",
            b"GET /a HTTP/1.1\r\nHost: example.com\n\r\n",
            post(b"Content-Length: 5\nTransfer-Encoding: chunked"),
        ),
    ),
    "two lengths, or none (6.3)": (
        400,
        (
            post(b"Content-Length: 5", b"Content-Length: 5"),
            post(b"Content-Length: 5, 5"),
            post(b"Content-Length: 5", b"Content-Length: 6"),
            post(b"Content-Length:"),
            post(b"Content-Length: 5 5"),
        ),
    ),
    "a length that is no number (6.3)": (
        400,
        (
            post(b"Content-Length: +5"),
            post(b"Content-Length: -5"),
            post(b"Content-Length: 0x5"),
            post(b"Content-Length: 1_0"),
            post(b"Content-Length: 99999999999999999999999"),
        ),
    ),
    "a length and chunks (6.1)": (
        400,
        (
            post(b"Transfer-Encoding: chunked", b"Content-Length: 5"),
            post(b"Content-Length: 5", b"Transfer-Encoding: chunked"),
            post(b"content-length: 0", b"transfer-encoding: CHUNKED"),
            get(b"Content-Length: 5", b"Transfer-Encoding: chunked"),
            post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
        ),
    ),
    "chunked is not the last coding (6.1)": (
        400,
        (
            post(b"Transfer-Encoding: gzip"),
            post(b"Transfer-Encoding: chunked, gzip"),
            post(b"Transfer-Encoding: identity"),
            post(b"Transfer-Encoding: xchunked"),
            post(b"Transfer-Encoding:"),
        ),
    ),
    "a coding that is not known (6.1)": (
        501,
        (
            post(b"Transfer-Encoding: gzip, chunked"),
            post(b"Transfer-Encoding: gzip,chunked"),
            post(b"Transfer-Encoding: deflate, chunked"),
            post(b"Transfer-Encoding: identity, chunked"),
            post(b"Transfer-Encoding: br, Chunked"),
        ),
    ),
    "chunks in HTTP/1.0 (6.1)": (
        400,
        (
            b"POST /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"POST /a HTTP/1.0\r\nHost: h\r\ntransfer-encoding: Chunked\r\n\r\n",
            b"GET /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"POST /a HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"POST /a HTTP/1.0\r\nTransfer-Encoding:chunked\r\n\r\n",
        ),
    ),
    "no Host, two, or none that names a host (3.2)": (
        400,
        (
            b"GET /a HTTP/1.1\r\n\r\n",
            b"GET /a HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            b"GET /a HTTP/1.1\r\nHost:\r\n\r\n",
            b"GET /a HTTP/1.1\r\nHost: a/b\r\n\r\n",
            b"GET /a HTTP/1.1\r\nHost: user@a\r\n\r\n",
        ),
    ),
    "a target that is none (3.2)": (
        400,
        (
            line(b"GET a HTTP/1.1"),
            line(b"GET * HTTP/1.1"),
            line(b"GET a:443 HTTP/1.1"),
            line(b"GET /#f HTTP/1.1"),
            line(b"GET ftp://h/x HTTP/1.1"),
        ),
    ),
    "a URL that names no host (3.2.2)": (
        400,
        (
            line(b"GET http:///x HTTP/1.1"),
            line(b"GET http:// HTTP/1.1"),
            line(b"GET http://:80/ HTTP/1.1"),
            line(b"GET http://u@h/ HTTP/1.1"),
            line(b"GET http://?x HTTP/1.1"),
        ),
    ),
    "a character that no target has (3.2)": (
        400,
        (
            line(b"GET /\x01 HTTP/1.1"),
            line(b"GET /\x7f HTTP/1.1"),
            line(b"GET /\xff HTTP/1.1"),
            line(b"GET /a b HTTP/1.1"),
            line(b"GET /\xc3\xa4 HTTP/1.1"),
        ),
    ),
    "a line that is none (3)": (
        400,
        (
            line(b"GET  /a HTTP/1.1"),
            line(b"GET /a HTTP/1.1 "),
            line(b" GET /a HTTP/1.1"),
            line(b"GET\t/a HTTP/1.1"),
            line(b"GET /a"),
        ),
    ),
    "another protocol (3)": (
        400,
        (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"GET /a RTSP/1.0\r\n\r\n",
            line(b"GET /a http/1.1"),
        ),
    ),
    "a method that is none (9.1 of RFC 9110)": (
        400,
        (
            line(b"get /a HTTP/1.1"),
            line(b"FOO /a HTTP/1.1"),
            line(b"GET/ /a HTTP/1.1"),
            line(b"G /a HTTP/1.1"),
            line(b"\x00GET /a HTTP/1.1"),
        ),
    ),
    "another version (2.3)": (
        505,
        (
            line(b"GET /a HTTP/2.0"),
            line(b"GET /a HTTP/0.9"),
            line(b"POST /a HTTP/2.0"),
            line(b"HEAD /a HTTP/0.9"),
            line(b"OPTIONS * HTTP/2.0"),
        ),
    ),
    "a tunnel (9.3.6 of RFC 9110)": (
        405,
        (
            line(b"CONNECT a:443 HTTP/1.1"),
            line(b"CONNECT example.com:80 HTTP/1.1"),
            line(b"CONNECT [::1]:1 HTTP/1.1"),
            line(b"CONNECT 127.0.0.1:22 HTTP/1.0"),
            line(b"CONNECT h:1 HTTP/1.1"),
        ),
    ),
    "a target of more than 8 KiB": (
        414,
        (
            line(b"GET /" + b"a" * 8192 + b" HTTP/1.1"),
            line(b"GET /?" + b"a" * 8191 + b" HTTP/1.1"),
            line(b"OPTIONS /" + b"a" * 8192 + b" HTTP/1.1"),
            b"GET /" + b"a" * 9000,
            line(b"GET http://h/" + b"a" * 8192 + b" HTTP/1.1"),
        ),
    ),
    "a head of more than 32 KiB": (
        431,
        (
            get(b"Cookie: " + b"a" * 32768),
            get(b"A: b\r\n" * 6000 + b"C: d"),
            get(b"A" * 33000 + b": b"),
            get(b"A: " + b"b" * 16000, b"B: " + b"c" * 17000),
            b"GET /a HTTP/1.1\r\n" + HOST + b"Token: " + b"x" * 40000,
        ),
    ),
}
"""Kind, with its section, to the status and the spellings."""

TAKEN: dict[str, tuple[bytes, ...]] = {
    "blanks around a value (5.1)": (
        get(b"A:b"),
        get(b"A: b "),
        get(b"A: \t b\t \t"),
        get(b"A:  b"),
        get(b"A:\tb "),
    ),
    "empty lines before a request (2.2)": (
        b"\r\n" + get(b"A: b"),
        b"\r\n\r\n" + get(b"A: b"),
        b"\r\n" * 100 + get(b"A: b"),
        b"\r\n" * 3 + get(b"a: b"),
        b"\r\n" * 2 + get(b"A:b"),
    ),
    "names in any case (5.1)": (
        get(b"a: b"),
        get(b"A: b"),
        get(b"A: b", b"X-Y: z"),
        get(b"A: b", b"x_y: z"),
        get(b"A: b", b"HOSTS: z"),
    ),
    "a URL for a target (3.2.2)": (
        b"GET http://example.com/a HTTP/1.1\r\nHost: other\r\nA: b\r\n\r\n",
        b"GET HTTP://example.com/a HTTP/1.1\r\nHost: example.com\r\nA: b\r\n\r\n",
        b"GET https://example.com/a HTTP/1.1\r\nHost: x\r\nA: b\r\n\r\n",
        b"GET http://example.com/a HTTP/1.1\r\nHost: x:80\r\nA: b\r\n\r\n",
        b"GET http://example.com/a HTTP/1.1\r\nhost: y\r\na: b\r\n\r\n",
    ),
    "an upgrade that is ignored (7.8 of RFC 9110)": (
        get(b"A: b", b"Connection: Upgrade", b"Upgrade: h2c"),
        get(b"A: b", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"),
        get(b"A: b", b"Upgrade: websocket"),
        get(b"A: b", b"Connection: Upgrade", b"Upgrade: TLS/1.0"),
        get(b"A: b", b"Connection: upgrade", b"Upgrade: websocket, h2c"),
    ),
}
"""Kind to spellings of one and the same request: a GET of /a at example.com with `A: b`."""
