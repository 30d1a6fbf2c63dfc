"""A user name for Postgres' initdb when the uid that it runs as has none in /etc/passwd.

Container platforms run a pod as a uid of their own choice (OpenShift, ``docker run --user``).
initdb and ``postgres --single`` ask the C library for the name of their uid, and end when there is
none; the server itself does not ask. So these two get a library preloaded that answers
``getpwuid`` with one fixed entry. It is one function of two instructions, so it is written here as
an ELF file, byte by byte, and no compiler is needed. nss_wrapper does the same, but few machines
have it.

    segment 1, read and execute: ELF header, program headers, code, hash table, symbols, strings,
                                 relocations
    segment 2, read and write:   the struct passwd, the dynamic section
"""

from __future__ import annotations

import os
import platform
import pwd
import struct
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_STRINGS = b"\0getpwuid\0gputel\0x\0/\0"
_NAME, _PASSWORD, _EMPTY, _HOME = (_STRINGS.index(text) for text in (b"gputel", b"x", b"\0", b"/"))
_HEADERS, _ALIGN = 64 + 4 * 56, 0x10000  # the largest page of either machine
_PASSWD_BYTES, _PASSWD_POINTERS = 48, (0, 8, 24, 32, 40)  # struct passwd of a 64-bit libc
_MACHINES = {"x86_64": (62, 8), "aarch64": (183, 1027)}  # e_machine, and its RELATIVE relocation
_HASH, _STRTAB, _SYMTAB, _RELA, _RELASZ, _RELAENT, _STRSZ, _SYMENT = range(4, 12)  # DT_...


@contextmanager
def user_name_environment(directory: Path, uid: int | None) -> Iterator[Mapping[str, str]]:
    """Variables for a child that must have a user name; none when its uid has one.

    ``uid`` is the child's, None for our own. ``directory`` holds the library meanwhile, so programs
    may not be forbidden there (noexec).
    """
    uid = os.geteuid() if uid is None else uid
    if _has_name(uid) or sys.platform != "linux" or platform.machine() not in _MACHINES:
        yield {}
        return
    with tempfile.NamedTemporaryFile(prefix="user-name-", suffix=".so", dir=directory) as file:
        file.write(library(uid, platform.machine()))
        file.flush()
        os.fchmod(file.fileno(), 0o644)
        yield {"LD_PRELOAD": file.name}


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def library(uid: int, machine: str) -> bytes:
    """A shared library for ``x86_64`` or ``aarch64`` whose getpwuid names every uid ``gputel``."""
    number, relative = _MACHINES[machine]
    code, hashes = _HEADERS, _HEADERS + 16
    symbols = hashes + 24
    strings = symbols + 2 * 24
    relocations = strings + len(_STRINGS) + -len(_STRINGS) % 8
    end = relocations + len(_PASSWD_POINTERS) * 24
    passwd = _ALIGN + end  # the address of what begins segment 2, at offset `end` of the file
    dynamic = passwd + _PASSWD_BYTES

    pointers = [strings + at for at in (_NAME, _PASSWORD, _EMPTY, _HOME, _EMPTY)]
    entries = [(_HASH, hashes), (_STRTAB, strings), (_SYMTAB, symbols), (_RELA, relocations)]
    entries += [(_RELASZ, 24 * len(pointers)), (_RELAENT, 24), (_STRSZ, len(_STRINGS))]
    entries += [(_SYMENT, 24), (0, 0)]
    size = _PASSWD_BYTES + 16 * len(entries)

    first = _elf_header(number) + b"".join(
        struct.pack("<IIQQQQQQ", *fields)
        for fields in (
            (1, 5, 0, 0, 0, end, end, _ALIGN),  # PT_LOAD
            (1, 6, end, passwd, passwd, size, size, _ALIGN),  # PT_LOAD
            (2, 6, end + _PASSWD_BYTES, dynamic, dynamic, 16 * len(entries), 16 * len(entries), 8),
            (0x6474E551, 6, 0, 0, 0, 0, 0, 16),  # PT_GNU_STACK: not executable
        )
    )
    first += _return_address(machine, passwd - code).ljust(16, b"\0")
    first += struct.pack("<5I4x", 1, 2, 1, 0, 0)  # one bucket, with the one symbol in it
    first += bytes(24) + struct.pack("<IBBHQQ", 1, 0x12, 0, 1, code, 16)  # a global function
    first += _STRINGS + bytes(-len(_STRINGS) % 8)
    for place, address in zip(_PASSWD_POINTERS, pointers, strict=True):
        first += struct.pack("<QQq", passwd + place, relative, address)
    second = struct.pack("<16xII24x", uid, uid)
    return first + second + b"".join(struct.pack("<QQ", *entry) for entry in entries)


def _elf_header(machine: int) -> bytes:
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")  # 64 bits, little endian
    return ident + struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, 64, 0, 0, 64, 56, 4, 64, 0, 0)


def _return_address(machine: str, distance: int) -> bytes:
    """A function that returns the address that is ``distance`` bytes after its first one."""
    if machine == "x86_64":  # lea rax, [rip + distance]; ret
        return b"\x48\x8d\x05" + struct.pack("<i", distance - 7) + b"\xc3"
    adr_x0 = 0x10000000 | (distance & 3) << 29 | distance >> 2 << 5  # adr x0, distance; ret
    return struct.pack("<II", adr_x0, 0xD65F03C0)
