"""All threads, and Arrow, take memory from one place, unless the environment says otherwise."""

import os
import subprocess
import sys

import pytest

TELL = """
import ctypes, re, tempfile, threading
from gputel.memory import keep_memory_in_one_place
keep_memory_in_one_place()
import pyarrow as pa
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.fdopen.restype = libc.fopen.restype = ctypes.c_void_p
at_once = threading.Barrier(4)
def hold():
    libc.malloc(100_000)
    at_once.wait()
threads = [threading.Thread(target=hold) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
with tempfile.NamedTemporaryFile() as told:
    stream = ctypes.c_void_p(libc.fopen(told.name.encode(), b"w"))
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    print(len(re.findall("<heap nr=", told.read().decode())), pa.default_memory_pool().backend_name)
"""


def told(**environ: str) -> list[str]:
    ours = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "ARROW_"))}
    command = [sys.executable, "-c", TELL]
    return subprocess.check_output(command, env=ours | environ, text=True).split()


@pytest.fixture(autouse=True)
def glibc():
    if os.confstr("CS_GNU_LIBC_VERSION") is None:
        pytest.skip("another C library")


def test_threads_and_arrow_share_one_arena():
    assert told() == ["1", "system"]


def test_what_the_environment_says_of_memory_is_kept():
    arenas, pool = told(MALLOC_ARENA_MAX="8", ARROW_DEFAULT_MEMORY_POOL="mimalloc")
    assert int(arenas) > 1
    assert pool == "mimalloc"
