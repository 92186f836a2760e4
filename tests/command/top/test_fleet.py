"""`mux top` against mux itself."""

from __future__ import annotations

import json

from tests.command.pseudo_terminal import mux, terminal
from tests.support.servers import mux_serve, run_mux

TOKEN = "correct-horse"  # noqa: S105 - of a server that lives for a second


def test_a_real_fleet_is_drawn() -> None:
    """Two workers, a client that is heard in the channels, and a token that is asked for."""
    with mux_serve("--workers", "2", "--no-announce", "--inspect-token", TOKEN) as server:
        url = f"http://127.0.0.1:{server.port}"
        refused = run_mux("top", "--once", "--url", url)
        assert refused.returncode == 1
        assert refused.stderr.startswith("mux: the server refused: ")
        assert "token" in refused.stderr
        with terminal(*mux("top", "--url", url), env={"MUX_TOKEN": TOKEN}) as shown:
            shown.until_shown("2 processes", "q quits")
            with terminal(*mux("tail", "lobby", "--sse", "--url", url)):
                shown.until(lambda text: "\n lobby " in text)
                assert shown.line(" lobby ").split()[-1] == "1"
            shown.type(b"q")
            assert shown.ended() == 0
        said = run_mux("top", "--once", "--json", "--url", url, "--token", TOKEN)
        assert json.loads(said.stdout)["stats"]["total"]["processes"] == 2


def test_a_server_without_inspection_says_so() -> None:
    """What --no-inspect takes away is named."""
    with mux_serve("--no-inspect") as server:
        ended = run_mux("top", "--url", f"http://127.0.0.1:{server.port}")
        assert ended.returncode == 1
        assert ended.stderr == "mux: this server has no /stats: it was started with --no-inspect, or is not mux\n"
