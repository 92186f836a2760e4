"""The architecture, read from the imports of every module (ast: nothing is run)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import mux

ROOT = Path(mux.__file__).parent
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in sorted(ROOT.rglob("*.py"))}
"""Every module by its name inside mux, as hub.router."""

MAY_IMPORT: dict[str, set[str]] = {
    # What each part may import of mux beside itself; a part is a package or a module at the top.
    "reasons": set(),
    "errors": {"reasons"},
    "version": set(),
    "machine": set(),
    "logs": set(),
    "wire": {"errors", "reasons"},
    "journal": {"wire"},
    "recovery": {"broker", "errors", "hub", "intake", "journal", "reasons", "wire"},
    "settings": {"errors", "wire"},
    "grants": {"errors", "reasons", "settings", "wire"},
    "hub": {"errors", "grants", "reasons", "wire"},
    "broker": {"errors", "version", "wire"},
    "metrics": {"broker", "errors", "hub", "journal", "wire"},
    "intake": {"hub", "journal", "metrics", "wire"},
    "fleet": {"broker"},
    "inspect": {"errors", "fleet", "hub", "intake", "machine", "metrics", "reasons", "version", "wire"},
    "presence": {"broker", "errors", "fleet", "hub", "reasons", "wire"},
    "goodbye": {"hub", "reasons"},
    "endpoints": {
        "broker",
        "errors",
        "goodbye",
        "grants",
        "hub",
        "inspect",
        "journal",
        "logs",
        "metrics",
        "presence",
        "reasons",
        "recovery",
        "settings",
        "version",
        "wire",
    },
    "backend": {
        "broker",
        "endpoints",
        "errors",
        "fleet",
        "hub",
        "inspect",
        "presence",
        "reasons",
        "recovery",
        "settings",
        "wire",
    },
    # It knows the take-over and what a request is, and none of the rules of the feed: those are handed to it.
    "doorstep": {"endpoints", "errors", "hub", "reasons", "wire"},
    "core": {
        "backend",
        "broker",
        "endpoints",
        "fleet",
        "goodbye",
        "grants",
        "hub",
        "inspect",
        "intake",
        "journal",
        "machine",
        "metrics",
        "presence",
        "recovery",
        "settings",
        "wire",
    },
    "mount": {"backend", "core", "endpoints", "errors", "logs", "metrics", "reasons", "settings", "wire"},
    "app": {
        "core",
        "doorstep",
        "endpoints",
        "errors",
        "grants",
        "mount",
        "presence",
        "reasons",
        "recovery",
        "settings",
        "wire",
    },
    "serve": {
        "broker",
        "doorstep",
        "endpoints",
        "errors",
        "grants",
        "logs",
        "machine",
        "metrics",
        "mount",
        "settings",
        "version",
        "wire",
    },
    "command": {"errors", "grants", "logs", "serve", "settings", "version"},
    "__init__": {"app", "broker", "endpoints", "errors", "recovery", "serve", "settings", "version"},
    "__main__": {"command"},
}

AT_THE_TOP = {
    "__init__": "the names that an app imports",
    "__main__": "python -m mux",
    "app": "what an app imports: Mux",
    "core": "makes and joins what a process needs for one run: it knows every package below it and belongs to none",
    "errors": "every part raises them",
    "intake": "every batch passes it between the broker and the hub, which do not know each other",
    "machine": "the app, the fleet and the server ask the machine what they may have",
    "mount": "the app and the server both put a feed into a Sanic app with it",
    "reasons": "wire refuses requests for them, the hub closes clients, the endpoints answer with them",
    "version": "the broker tells it to Redis, the server to clients; it imports nothing, so neither needs the package",
}
"""Every module that is in no package, and the reason for it."""

IMPURE = {"asyncio", "os", "redis", "sanic", "select", "selectors", "socket", "ssl", "threading", "time", "uvloop"}
"""I/O, clocks and event loops."""

MAY_IMPORT_SANIC = {"app", "backend", "doorstep", "endpoints", "mount", "serve"}

MAY_BE_PRIVATE = {"endpoints.takeover", "doorstep.conversation", "doorstep.doorstep", "doorstep.handover"}

OF_SANICS_PROTOCOL = {"_callback_check_timeouts", "connections", "get_protocol", "recv_buffer", "set_protocol"}
"""Attributes that nobody but the take-over has to do with; request.transport is one more."""


@cache
def tree(module: str) -> ast.Module:
    """Return the source of a module, parsed."""
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def imports(module: str) -> Iterator[str]:
    """Yield the full name of every module a module imports, in functions too; of `from a import b` a.b if it is one."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"a relative import in {module}"
            assert node.module is not None
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner.removeprefix("mux.") in MODULES else node.module


