"""A command has the flags that it uses, and refuses those that have no effect."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from gputel.cli.db.group import db
from gputel.cli.healthcheck import healthcheck_command
from gputel.cli.ingest.command import ingest_command
from gputel.cli.no_effect import refuse_without_effect
from gputel.cli.queue.group import queue
from gputel.cli.run import run_command
from gputel.cli.scrape.group import check_command
from gputel.config.resolve import resolve, specs
from gputel.errors import ConfigError, UsageError
from gputel.roles.registry import in_start_order

DATABASE = {"data_dir", "postgres_dsn", "postgres_bin_dir", "postgres_wait_s", "postgres_pool_size"}
SETTINGS = {spec.name: spec for spec in specs()}


def settings_of(command: click.Command) -> set[str]:
    flags = {flag for each in command.params for flag in each.opts}
    return {spec.name for spec in SETTINGS.values() if spec.flag in flags}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("url", {"data_dir", "postgres_dsn"}),
        ("migrate", DATABASE),
        ("grant", DATABASE),
        ("maintain", DATABASE | {"retention", "rollup_retention"}),
        ("status", DATABASE | {"retention"}),
        ("streams", DATABASE),
        ("delete", DATABASE | {"host"}),  # which is the host of GPUs here
    ],
)
def test_commands_of_the_database_have_the_settings_that_they_use(
    name: str, expected: set[str]
) -> None:
    assert settings_of(db.commands[name]) == expected


def test_other_commands_have_the_settings_that_they_use() -> None:
    assert settings_of(healthcheck_command) == {
        "host", "health_port", "broker_port", "api_port", "tls_cert",
    }  # fmt: skip
    assert settings_of(check_command) == {"scrape_config", "impossible_values"}
    ingest = settings_of(ingest_command)
    assert not {name for name in ingest if name.startswith(("scrape", "nvml", "api", "tls"))}
    assert settings_of(run_command) == set(SETTINGS)


@pytest.mark.parametrize(
    "words",
    [
        ("--queue", "jobs", "drain"),
        ("--queue", "jobs", "list"),
        ("--queue", "jobs", "delete", "other"),
        ("--queue", "jobs", "declare", "other"),
        ("--broker-url", "http://a:1", "verify", "."),
    ],
)
def test_a_command_refuses_an_option_of_its_group_that_it_does_not_use(
    words: tuple[str, ...],
) -> None:
    runner = CliRunner()
    with pytest.raises(UsageError, match=f"{words[0]}: `gputel queue {words[2]}` does not use it"):
        runner.invoke(queue, words, catch_exceptions=False)
    flag, value, *command = words
    behind = runner.invoke(queue, [*command, flag, value])
    assert (behind.exit_code, "No such option" in behind.output) == (2, True)


FILE = "has no effect without a file or the sample"


@pytest.mark.parametrize(
    ("role", "flags", "told"),
    [
        ("all", {"scrape": "a", "loop": True}, f"--loop: {FILE}"),
        ("all", {"scrape": "a", "loop": False}, f"--loop: {FILE}"),
        ("streamer", {"scrape_config": "a.yml", "rate": "5"}, f"--rate: {FILE}"),
        ("streamer", {"nvml": True, "stream_id": "a"}, f"--stream-id: {FILE}"),
        ("all", {"scrape": "a", "timestamps": "source"}, f"--timestamps: {FILE}"),
        ("all", {"csv_host": "a"}, "--csv-host: has no effect without --csv FILE"),
        (
            "all",
            {"scrape_config": "a", "scrape_interval": "5s"},
            "--scrape-interval: has no effect without --scrape",
        ),
        ("all", {"scrape_batch_s": "1"}, "--scrape-batch-s: has no effect without --scrape, "),
        ("all", {"nvml_interval": "5s"}, "--nvml-interval: has no effect without --nvml"),
        ("broker", {"journal_sync": "off"}, "--journal-sync: has no effect without --journal DIR"),
        (
            "broker",
            {"journal": "j", "journal_sync_interval_s": "1"},
            "--journal-sync-interval-s: has no effect without --journal DIR with --journal-sync",
        ),
        ("api", {"rate_burst": "5"}, "--rate-burst: has no effect without --rate-limit"),
        (
            "api",
            {"postgres_dsn": "postgresql://a/b", "postgres_bin_dir": "x"},
            "--postgres-bin-dir: has no effect without the embedded Postgres",
        ),
        ("broker", {"csv": "a.csv"}, "--csv: no role that runs here uses it"),
        ("broker", {"postgres_dsn": "postgresql://a/b"}, "--postgres-dsn: no role that runs"),
        ("api", {"workers": "3"}, "--workers: no role that runs here uses it"),
        ("streamer", {"max_attempts": "3"}, "--max-attempts: no role that runs here uses it"),
        ("collector", {"api_port": "80"}, "--api-port: no role that runs here uses it"),
    ],
)
def test_a_flag_without_effect_is_refused(role: str, flags: dict[str, object], told: str) -> None:
    running = [each.name for each in in_start_order([role])]
    with pytest.raises(ConfigError) as refused:
        refuse_without_effect(resolve(flags, {}), running)
    assert refused.value.message.startswith(told)
    environment = {
        SETTINGS[name].env: str(value).lower() for name, value in flags.items() if name != "csv"
    }
    refuse_without_effect(resolve({}, environment), running)


@pytest.mark.parametrize(
    ("role", "flags"),
    [
        ("all", {"scrape": "a", "scrape_interval": "5s", "scrape_batch_s": "1"}),
        ("all", {"scrape": "a", "csv": "a.csv", "loop": True, "rate": "5"}),
        ("all", {"loop": True, "rate": "5", "timestamps": "processing"}),
        ("api", {"retention": "5d", "future_limit": "1d", "impossible_values": "keep"}),
        ("collector", {"broker_port": "8", "visibility_timeout_s": "9"}),
        ("streamer", {"impossible_values": "keep", "broker_port": "8", "health_port": "9"}),
    ],
)
def test_a_flag_that_a_role_uses_is_taken(role: str, flags: dict[str, object]) -> None:
    refuse_without_effect(resolve(flags, {}), [each.name for each in in_start_order([role])])
