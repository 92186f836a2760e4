"""The SDKs of others that the tests drive: how each is fetched, and how its program in clients/ is started.

    python -m tests.sdk.kits           # fetch those that are not there yet, but for Go, which takes a minute to build
    python -m tests.sdk.kits --all

Each kit has a folder of its own under .tox/sdks, and its packages come from the usual registry of its language. A kit
that cannot be had is told of and left out, and its tests are skipped; the tests themselves fetch nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".tox" / "sdks"
CLIENTS = Path(__file__).parent / "clients"

FETCH_SECONDS, BUILD_SECONDS = 40.0, 600.0
"""Seconds after which a registry that does not answer is given up, and the building of Go's client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kit:
    """One SDK of one version."""

    name: str
    program: str
    """The program that the machine must have."""
    fetch: Callable[[Path], list[str]]
    """The command that fetches the SDK into a folder, which it runs in."""
    result: str
    """The file of the folder that is there once it is fetched."""
    command: Callable[[Path], list[str]]
    """The command that starts the client."""
    environment: dict[str, str] = field(default_factory=dict)
    """Variables of the client; {folder} stands for the folder."""

    @property
    def folder(self) -> Path:
        """The folder with the packages."""
        return FOLDER / self.name

    @property
    def is_there(self) -> bool:
        """True once it is fetched."""
        return shutil.which(self.program) is not None and (self.folder / self.result).exists()

    @property
    def lack(self) -> str:
        """The reason for which its tests are skipped."""
        if shutil.which(self.program) is None:
            return f"no {self.program} on this machine"
        return f"{self.name} is not fetched: python -m tests.sdk.kits{' --all' * (self is GO)}"

    def get(self) -> None:
        """Fetch it.

        Raises:
            OSError: a program is not there.
            subprocess.SubprocessError: the registry gave nothing.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            self.fetch(self.folder),
            cwd=self.folder,
            timeout=BUILD_SECONDS if self is GO else FETCH_SECONDS,
            check=True,
            env={
                # Node has certificates of its own, and would not take those of a proxy that all else takes.
                "NODE_EXTRA_CA_CERTS": os.environ.get("SSL_CERT_FILE", ""),
                **os.environ,
                "GOTOOLCHAIN": "local",
                "GOFLAGS": "-buildvcs=false",
            },
            stdout=subprocess.DEVNULL,
        )

    def variables(self) -> dict[str, str]:
        """Return the environment of its client."""
        return os.environ | {name: value.format(folder=self.folder) for name, value in self.environment.items()}


def _python(version: str) -> Kit:
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-compile",
        "--disable-pip-version-check",
        "--target",
        ".",
    ]
    return Kit(
        name=f"centrifuge-python-{version}",
        program=sys.executable,
        fetch=lambda folder: [*pip, f"centrifuge-python=={version}"],
        result="centrifuge/client.py",
        command=lambda folder: [sys.executable, str(CLIENTS / "centrifuge_python.py")],
        environment={"PYTHONPATH": "{folder}", "PYTHONSAFEPATH": "1"},
    )


JAVASCRIPT = Kit(
    name="centrifuge-js-5.8.0",
    program="node",
    fetch=lambda folder: [
        *("npm", "install", "--silent", "--fetch-retries=0", "--no-audit", "--no-fund", "--prefix", "."),
        *("centrifuge@5.8.0", "ws@8"),
    ],
    result="node_modules/centrifuge/build/index.js",
    command=lambda folder: ["node", str(CLIENTS / "centrifuge.js")],
    environment={"NODE_PATH": "{folder}/node_modules"},
)  # fmt: skip

GO = Kit(
    name="centrifuge-go-0.12.1",
    program="go",
    fetch=lambda folder: ["go", "build", "-C", str(CLIENTS / "centrifuge_go"), "-o", str(folder / "client"), "."],
    result="client",
    command=lambda folder: [str(folder / "client")],
)

PYTHON = _python("0.7.0")

KITS = (JAVASCRIPT, _python("0.5.0"), PYTHON, GO)


def main() -> None:
    """Fetch what is not there."""
    for kit in KITS:
        # Go's is built again when its program has changed.
        if "--all" not in sys.argv if kit is GO else kit.is_there:
            continue
        try:
            kit.get()
        except (OSError, subprocess.SubprocessError) as error:
            print(f"{kit.lack}: {error}")


if __name__ == "__main__":
    main()
