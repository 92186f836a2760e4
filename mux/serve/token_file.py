"""The token that `mux serve` draws for itself, in a file that only this user can read.

A server that was given no --inspect-token draws one and leaves it in a file for as long as it lives, as notebook
servers do, and `mux top` on this machine finds it there by the address it is to look at. Rules:

1. The file is named after the port and the address that are listened on: `8000-127.0.0.1.token`.
2. It lies in $XDG_RUNTIME_DIR/mux, or where there is none in $XDG_STATE_HOME/mux (~/.local/state/mux). The folder is of
   mode 0700 and the file of mode 0600, both this user's; anything else there is neither written to nor read. The file
   is made under another name and then renamed, so nobody's link is followed and nobody reads half of it.
3. The server holds a lock on the file. A file without a lock was left by a server that was killed, and is not read:
   whoever listens on that port now is somebody else.
4. A token is given only to the address that its server listens on.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path

SUFFIX = ".token"

MAX_TOKEN_BYTES = 4096

logger = logging.getLogger("mux.serve.token_file")


def draw() -> str:
    """Return a new token of 192 bits."""
    return secrets.token_urlsafe(24)


@contextmanager
def token_file(token: str, host: str, port: int) -> Iterator[Path | None]:
    """Keep a token where find_token() finds it, for as long as the block runs.

    Args:
        token: what to keep.
        host: the address that is listened on.
        port: its port.

    Gives the path, or None where no folder can be used; that is logged.
    """
    with ExitStack() as stack:
        path, reason = None, OSError("this user has no home")
        for folder in _folders():
            try:
                descriptor = stack.enter_context(_opened(folder, is_made=True))
                path = folder / f"{port}-{host}{SUFFIX}"
                stack.enter_context(_written(descriptor, path.name, token))
                break
            except OSError as error:
                path, reason = None, error
        if path is None:
            logger.warning("the token cannot be kept for `mux top`, which needs --token then: %s", reason)
        yield path


def find_token(host: str, port: int) -> str | None:
    """Return the token of the server of this user that listens on an address, or None."""
    for folder in _folders():
        with suppress(OSError), _opened(folder, is_made=False) as descriptor:
            for name in sorted(os.listdir(descriptor)):  # noqa: PTH208 - by the folder that was looked at
                number, _, address = name.removesuffix(SUFFIX).partition("-")
                if name.endswith(SUFFIX) and number == str(port) and _is_meant(host, address):
                    token = _read(descriptor, name)
                    if token is not None:
                        return token
    return None


def _folders() -> list[Path]:
    """Return where tokens may lie, the best first."""
    # The first two are made by the system when a user logs in, and the others by us.
    made = (os.environ.get("XDG_RUNTIME_DIR"), f"/run/user/{os.getuid()}")
    bases = [Path(base) for base in made if base and Path(base).is_dir()]
    state = os.environ.get("XDG_STATE_HOME")
    if state:
        bases.append(Path(state))
    with suppress(RuntimeError):  # nobody knows where this user is at home
        bases.append(Path.home() / ".local" / "state")
    return [base / "mux" for base in dict.fromkeys(bases) if base.is_absolute()]


@contextmanager
def _opened(folder: Path, *, is_made: bool) -> Iterator[int]:
    """Open a folder that is this user's alone.

    Raises:
        OSError: there is none, or it is another's.
    """
    if is_made:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        _check_owner(os.fstat(descriptor), folder)
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _written(folder: int, name: str, token: str) -> Iterator[None]:
    """Have a file in a folder, locked, and take it away again unless another has its name by then."""
    hidden = f".{secrets.token_hex(8)}"
    descriptor = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=folder)
    with closing(os.fdopen(descriptor, "w")) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.fchmod(descriptor, 0o600)
            file.write(token)
            file.flush()
            os.rename(hidden, name, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError:
            with suppress(OSError):
                os.unlink(hidden, dir_fd=folder)
            raise
        try:
            yield
        finally:
            with suppress(OSError):
                if os.stat(name, dir_fd=folder, follow_symlinks=False).st_ino == os.fstat(descriptor).st_ino:
                    os.unlink(name, dir_fd=folder)


def _read(folder: int, name: str) -> str | None:
    """Return the token in a file whose server lives; None when it does not, or when the file is another's."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError:
        return None
    with closing(os.fdopen(descriptor, "rb")) as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return None
        try:
            _check_owner(status, name)
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return file.read(MAX_TOKEN_BYTES).decode("ascii", "replace")
        except OSError:
            return None
    return None


def _check_owner(status: os.stat_result, name: object) -> None:
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise PermissionError(f"{name} is not this user's alone")


def _is_meant(host: str, listened_on: str) -> bool:
    """Tell whether a URL's host reaches a server of this machine that listens on an address."""
    hosts = ("127.0.0.1", "::1") if host == "localhost" else (host,)
    try:
        wanted = [ip_address(one) for one in hosts]
        there = ip_address(listened_on)
    except ValueError:
        return False
    return there in wanted or (there.is_unspecified and any(one.is_loopback for one in wanted))
