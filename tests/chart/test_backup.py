"""The backup: a CronJob that runs backup.sh, which dumps a real database whole, and keeps a few."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from gputel.store.postgres.binaries import find_binaries
from tests.chart.conftest import RenderOf
from tests.chart.renders import CHART

SCRIPT = CHART / "files" / "backup.sh"


@dataclass
class Backup:
    """The script on a folder, with the database's variables as the CronJob sets them."""

    folder: Path
    environment: dict[str, str]

    def run(self, **environment: str) -> subprocess.CompletedProcess[str]:
        env = self.environment | {"BACKUP_DIR": str(self.folder)} | environment
        return subprocess.run(["sh", str(SCRIPT)], env=env, capture_output=True, text=True)

    @property
    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    found = find_binaries(None, tmp_path).bin_dir
    if not (found / "pg_dump").exists():
        pytest.skip("needs pg_dump")
    return found


@pytest.fixture
def backup(tmp_path: Path, dsn: str, programs: Path) -> Backup:
    parts = urlsplit(dsn)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    folder = tmp_path / "backup"
    folder.mkdir()
    return Backup(
        folder,
        {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PGHOST": parts.hostname or query["host"],
            "PGPORT": str(parts.port or query["port"]),
            "PGUSER": parts.username or "",
            "PGPASSWORD": parts.password or "",
            "PGDATABASE": parts.path.lstrip("/"),
            "BACKUP_KEEP": "2",
        },
    )


async def test_it_dumps_the_database_whole(
    backup: Backup, pool: asyncpg.Pool, programs: Path
) -> None:
    await pool.execute("CREATE TABLE kept_by_the_backup (n int)")
    await pool.execute("INSERT INTO kept_by_the_backup VALUES (4711)")
    done = backup.run()
    assert done.returncode == 0, done.stderr
    (name,) = backup.names
    assert name in done.stdout
    path = backup.folder / name
    assert path.stat().st_mode & 0o077 == 0, "nobody else's to read"
    command = [str(programs / "pg_restore"), "-f", "-", "--table=kept_by_the_backup", str(path)]
    restored = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "4711" in restored.stdout


def test_it_keeps_the_newest(backup: Backup) -> None:
    for day in (1, 2, 3):
        (backup.folder / f"gputel-2025010{day}T030000Z.dump").write_text("old")
    (backup.folder / "of-someone-else.txt").write_text("stays")
    done = backup.run()
    assert done.returncode == 0, done.stderr
    newest, *others = [name for name in backup.names if name > "gputel-2025010"]
    assert newest == "gputel-20250103T030000Z.dump"
    assert len(others) == 2
    assert "of-someone-else.txt" in others
    assert "gputel-20250101T030000Z.dump: removed" in done.stdout


def test_a_dump_that_fails_removes_nothing_and_leaves_none(backup: Backup) -> None:
    for day in (1, 2, 3):
        (backup.folder / f"gputel-2025010{day}T030000Z.dump").write_text("old")
    done = backup.run(PGDATABASE="no_such_database")
    assert done.returncode != 0
    assert "no_such_database" in done.stderr
    assert [name for name in backup.names if name.endswith(".dump")] == [
        f"gputel-2025010{day}T030000Z.dump" for day in (1, 2, 3)
    ]


def test_the_job_runs_it_on_a_disk_that_stays(render_of: RenderOf) -> None:
    render = render_of("backup")
    container = render.container("backup")
    assert container["command"] == ["sh", "/scripts/backup.sh"]
    assert container["image"] == render.container("postgres")["image"], "of one major version"
    assert SCRIPT.read_text() == render.one("ConfigMap", "scripts")["data"]["backup.sh"]
    claim = render.one("PersistentVolumeClaim", "backup")["metadata"]
    assert claim["annotations"]["helm.sh/resource-policy"] == "keep"
    (volume,) = [v for v in render.pod("backup")["volumes"] if v["name"] == "backup"]
    assert volume["persistentVolumeClaim"]["claimName"] == claim["name"]
    (job,) = render.kind("CronJob")
    assert job["spec"]["concurrencyPolicy"] == "Forbid"
    assert job["spec"]["timeZone"] == "Europe/Berlin"
    env = render.env("backup")
    assert env["BACKUP_KEEP"] == "2"
    assert env["PGHOST"] == render.one("Service", "postgres")["metadata"]["name"]
    assert env["PGPASSWORD"]["secretKeyRef"]["name"] == "rel-gputel-postgres"


def test_a_disk_of_ones_own_is_used(render_of: RenderOf) -> None:
    render = render_of("own-backup-disk")
    assert not render.kind("PersistentVolumeClaim")
    (volume,) = [v for v in render.pod("backup")["volumes"] if v["name"] == "backup"]
    assert volume["persistentVolumeClaim"]["claimName"] == "dumps"
