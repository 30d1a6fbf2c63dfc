"""The library that gives a user name to initdb answers for its uid, and is made only if needed."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from pathlib import Path

import pytest

from gputel.store.postgres.user_name import library, user_name_environment

NAMELESS = 1_234_567_890
MACHINE = platform.machine()


class Passwd(ctypes.Structure):
    """struct passwd."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("password", ctypes.c_char_p),
        ("uid", ctypes.c_uint32),
        ("gid", ctypes.c_uint32),
        ("gecos", ctypes.c_char_p),
        ("home", ctypes.c_char_p),
        ("shell", ctypes.c_char_p),
    )


@pytest.mark.skipif(MACHINE not in ("x86_64", "aarch64"), reason="of another machine")
def test_its_getpwuid_gives_a_whole_entry(tmp_path: Path) -> None:
    path = tmp_path / "name.so"
    path.write_bytes(library(NAMELESS, MACHINE))
    getpwuid = ctypes.CDLL(str(path)).getpwuid
    getpwuid.restype = ctypes.POINTER(Passwd)
    entry = getpwuid(NAMELESS).contents
    assert (entry.name, entry.password, entry.uid, entry.gid) == (
        b"gputel",
        b"x",
        NAMELESS,
        NAMELESS,
    )
    assert (entry.gecos, entry.home, entry.shell) == (b"", b"/", b"")


def test_each_machine_has_its_own_code_for_the_same_address() -> None:
    intel, arm = (library(1, machine) for machine in ("x86_64", "aarch64"))
    assert (struct.unpack_from("<H", intel, 18), struct.unpack_from("<H", arm, 18)) == (
        (62,),
        (183,),
    )
    code = 64 + 4 * 56
    lea, distance = intel[code : code + 3], *struct.unpack_from("<i", intel, code + 3)
    assert (lea, intel[code + 7]) == (b"\x48\x8d\x05", 0xC3)
    adr, ret = struct.unpack_from("<II", arm, code)
    assert ret == 0xD65F03C0
    assert adr & 0x9F00001F == 0x10000000, "adr x0"
    assert (adr >> 5 & 0x7FFFF) << 2 | adr >> 29 & 3 == distance + 7


def test_a_child_without_a_name_gets_the_library_while_it_runs(tmp_path: Path) -> None:
    with user_name_environment(tmp_path, NAMELESS) as variables:
        path = Path(variables["LD_PRELOAD"])
        assert path.parent == tmp_path
        assert path.stat().st_mode & 0o777 == 0o644
    assert not list(tmp_path.iterdir())


def test_a_child_that_has_a_name_gets_nothing(tmp_path: Path) -> None:
    with user_name_environment(tmp_path, 0) as variables:
        assert variables == {}
        assert not list(tmp_path.iterdir())


def test_our_own_uid_counts_where_no_other_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: NAMELESS)
    with user_name_environment(tmp_path, None) as variables:
        assert "LD_PRELOAD" in variables
