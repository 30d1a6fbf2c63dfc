"""Whether a process is ready."""

from __future__ import annotations

from gputel.web.health import Health


async def test_a_check_that_is_added_while_others_run_is_asked_the_next_time() -> None:
    health = Health()

    async def late() -> str:
        return "not yet"

    async def first() -> None:
        health.add("late", late)

    health.add("first", first)
    assert await health.problems() == {}
    assert await health.problems() == {"late": "not yet"}
