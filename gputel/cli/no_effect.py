"""Flags of ``gputel run`` that would have no effect beside the others: they are refused.

The environment may have settings of other processes: those are ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from gputel.config.resolve import Origin, Resolved, specs
from gputel.config.settings import Settings
from gputel.errors import ConfigError

_SERVERS = ("broker", "api", "health")
_USERS = {
    "broker": ("broker",),
    "streamer": ("streamer",),
    "collector": ("collector",),
    "api": ("api",),
    "access": _SERVERS,
    "postgres": ("store",),
    "broker_port": ("broker", "streamer", "collector", "api"),
    "visibility_timeout_s": ("broker", "collector"),
    "postgres_pool_size": ("store", "broker"),  # which leaves so many files to connections
    "retention": ("collector", "api"),
    "future_limit": ("collector", "api"),
    "impossible_values": ("collector", "api", "streamer"),
}
"""The roles that use a setting, by its name, or by its component."""

_OF_FILES = ("stream_id", "rate", "loop", "timestamps", "chunk_rows", "chunk_interval_s",
             "chunk_lease_s")  # fmt: skip
_JOURNAL = "--journal DIR"

_Needs = tuple[Callable[[Settings], object], str]
_NEEDS: dict[str, _Needs] = {
    **dict.fromkeys(
        _OF_FILES,
        (
            lambda s: s.streamer.reads_rows,
            "a file or the sample: --scrape, --scrape-config and --nvml read neither",
        ),
    ),
    "csv_host": (lambda s: s.streamer.csv, "--csv FILE"),
    "scrape_interval": (
        lambda s: s.streamer.scrape,
        "--scrape: the jobs of --scrape-config have intervals of their own",
    ),
    "scrape_batch_s": (lambda s: s.streamer.scrapes, "--scrape, --scrape-config or --nvml"),
    "nvml_interval": (lambda s: s.streamer.nvml, "--nvml"),
    "journal_sync": (lambda s: s.broker.journal, _JOURNAL),
    "journal_segment_bytes": (lambda s: s.broker.journal, _JOURNAL),
    "journal_sync_interval_s": (
        lambda s: s.broker.journal and s.broker.journal_sync == "interval",
        f"{_JOURNAL} with --journal-sync interval",
    ),
    "rate_burst": (lambda s: s.api.rate_limit, "--rate-limit"),
    "postgres_bin_dir": (
        lambda s: s.postgres.postgres_dsn is None,
        "the embedded Postgres, which --postgres-dsn replaces",
    ),
}
"""What must be so for a setting to count, and how to say it."""


def refuse_without_effect(resolved: Resolved, roles: Collection[str]) -> None:
    """Raise ConfigError for a flag that none of the roles uses, or that needs another setting."""
    for spec in specs():
        if resolved.origins[spec.name] is not Origin.FLAG:
            continue
        users = _USERS.get(spec.name, _USERS.get(spec.component, roles))
        if not set(users) & set(roles):
            raise ConfigError(f"{spec.flag}: no role that runs here uses it: leave it out")
        is_so, what = _NEEDS.get(spec.name, (None, ""))
        if is_so and not is_so(resolved.settings):
            raise ConfigError(f"{spec.flag}: has no effect without {what}: leave it out")
