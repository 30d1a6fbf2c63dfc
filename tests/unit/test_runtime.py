"""Roles start in order, stop in reverse, within the deadline; an error in one stops the process."""

import asyncio
import os
import signal
import socket
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from gputel.config.settings import ApiSettings, BrokerSettings, CommonSettings, Settings
from gputel.errors import PortTaken, SourceError, Stopped, UsageError
from gputel.roles.registry import ROLES, Role
from gputel.roles.starts import working
from gputel.runtime import run_loop, run_until_stopped, running


@pytest.fixture
def events(monkeypatch):
    """Two roles, second after first, that note what happens to them."""
    noted = []

    def start(name):
        @asynccontextmanager
        async def context(process, services):
            noted.append(f"{name} starts")
            try:
                yield services
            finally:
                noted.append(f"{name} stops")

        return context

    monkeypatch.setitem(ROLES, "first", Role("first", "", start("first")))
    needs = frozenset({"first"})
    monkeypatch.setitem(ROLES, "second", Role("second", "", start("second"), needs))
    return noted


def settings(drain_deadline_s=5.0):
    return Settings(common=CommonSettings(drain_deadline_s=drain_deadline_s))


def add_work(monkeypatch, work):
    @asynccontextmanager
    async def context(process, services):
        async with working(process, "busy", work):
            yield services

    monkeypatch.setitem(ROLES, "busy", Role("busy", "", context))


async def test_roles_start_in_order_and_stop_in_reverse(events):
    async with running(["second"], settings()):
        assert events == ["first starts", "second starts"]
    assert events[2:] == ["second stops", "first stops"]


async def test_signal_stops_the_process_and_drains_it(events):
    task = asyncio.create_task(run_until_stopped(["second"], settings()))
    while len(events) < 2:
        await asyncio.sleep(0.001)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(task, 60)
    assert events[2:] == ["second stops", "first stops"]


async def test_signal_that_comes_twice_still_drains(events):
    task = asyncio.create_task(run_until_stopped(["second"], settings()))
    while len(events) < 2:
        await asyncio.sleep(0.001)
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
        os.kill(os.getpid(), number)
    await asyncio.wait_for(task, 60)
    assert events[2:] == ["second stops", "first stops"]


async def test_ports_are_found_taken_before_any_role_has_started(events, monkeypatch):
    monkeypatch.setitem(
        ROLES, "third", replace(ROLES["second"], name="third", port=("api", "api_port"))
    )
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = replace(settings(), api=ApiSettings(api_port=other.getsockname()[1]))
        with pytest.raises(PortTaken, match="--api-port"):
            await run_until_stopped(["third"], taken)
    assert events == []


async def test_two_roles_cannot_have_one_port():
    both = replace(settings(), api=ApiSettings(api_port=8099), broker=BrokerSettings(8099))
    with pytest.raises(UsageError, match="--broker-port and --api-port are both 8099"):
        await run_until_stopped(["broker", "api"], both)


@pytest.mark.parametrize("host", ["nowhere.invalid", "999.1.1.1", "203.0.113.7"])
async def test_host_that_is_none_is_told_without_codes(host):
    elsewhere = replace(settings(), common=CommonSettings(host=host))
    with pytest.raises(UsageError, match=f"--host: {host} is no address of this machine") as told:
        await run_until_stopped(["broker"], elsewhere)
    assert "Errno" not in told.value.message


async def test_error_in_the_work_of_a_role_stops_the_process_and_is_raised(events, monkeypatch):
    async def work(stopping):
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())

    async def fail():
        raise SourceError("file gone")

    add_work(monkeypatch, work)
    with pytest.raises(SourceError, match="file gone"):
        await run_until_stopped(["busy", "second"], settings())
    assert events[-1] == "first stops"


async def test_work_is_told_to_stop_and_finishes_what_it_holds(monkeypatch):
    done = []

    async def work(stopping):
        await stopping.wait()
        await asyncio.sleep(0.05)
        done.append("finished")

    add_work(monkeypatch, work)
    async with running(["busy"], settings()):
        pass
    assert done == ["finished"]


async def test_work_that_outlasts_the_deadline_is_cancelled_to_hand_back(monkeypatch):
    done = []

    async def work(stopping):
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            done.append("handed back")
            raise

    add_work(monkeypatch, work)
    async with running(["busy"], settings(drain_deadline_s=0.05)):
        pass
    assert done == ["handed back"]


async def test_role_that_fails_to_start_stops_those_started_before(events, monkeypatch):
    @asynccontextmanager
    async def context(process, services):
        raise SourceError("no such file")
        yield services  # type: ignore[unreachable]

    monkeypatch.setitem(ROLES, "bad", Role("bad", "", context, frozenset({"second"})))
    with pytest.raises(SourceError):
        await run_until_stopped(["bad"], settings())
    assert events[-2:] == ["second stops", "first stops"]


def test_signal_during_a_start_cancels_it_and_ends_in_peace(events, monkeypatch):
    @asynccontextmanager
    async def context(process, services):
        asyncio.get_running_loop().call_later(0.01, os.kill, os.getpid(), signal.SIGTERM)
        await asyncio.sleep(600)
        yield services

    monkeypatch.setitem(ROLES, "slow", Role("slow", "", context, frozenset({"second"})))
    with pytest.raises(Stopped) as raised:
        run_loop(run_until_stopped(["slow"], settings()))
    assert raised.value.exit_code == 0
    assert events[-2:] == ["second stops", "first stops"]
