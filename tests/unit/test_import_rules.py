"""The rooms import downward only, and each third-party package stays where it belongs."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "gputel"

COMMON = {"config", "errors", "metrics", "backoff", "outage", "memory", "threads"}
COMMON |= {"printable", "masking", "owned_files", "file_limit", "log_limits", "failures"}
MAY_IMPORT = {
    "model": {"errors", "failures"},
    "mq": COMMON | {"model"},
    "sources": COMMON | {"model"},
    "store": COMMON | {"model"},
    "promql": {"errors"},
    "web": COMMON,
    "broker": COMMON | {"model", "mq", "web"},
    "streamer": COMMON | {"model", "mq", "sources", "store", "web"},
    "collector": COMMON | {"model", "mq", "store", "web"},
    "api": COMMON | {"model", "mq", "promql", "sources", "store", "web"},
    "config": {"errors", "masking"},
    "errors": set(),
    "metrics": set(),
    "backoff": set(),
    "outage": {"errors"},
    "failures": {"errors"},
    "memory": set(),
    "printable": set(),
    "masking": set(),
    "owned_files": set(),
    "threads": set(),
    "file_limit": set(),
    "log_limits": {"masking", "printable"},
    "roles": COMMON | {"mq", "store", "web", "broker", "streamer", "collector", "api"},
    "runtime": COMMON | {"roles"},
}
ONLY_IN = {
    "asyncpg": {"store"},
    "pyarrow": {"model", "sources", "store", "streamer", "promql", "api"},
    "click": {"cli"},
    "rich": {"cli"},
    "uvloop": {"runtime"},
    "aiohttp_apispec": {"api"},
    "apispec": {"api"},
    "marshmallow": {"api"},
    "prometheus_client": {"metrics", "broker"},
}
QUEUE_CORE = [path.stem for path in (PACKAGE / "mq" / "core").glob("*.py")]


def room_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "gputel":
                found |= {f"gputel.{alias.name}" for alias in node.names}
            else:
                found.add(node.module)
    return found


MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if room_of(path) in MAY_IMPORT]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_room_imports_only_rooms_below_it(path: Path) -> None:
    room = room_of(path)
    used = {name.split(".")[1] for name in imports_of(path) if name.startswith("gputel.")}
    assert used - {room} <= MAY_IMPORT[room] | {"__version__"}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=str)
def test_third_party_packages_stay_in_their_rooms(path: Path) -> None:
    for name in imports_of(path):
        top = name.split(".")[0]
        if top in ONLY_IN:
            assert room_of(path) in ONLY_IN[top], f"{top} does not belong in {path}"


@pytest.mark.parametrize("name", QUEUE_CORE)
def test_the_queue_core_knows_neither_asyncio_nor_time(name: str) -> None:
    tops = {module.split(".")[0] for module in imports_of(PACKAGE / "mq" / "core" / f"{name}.py")}
    assert not tops & {"asyncio", "time", "aiohttp", "msgspec", "threading"}
