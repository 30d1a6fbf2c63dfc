"""Why something failed, by what the failure says of itself."""

from __future__ import annotations

import errno
import subprocess
import sys
import textwrap

import asyncpg
import pyarrow as pa
import pytest

from gputel.errors import BrokerUnavailable, DataRefused, DecodeError, StoreUnavailable
from gputel.failures import Cause, cause_of, is_short

CAUSES = [
    (MemoryError(), Cause.TEMPORARY),
    (pa.ArrowMemoryError("malloc of size 8388608 failed"), Cause.TEMPORARY),
    (OSError(errno.ENOMEM, "Cannot allocate memory"), Cause.TEMPORARY),
    (OSError(errno.EMFILE, "Too many open files"), Cause.TEMPORARY),
    (OSError(errno.ENOSPC, "No space left on device"), Cause.TEMPORARY),
    (RuntimeError("can't start new thread"), Cause.TEMPORARY),
    (OSError("ZSTD decompression failed: Allocation error : not enough memory"), Cause.TEMPORARY),
    (pa.ArrowException("Unknown error: std::bad_alloc"), Cause.TEMPORARY),
    (TimeoutError(), Cause.TEMPORARY),
    (ConnectionResetError("reset"), Cause.TEMPORARY),
    (asyncpg.DiskFullError("53100"), Cause.TEMPORARY),
    (asyncpg.OutOfMemoryError("53200"), Cause.TEMPORARY),
    (asyncpg.TooManyConnectionsError("53300"), Cause.TEMPORARY),
    (asyncpg.ReadOnlySQLTransactionError("25006"), Cause.TEMPORARY),
    (asyncpg.LockNotAvailableError("55P03"), Cause.TEMPORARY),
    (asyncpg.QueryCanceledError("57014"), Cause.TEMPORARY),
    (asyncpg.InsufficientPrivilegeError("42501"), Cause.REPAIRABLE),
    (asyncpg.UndefinedTableError("42P01"), Cause.REPAIRABLE),
    (asyncpg.DatatypeMismatchError("42804"), Cause.REPAIRABLE),
    (asyncpg.UndefinedObjectError("42704"), Cause.REPAIRABLE),
    (asyncpg.InvalidPasswordError("28P01"), Cause.REPAIRABLE),
    (asyncpg.ProgramLimitExceededError("54000"), Cause.PERMANENT),
    (asyncpg.CharacterNotInRepertoireError("22021"), Cause.PERMANENT),
    (asyncpg.CheckViolationError("23514"), Cause.PERMANENT),
    (asyncpg.InternalServerError("XX000"), Cause.UNCLEAR),
    (asyncpg.RaiseError("P0001"), Cause.UNCLEAR),
    (asyncpg.FeatureNotSupportedError("0A000"), Cause.UNCLEAR),
    (asyncpg.PostgresSyntaxError("42601"), Cause.UNCLEAR),
    (asyncpg.DuplicateTableError("42P07"), Cause.UNCLEAR),
    (KeyError("bug"), Cause.UNCLEAR),
    (DecodeError("no"), Cause.PERMANENT),
    (DataRefused("no"), Cause.PERMANENT),
    (StoreUnavailable("away"), Cause.TEMPORARY),
    (BrokerUnavailable("away"), Cause.TEMPORARY),
]


@pytest.mark.parametrize(("error", "cause"), CAUSES, ids=lambda each: str(each)[:40])
def test_cause_of_a_failure(error: BaseException, cause: Cause) -> None:
    assert cause_of(error) is cause


def test_damage_of_a_payload_is_no_lack_of_anything() -> None:
    with pytest.raises(pa.ArrowInvalid) as raised:
        pa.ipc.open_stream(b"nothing of that kind")
    assert not is_short(raised.value)


def test_a_process_without_memory_tells_of_that_and_not_of_the_payload() -> None:
    """A good payload, decoded where memory ends at every place in turn."""
    script = """
        import resource, sys
        from gputel.failures import is_short
        from gputel.errors import DecodeError
        from gputel.model.record_batch import decode, encode
        from tests.helpers.batches import steady
        payload = encode(steady(300_000))
        decode(payload)
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        short = 0
        for spare in range(0, 40 << 20, 2 << 20):
            resource.setrlimit(resource.RLIMIT_AS, (used + spare, -1))
            try:
                decode(payload)
            except DecodeError as error:
                sys.exit(f"blamed the payload: {error.message}")
            except Exception as error:
                if not is_short(error):
                    sys.exit(f"not seen as short of memory: {error!r}")
                short += 1
        print(short)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr + done.stdout
