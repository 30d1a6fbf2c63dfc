"""What is asked wrongly is told in one line; what is asked of gputel itself is answered."""

from __future__ import annotations

from pathlib import Path

import pytest

from gputel import __version__
from gputel.config.resolve import specs
from gputel.version import full_version
from tests.helpers.captures import write_numbered
from tests.helpers.processes import Processes, free_port

NOBODY = "postgresql://nobody:geheim@127.0.0.1:1/none"


@pytest.mark.parametrize(
    ("arguments", "environment", "told"),
    [
        ((), {}, "--role: name at least one of broker, streamer, collector, api, all"),
        (("--role", ""), {}, "--role: name at least one of"),
        (("--role", "broker,brokr"), {}, "--role: there is no role 'brokr'; choose from"),
        (("--role", "api", "--api-port", "70000"), {}, "--api-port: 70000 is more than the most"),
        (("--role", "all", "--rate", "fast"), {}, "--rate: 'fast' is not a number"),
        (("--role", "all", "--workers", "0"), {}, "--workers: 0 is less than the least allowed"),
        (("--role", "all"), {"GPUTEL_RATE": "-1"}, "GPUTEL_RATE: -1.0 is less than the least"),
        (("--role", "all"), {"GPUTEL_RAET": "1"}, "GPUTEL_RAET: no such setting"),
        (("--role", "all"), {"GPUTEL_POSTGRES_DSN": "geheim"}, "--postgres-dsn: must look like"),
        (("--role", "streamer", "--follow"), {}, "--follow: needs --csv FILE"),
        (
            ("--role", "all", "--csv", "a.csv", "--follow", "--loop"),
            {},
            "--follow and --loop contradict each other",
        ),
        (
            ("--role", "streamer", "--csv", "a.csv", "--loop"),
            {"GPUTEL_TIMESTAMPS": "source"},
            "--loop and --timestamps source contradict each other",
        ),
        (("--role", "all", "--csv", ".", "--follow"), {}, "--follow: . is not a file"),
        (("--role", "all", "--csv", "x/a.csv", "--follow"), {}, "--follow: x is not a directory"),
        (("--role", "broker", "--host", "192.0.2.1"), {}, "--host: 192.0.2.1 is no address"),
        (("--role", "broker", "--host", "a..b"), {}, "--host: a..b is no address"),
    ],
)
async def test_wrong_setting_is_one_line_and_exit_2(
    processes: Processes, arguments: tuple[str, ...], environment: dict[str, str], told: str
) -> None:
    ended = await processes.run("run", *arguments, **environment)
    assert (ended.process.returncode, ended.out) == (2, "")
    assert ended.err.startswith(f"gputel: {told}")
    assert ended.err.count("\n") == 1
    assert "geheim" not in ended.err


@pytest.mark.parametrize("command", [("run", "--role", "api"), ("ingest", "some.csv")])
async def test_database_that_does_not_answer_is_one_line_without_its_password(
    processes: Processes, tmp_path: Path, command: tuple[str, ...]
) -> None:
    write_numbered(tmp_path / "some.csv", 5)
    wait = ("--postgres-wait-s", "0.1")
    ended = await processes.run(*command, *wait, GPUTEL_POSTGRES_DSN=NOBODY)
    assert (ended.process.returncode, ended.out) == (1, "")
    assert ended.err.startswith("gputel: Postgres at postgresql://***@127.0.0.1:1/none did")
    assert ended.err.count("\n") == 1
    assert "geheim" not in ended.err


async def test_database_that_is_not_there_is_one_line(processes: Processes, dsn: str) -> None:
    missing = dsn.replace("@/", "@/not_")
    ended = await processes.run("run", "--role", "api", GPUTEL_POSTGRES_DSN=missing)
    assert ended.process.returncode == 1
    assert "create the database, or name another in --postgres-dsn" in ended.err
    assert ended.err.count("\n") == 1


async def test_file_that_is_not_there_ends_the_streamer(processes: Processes, dsn: str) -> None:
    arguments = ("run", "--role", "streamer", "--csv", "none.csv")
    ended = await processes.run(*arguments, GPUTEL_POSTGRES_DSN=dsn)
    assert (ended.process.returncode, ended.out) == (1, "")
    assert ended.err == "gputel: none.csv: no such file; check the path\n"


async def test_other_file_under_the_name_of_a_running_stream_ends_the_streamer(
    processes: Processes, dsn: str, tmp_path: Path
) -> None:
    one, other = (write_numbered(tmp_path / f"{rows}.csv", rows) for rows in (10, 20))
    stream = ("run", "--role", "streamer", "--stream-id", "mine", "--broker-port", str(free_port()))
    first = processes.start(*stream, "--csv", one, GPUTEL_POSTGRES_DSN=dsn)
    await first.says("ready")
    second = await processes.run(*stream, "--csv", other, GPUTEL_POSTGRES_DSN=dsn)
    assert second.process.returncode == 1
    assert str(one) in second.err
    assert str(other) in second.err
    assert second.err.count("\n") == 1
    assert first.running


async def test_version_is_told(processes: Processes) -> None:
    told = (await processes.run("--version")).out
    assert told == f"gputel, version {full_version()}\n"
    assert told.startswith(f"gputel, version {__version__}")


async def test_roles_are_told_with_the_order_of_their_start(processes: Processes) -> None:
    ended = await processes.run("roles")
    assert (ended.process.returncode, ended.err) == (0, "")
    assert "store -> health -> broker -> collector -> streamer -> api" in " ".join(
        ended.out.split()
    )
    for role in ("broker", "streamer", "collector", "api", "all"):
        assert any(line.startswith(f"{role} ") for line in ended.out.splitlines())


async def test_config_tells_each_setting_and_where_it_came_from(processes: Processes) -> None:
    environment = {"GPUTEL_POSTGRES_DSN": NOBODY, "GPUTEL_WORKERS": "5"}
    ended = await processes.run("config", "--rate", "7.5", **environment)
    assert (ended.process.returncode, ended.err) == (0, "")
    rows = {line.split()[0]: line.split()[1:] for line in ended.out.splitlines()}
    assert rows["--rate"] == ["7.5", "flag", "GPUTEL_RATE"]
    assert rows["--workers"] == ["5", "environment", "GPUTEL_WORKERS"]
    assert rows["--api-port"] == ["8080", "default", "GPUTEL_API_PORT"]
    assert rows["--postgres-dsn"][0] == "postgresql://***@127.0.0.1:1/none"
    assert rows["--timestamps"][:2] == ["processing", "default"]
    assert {spec.flag for spec in specs()} <= rows.keys()
    assert "geheim" not in ended.out