def packages(module: str) -> set[str]:
    """Return the packages that a module imports from, of mux and of others."""
    return {name.partition(".")[0] for name in imports(module)}


def own_imports(module: str) -> set[str]:
    """Return the modules of mux that a module imports, by their names inside mux."""
    own = {name for name in imports(module) if name.partition(".")[0] == "mux"}
    return {name.partition(".")[2] or "__init__" for name in own}


def part(module: str) -> str:
    """Return the package of a module, or the module itself when it is at the top."""
    return module.partition(".")[0]


def parts(modules: set[str]) -> set[str]:
    """Return the parts that modules belong to."""
    return {part(module) for module in modules}


def attributes(module: str) -> Iterator[tuple[str, str]]:
    """Yield every attribute a module touches: what of (a name, or nothing), and which."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Attribute):
            yield node.value.id if isinstance(node.value, ast.Name) else "", node.attr


def functions(module: str) -> set[str]:
    """Return the names of the functions and methods a module defines."""
    return {node.name for node in ast.walk(tree(module)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_part_has_its_place() -> None:
    """Whoever adds a package or a module at the top says in the table what it may import."""
    assert {part(module) for module in MODULES} == MAY_IMPORT.keys()


def test_a_module_at_the_top_has_a_reason() -> None:
    """Everything else lives in a package, beside what it works with."""
    assert {module for module in MODULES if "." not in module} == AT_THE_TOP.keys()


def test_the_table_points_down() -> None:
    """The table itself has no way back up."""
    list(TopologicalSorter(MAY_IMPORT).static_order())


def test_imports_point_down() -> None:
    """A module imports from its own part and from those the table allows."""
    upward = {module: {part(name) for name in own_imports(module)} - {part(module)} for module in MODULES}
    assert {module: found for module in MODULES if (found := upward[module] - MAY_IMPORT[part(module)])} == {}


def test_there_is_no_import_cycle() -> None:
    """Inside a package neither; an import in a function counts like any other."""
    list(TopologicalSorter({module: own_imports(module) for module in MODULES}).static_order())


def test_commands_know_a_server_by_its_url_alone() -> None:
    """All but the command line itself, which also runs `mux serve`, use nothing that a server is made of."""
    commands = [module for module in MODULES if part(module) == "command" and module != "command.main"]
    assert len(commands) > 2
    used = {module: own_imports(module) - {"serve.token_file"} for module in commands}
    assert {module: names for module in commands if (names := parts(used[module]) - {"command", "errors"})} == {}


def test_wire_and_hub_are_pure() -> None:
    """Bytes in, values out: no event loop, no I/O, no clock."""
    pure = [module for module in MODULES if part(module) in ("wire", "hub", "journal")]
    pure += ["recovery.checksums", "recovery.order", "recovery.talk"]
    assert set(pure) <= set(MODULES)
    assert {module: found for module in pure if (found := IMPURE & packages(module))} == {}


def test_only_the_top_imports_sanic() -> None:
    """The endpoints, the app and the server; everything else would serve under another framework."""
    below = [module for module in MODULES if part(module) not in MAY_IMPORT_SANIC]
    assert [module for module in below if "sanic" in packages(module)] == []


def test_only_the_takeover_touches_what_is_private() -> None:
    """What Sanic may change any day is in one module; nobody looks behind another object's underscore either."""
    assert {module: found for module in MODULES if module not in MAY_BE_PRIVATE and (found := private(module))} == {}


def test_only_the_router_reads_the_channels_of_a_subscriber() -> None:
    """How a subscriber's channels are stored is the router's to change; everything else asks it."""
    readers = {module for module in MODULES if "joined" in {name for _, name in attributes(module)}}
    assert readers == {"hub.router", "hub.subscriber", "recovery.listener"}


def private(module: str) -> set[str]:
    """Return the attributes a module touches that are another object's own, or of Sanic's protocol."""
    touched = list(attributes(module))
    own = {name for of, name in touched if of in ("self", "cls")} | functions(module)
    hidden = {
        name
        for of, name in touched
        if name.startswith("_") and not name.endswith("__") and (of, name) != ("os", "_exit")  # documented
    }
    # The server's own `server.connections` is public: AsyncioServer documents it. In `numbers` it is a number.
    public = {("server", "connections"), ("numbers", "connections")}
    of_sanic = OF_SANICS_PROTOCOL & {name for of, name in touched if (of, name) not in public}
    transports = {name for of, name in touched if (of, name) == ("request", "transport")}
    return (hidden - own) | of_sanic | transports


def test_a_module_is_named_for_what_it_does() -> None:
    """Where anything fits, everything ends up."""
    anything = {"common", "helpers", "manager", "misc", "util", "utils"}
    assert [module for module in MODULES if anything & set(module.split("."))] == []
