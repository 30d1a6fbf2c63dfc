"""Rooms import downward only, folders stay small, and other packages stay where they belong."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "gputel"
MOST_MODULES = 16  # in a folder

COMMON = {
    "backoff": "",
    "errors": "",
    "failures": "errors",
    "file_limit": "",
    "masking": "",
    "memory": "",
    "metrics": "version",
    "outage": "errors",
    "owned_files": "",
    "printable": "",
    "threads": "",
    "version": "",
    "config": "errors masking times",
    "times": "",
    "units": "",
}
"""Modules and folders that every room may import, and what each of them may."""

MAY_IMPORT = {
    "model": "",
    "mq.core": "",
    "mq.wire": "",
    "mq.client": "mq.wire",
    "mq.fleet": "mq.client mq.wire",
    "mq": "mq.client mq.fleet mq.wire",
    "mq.journal": "",
    "sources.bytes": "",
    "sources.dcgm": "model sources.bytes",
    "sources.nvidia_smi": "model sources.dcgm",
    "sources.csv": "model sources.bytes sources.dcgm sources.nvidia_smi",
    "sources.exposition": "model",
    "sources.json": "model sources.dcgm",
    "sources.nvml": "",
    "sources.otlp": "model sources.exposition sources.protobuf",
    "sources.protobuf": "",
    "sources.remote_write": "sources.exposition sources.protobuf",
    "sources.simulated": "model",
    "store": "model store.blocks store.postgres",
    "store.postgres": "",
    "store.blocks": "",
    "store.read": "model store store.blocks",
    "store.write": "model store store.blocks store.read",
    "store.head": "model store store.blocks store.read store.write",
    "store.rollup": "store store.blocks store.read",
    "store.steps": "model store store.blocks store.read store.rollup",
    "store.upkeep": "store store.blocks store.read store.rollup store.write",
    "promql.values": "",
    "promql.syntax": "promql.values",
    "promql.functions": "promql.syntax promql.values",
    "promql": "promql.functions promql.syntax promql.values",
    "web": "web.headers",
    "web.headers": "web",
    "web.server": "web web.headers",
    "web.access": "web web.headers web.server",
    "broker.queues": "mq.core mq.journal",
    "broker.durable": "broker.queues broker.requests mq.core mq.journal",
    "broker.requests": "broker.queues mq.core mq.journal mq.wire web.headers web.server",
    "broker.fast": "broker.requests web web.access web.server",
    "broker": (
        "broker.durable broker.fast broker.queues broker.requests web web.access web.headers "
        "web.server"
    ),
    "streamer.nvml": "sources.nvml",
    "streamer.scrape.documents": "",
    "streamer.scrape.http": "streamer.scrape.documents",
    "streamer.scrape.discovery": "streamer.scrape.documents streamer.scrape.http",
    "streamer": "model mq.client sources.csv sources.simulated store.write",
    "streamer.scrape": (
        "model mq.client sources.dcgm sources.exposition store.write streamer streamer.nvml "
        "streamer.scrape.discovery streamer.scrape.documents streamer.scrape.http"
    ),
    "collector": "model mq.client mq.wire sources.json store.upkeep store.write",
    "api.shared": "api.formats model store store.read web web.access",
    "api.formats": "model store.blocks store.read web.headers",
    "api.inventory": "api.formats api.prometheus api.shared model promql.values store store.read",
    "api.telemetry": (
        "api.formats api.shared model store.blocks store.read store.rollup store.steps web"
    ),
    "api.stream": "api.formats api.shared store.read store.write web",
    "api.push": (
        "api.formats api.shared model mq.client mq.wire sources.dcgm sources.exposition "
        "sources.json store.blocks store.write web.server"
    ),
    "api.push.senders": (
        "api.push api.shared model sources.exposition sources.otlp sources.protobuf "
        "sources.remote_write web"
    ),
    "api.prometheus": (
        "api.shared model promql promql.syntax promql.values store store.blocks store.read web"
    ),
    "api": (
        "api.formats api.inventory api.prometheus api.push api.push.senders api.shared api.stream "
        "api.telemetry store store.head store.read web web.access web.headers web.server"
    ),
    "roles": (
        "api api.prometheus api.push broker collector mq mq.client store store.read "
        "store.upkeep store.write streamer streamer.scrape web web.access web.headers web.server"
    ),
    "cli": (
        "api api.formats model roles runtime sources.csv sources.dcgm sources.simulated "
        "streamer.nvml streamer.scrape web web.server"
    ),
    "cli.ask": "cli model mq.wire",
    "cli.query": "api.formats cli cli.ask model",
    "cli.ingest": "cli roles runtime sources.csv store.write streamer",
    "cli.queue": "broker.durable cli cli.ask mq.journal",
    "cli.scrape": ("cli cli.ask model streamer.scrape streamer.scrape.discovery"),
    "cli.db": "cli model store store.postgres store.read store.upkeep store.write",
    "runtime": "roles",
    "__main__": "cli",
}
"""Folders of a room, in the order in which they build on each other. "web" is web/*.py alone."""

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
IMPURE = {"asyncio", "time", "threading", "socket", "aiohttp", "asyncpg", "msgspec", "uvloop"}
PURE = ("mq.core", "promql", "promql.values", "promql.syntax", "promql.functions")


def name_of(path: Path) -> str:
    """The module without the package's name: ``mq.core.queue``; a folder's own is the folder."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py")) if name_of(path)}
FOLDERS = {name_of(path) for path in PACKAGE.rglob("__init__.py")}


def folder_of(module: str) -> str:
    """The folder that a module is in; a module beside the rooms stands for itself."""
    if module in FOLDERS:
        return module
    return module.rpartition(".")[0] or module


@cache
def imports_of(module: str) -> frozenset[str]:
    """All that a module imports, by full name; of gputel the modules, without its name."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            named = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name[7:] in MODULES else node.module for name in named}
    return frozenset(name.removeprefix("gputel.") for name in found)


def ours(module: str) -> set[str]:
    return {name for name in imports_of(module) if name in MODULES}


def everything_under(module: str) -> set[str]:
    """The module, and all of gputel that it imports, directly or not."""
    reached, waiting = set[str](), [module]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += ours(name)
    return reached


def circle_in(graph: dict[str, set[str]]) -> Iterable[str]:
    """Raises CycleError, which names the circle, if there is one."""
    return TopologicalSorter(graph).static_order()


def test_a_folder_imports_only_what_the_table_says() -> None:
    wrong = set()
    for module in MODULES:
        folder = folder_of(module)
        allowed = (COMMON | MAY_IMPORT).get(folder, "").split()
        allowed += [] if folder in COMMON else COMMON
        used = {folder_of(name) for name in ours(module)} - {folder}
        wrong |= {f"{module} imports {name}" for name in used - set(allowed)}
    assert wrong == set()


def test_the_table_allows_nothing_that_is_not_used() -> None:
    used = {folder_of(module): set[str]() for module in MODULES}
    for module in MODULES:
        used[folder_of(module)] |= {folder_of(name) for name in ours(module)}
    for folder, allowed in MAY_IMPORT.items():
        assert set(allowed.split()) <= used[folder], folder


def test_no_files_import_each_other_in_a_circle() -> None:
    list(circle_in({module: ours(module) - {module} for module in MODULES}))


def test_no_folders_import_each_other_in_a_circle() -> None:
    def unit(module: str) -> str:
        folder = folder_of(module)
        return folder if "." in folder else module

    graph: dict[str, set[str]] = {}
    for module in MODULES:
        graph.setdefault(unit(module), set()).update(
            unit(name) for name in ours(module) if unit(name) != unit(module)
        )
    list(circle_in(graph))


def test_no_folder_has_too_many_modules() -> None:
    counts = Counter(path.parent for path in MODULES.values() if path.stem != "__init__")
    assert {str(folder): n for folder, n in counts.items() if n > MOST_MODULES} == {}


def test_third_party_packages_stay_in_their_rooms() -> None:
    wrong = set()
    for module in MODULES:
        tops = {name.split(".")[0] for name in imports_of(module)}
        wrong |= {
            f"{top} does not belong in {module}"
            for top in tops & ONLY_IN.keys()
            if module.split(".")[0] not in ONLY_IN[top]
        }
    assert wrong == set()


def test_queue_and_promql_know_no_clock_and_no_io_not_even_through_others() -> None:
    pure = {module for module in MODULES if folder_of(module) in PURE}
    reached = set().union(*map(everything_under, pure))
    impure = {
        module: {name.split(".")[0] for name in imports_of(module)} & IMPURE for module in reached
    }
    assert {module: tops for module, tops in impure.items() if tops} == {}
