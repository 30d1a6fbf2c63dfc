from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from gputel.web import assets
from gputel.web.assets import Asset, AssetError


@pytest.fixture
def tarball(tmp_path: Path) -> Path:
    path = tmp_path / "thing-1.0.0.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name in ("thing.js", "LICENSE", "unwanted.js"):
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(name)
            archive.addfile(member, io.BytesIO(name.encode()))
    return path


def asset(tarball: Path) -> Asset:
    checksum = hashlib.sha256(tarball.read_bytes()).hexdigest()
    return Asset("thing", "1.0.0", checksum, "thing", ("thing.js", "LICENSE"))


def test_only_the_wanted_files_are_kept(tarball: Path, tmp_path: Path) -> None:
    vendor = tmp_path / "vendor"
    assets.unpack(tarball, asset(tarball), vendor)
    kept = sorted(path.name for path in (vendor / "thing").iterdir())
    assert kept == [".fetched", "LICENSE", "thing.js"]
    assert (vendor / "thing" / "thing.js").read_text() == "thing.js"


def test_a_tarball_of_another_checksum_is_refused(tarball: Path, tmp_path: Path) -> None:
    wanted = asset(tarball)
    with tarball.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(AssetError, match=f"not {wanted.sha256}"):
        assets.unpack(tarball, wanted, tmp_path / "vendor")
    assert not (tmp_path / "vendor").exists()


def test_what_is_there_is_not_fetched_again(
    tarball: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor = tmp_path / "vendor"
    assets.unpack(tarball, asset(tarball), vendor)
    monkeypatch.setenv("PATH", "")
    assets.fetch([asset(tarball)], vendor)
    assert (vendor / assets.STAMP).exists()


def test_the_package_file_pins_swagger_ui_exactly_and_runs_nothing() -> None:
    (wanted,) = assets.pinned(assets.ROOT / "package.json")
    assert (wanted.name, wanted.version) == ("swagger-ui-dist", "5.35.0")
    assert len(wanted.sha256) == 64
    text = (assets.ROOT / "package.json").read_text("utf-8")
    assert "scripts" not in text
    assert "http" not in text
