"""Ids of messages whose producer gave none."""

import os

from gputel.mq.wire.ids import new_id


def test_ids_are_never_made_twice() -> None:
    assert len({new_id() for _ in range(10_000)}) == 10_000


def test_a_forked_process_makes_others() -> None:
    reading, writing = os.pipe()
    before = new_id()
    if (pid := os.fork()) == 0:
        os.write(writing, new_id().encode())
        os._exit(0)
    os.waitpid(pid, 0)
    of_child = os.read(reading, 100).decode()
    os.close(reading)
    os.close(writing)
    assert of_child.partition("-")[0] != before.partition("-")[0]
