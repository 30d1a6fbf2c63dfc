"""The registry of roles: what each needs, what it comes after, and how it starts.

It is data, not branches: ``all`` is a role with needs and no code. A role ``needs`` others, which
start with it, and comes ``after`` others if they run too. Roles stop in the reverse order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from graphlib import TopologicalSorter

from gputel.config.settings import Settings
from gputel.errors import UsageError
from gputel.roles import starts
from gputel.roles.process import Process, Services
from gputel.web.server.exposure import check_exposed
from gputel.web.server.ports import check_ports

Start = Callable[[Process, Services], AbstractAsyncContextManager[Services]]


@dataclass(frozen=True)
class Role:
    """One role: its name, what it does, and which other roles it depends on.

    ``modules`` are those that its start imports: a thread imports them while the roles before it
    start. ``port`` is the component and the name of the setting of the port that it listens on.
    """

    name: str
    summary: str
    start: Start | None = None
    needs: frozenset[str] = frozenset()
    after: frozenset[str] = frozenset()
    internal: bool = False
    modules: tuple[str, ...] = ()
    port: tuple[str, str] | None = None


_ALL = (
    Role(
        "health",
        "health and metrics of a process that has no other server",
        starts.health,
        internal=True,
        port=("common", "health_port"),
    ),
    Role(
        "store",
        "Postgres, yours or embedded, with its schema up to date",
        starts.store,
        internal=True,
    ),
    Role(
        "broker",
        "the message queue and its HTTP server",
        starts.broker,
        after=frozenset({"store"}),
        modules=("gputel.broker.server",),
        port=("broker", "broker_port"),
    ),
    Role(
        "streamer",
        "reads a source and publishes its rows in chunks",
        starts.streamer,
        needs=frozenset({"store", "health"}),
        after=frozenset({"broker", "collector"}),
        modules=("gputel.streamer.open_source", "gputel.streamer.follower"),
    ),
    Role(
        "collector",
        "consumes messages and commits their rows",
        starts.collector,
        needs=frozenset({"store", "health"}),
        after=frozenset({"broker"}),
        modules=("gputel.store.write.writer", "gputel.collector.collector"),
    ),
    Role(
        "api",
        "answers questions over HTTP",
        starts.api,
        needs=frozenset({"store"}),
        after=frozenset({"broker", "collector", "streamer"}),
        modules=("gputel.api.server",),
        port=("api", "api_port"),
    ),
    Role(
        "all",
        "the whole pipeline in one process",
        needs=frozenset({"broker", "collector", "streamer", "api"}),
    ),
)
ROLES: dict[str, Role] = {role.name: role for role in _ALL}
SELECTABLE = [role.name for role in _ALL if not role.internal]


def parse_roles(texts: Iterable[str]) -> list[str]:
    """Role names from texts with commas, each once. Raises UsageError that names a wrong one."""
    names = [name.strip() for text in texts for name in text.split(",") if name.strip()]
    for name in names:
        if name not in SELECTABLE:
            raise UsageError(
                f"--role: there is no role {name!r}; choose from {', '.join(SELECTABLE)}"
            )
    if not names:
        raise UsageError(f"--role: name at least one of {', '.join(SELECTABLE)}")
    return list(dict.fromkeys(names))


async def check_ports_of(roles: Iterable[Role], settings: Settings) -> None:
    """Raise an error now if one of the roles could not listen on its port later.

    It is PortTaken, UsageError, or ConfigError if the port would be open to everyone.
    """
    ports = {}
    for role in roles:
        if role.port:
            component, name = role.port
            port = getattr(getattr(settings, component), name)
            if port is not None:
                ports["--" + name.replace("_", "-")] = port
    host = settings.common.host
    check_exposed(host, await check_ports(host, ports), settings.access)


def in_start_order(names: Iterable[str]) -> list[Role]:
    """These roles and all that they need, each behind those that it needs or comes after."""
    needed, pending = set[str](), list(names)
    while pending:
        name = pending.pop()
        if name not in needed:
            needed.add(name)
            pending += ROLES[name].needs
    graph = {name: (ROLES[name].needs | ROLES[name].after) & needed for name in sorted(needed)}
    return [ROLES[name] for name in TopologicalSorter(graph).static_order()]
