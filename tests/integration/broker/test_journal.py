"""A broker with a journal: stopped and started again, it holds what it held."""

import asyncio
from pathlib import Path

import pytest
from click.testing import CliRunner

from gputel.broker.durable.declarations import FILE
from gputel.cli.queue.verify import verify_command
from gputel.mq.journal.files import JournalFiles, JournalInUse, segment_path
from tests.integration.broker.conftest import Clock, Start


async def test_messages_come_back_with_their_state(start: Start, tmp_path: Path) -> None:
    async with start(journal=tmp_path, drain_deadline_s=0) as broker:
        await broker.publish("acked", "taken", "dead", "ready", "replayed")
        _, taken = await broker.post("/consume?max=3&wait_s=1")
        await broker.post("/ack", {"id": "acked"})
        await broker.post("/nack", {"id": "dead", "reason": "cannot be read", "dead": True})
        await broker.post("/publish?queue=other", {"id": "x", "payload": "y", "key": "k"})
        assert [m["id"] for m in taken] == ["acked", "taken", "dead"]
    async with start(journal=tmp_path, drain_deadline_s=0) as broker:
        _, held = await broker.post(
            "/held", [{"id": id_} for id_ in ("acked", "taken", "dead", "ready")]
        )
        assert [item["held"] for item in held] == [None, "ready", "dead", "ready"]
        _, again = await broker.post("/consume?max=10&wait_s=1")
        assert [(m["id"], m["attempts"]) for m in again] == [
            ("taken", 2),
            ("ready", 1),
            ("replayed", 1),
        ]
        _, other = await broker.post("/consume?queue=other&max=10&wait_s=1")
        assert [(m["id"], m["key"], m["payload"]) for m in other] == [("x", "k", "y")]
        _, letter = await broker.get("/dead-letters/dead")
        assert letter["reason"] == "cannot be read"
        _, stats = await broker.get("/stats")
        assert stats["published"] == stats["in_flight"] + stats["dead"]


async def test_acks_carried_by_a_consume_and_replays_last(start: Start, tmp_path: Path) -> None:
    async with start(journal=tmp_path, drain_deadline_s=0) as broker:
        await broker.publish("a", "b", "c")
        await broker.post("/consume?max=2&wait_s=1")
        await broker.post("/nack", {"id": "b", "dead": True})
        _, reply = await broker.post("/consume?max=1&wait_s=1", {"ack": [{"id": "a"}]})
        assert reply["acks"][0]["ok"]
        assert (await broker.post("/dead-letters/replay", {"id": "b"}))[1] == {"replayed": 1}
    async with start(journal=tmp_path, drain_deadline_s=0) as broker:
        _, again = await broker.post("/consume?max=10&wait_s=1")
        assert [(m["id"], m["attempts"]) for m in again] == [("c", 2), ("b", 1)]


async def test_a_delay_and_a_time_to_live_go_on_over_a_restart(
    start: Start, tmp_path: Path, clock: Clock
) -> None:
    async with start(journal=tmp_path, drain_deadline_s=0) as broker:
        await broker.publish("later", delay_s=2000)
        await broker.publish("short", ttl_s=600)
        await broker.publish("now")
    clock.pass_(1000)
    async with start(journal=tmp_path, drain_deadline_s=0) as broker:
        _, first = await broker.post("/consume?max=10&wait_s=1")
        assert [m["id"] for m in first] == ["now"]
        await broker.post("/ack", {"id": "now"})
        clock.pass_(1000)
        _, second = await broker.post("/consume?max=10&wait_s=1")
        assert [m["id"] for m in second] == ["later"]


async def test_a_lease_that_was_the_last_attempt_ends_in_the_dead_letters(
    start: Start, tmp_path: Path
) -> None:
    async with start(journal=tmp_path, drain_deadline_s=0, max_attempts=1) as broker:
        await broker.publish("a")
        await broker.post("/consume?max=1&wait_s=1")
    for _ in range(2):
        async with start(journal=tmp_path, drain_deadline_s=0, max_attempts=1) as broker:
            _, dead = await broker.get("/dead-letters")
            assert [letter["id"] for letter in dead["dead_letters"]] == ["a"]


async def test_a_second_broker_on_the_directory_is_refused(start: Start, tmp_path: Path) -> None:
    async with start(journal=tmp_path):
        with pytest.raises(JournalInUse, match=str(tmp_path)):
            async with start(journal=tmp_path):
                pass


async def test_a_failed_sync_ends_all_confirmation(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The failure is put in where the journal calls the system: no disk here fails on demand."""
    async with start(journal=tmp_path, drain_deadline_s=0) as broker:
        await broker.publish("safe")

        def fail(_self: JournalFiles, _fd: int) -> None:
            raise OSError(5, "Input/output error")

        with monkeypatch.context() as patch:
            patch.setattr(JournalFiles, "fdatasync", fail)
            status, reply = await broker.post("/publish", {"id": "lost", "payload": "x"})
            assert (status, reply["code"]) == (503, "journal_broken")
        status, reply = await broker.post("/publish", {"id": "more", "payload": "x"})
        assert (status, reply["code"]) == (503, "journal_broken")
        await broker.post("/consume?max=1&wait_s=1")
        assert (await broker.post("/ack", {"id": "safe"}))[0] == 503
        assert (await broker.get("/readyz"))[0] == 503
    async with start(journal=tmp_path, drain_deadline_s=0) as broker:
        _, held = await broker.post("/held", {"id": "safe"})
        assert held["held"] == "ready"


async def test_a_full_disk_answers_507_and_recovers(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with start(
        journal=tmp_path, drain_deadline_s=0, journal_segment_bytes=256 * 1024
    ) as broker:
        with monkeypatch.context() as patch:

            def full(_self: JournalFiles, _fd: int, _size: int) -> None:
                raise OSError(28, "No space left on device")

            patch.setattr(JournalFiles, "allocate", full)
            status = 202
            for n in range(100):
                status, reply = await broker.post("/publish", {"id": str(n), "payload": "x" * 9000})
                if status != 202:
                    break
            assert (status, reply["code"]) == (507, "journal_full")
            await broker.post("/consume?max=1&wait_s=1")
            assert (await broker.post("/ack", {"id": "0"}))[0] == 200
        async with asyncio.timeout(60):
            while (await broker.post("/publish", {"id": "after", "payload": "x"}))[0] != 202:
                await asyncio.sleep(0.05)


async def test_verify_tells_what_a_journal_holds_and_where_it_is_damaged(
    start: Start, tmp_path: Path
) -> None:
    async with start(journal=tmp_path, drain_deadline_s=0) as broker:
        await broker.publish("a", "b", "c")
        used = CliRunner().invoke(verify_command, [str(tmp_path)])
        assert isinstance(used.exception, JournalInUse)
    sound = CliRunner().invoke(verify_command, [str(tmp_path)])
    assert sound.exit_code == 0
    assert "messages   3" in sound.output
    assert "declared   0 queues" in sound.output
    path = segment_path(tmp_path, 1)
    data = bytearray(path.read_bytes())
    data[4096 + 30] ^= 1
    path.write_bytes(data)
    damaged = CliRunner().invoke(verify_command, [str(tmp_path)])
    assert damaged.exit_code == 1
    assert f"{path}: offset 4096" in damaged.output
    assert "messages   2" in damaged.output


async def test_verify_checks_the_declared_queues_too(start: Start, tmp_path: Path) -> None:
    async with (
        start(journal=tmp_path, drain_deadline_s=0) as broker,
        broker.http.put(broker.url + "/queues/jobs") as reply,
    ):
        assert reply.status == 200
    sound = CliRunner().invoke(verify_command, [str(tmp_path)])
    assert (sound.exit_code, "declared   1 queues" in sound.output) == (0, True)
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes()[:-3])
    damaged = CliRunner().invoke(verify_command, [str(tmp_path)])
    assert damaged.exit_code == 1
    assert f"DAMAGE     {path}" in damaged.output
    assert damaged.output.endswith("damaged\n")


async def test_ordered_keys_keep_their_order_over_a_restart(start: Start, tmp_path: Path) -> None:
    settings = {"journal": tmp_path, "drain_deadline_s": 0, "queues": "q:ordered"}
    async with start(**settings) as broker:
        for id_ in ("dead", "first", "second"):
            await broker.post("/publish?queue=q", {"id": id_, "payload": "x", "key": "k"})
        await broker.post("/consume?queue=q&max=1&wait_s=1")
        await broker.post("/nack?queue=q", {"id": "dead", "reason": "no", "dead": True})
    async with start(**settings) as broker:
        for id_ in ("first", "second"):
            _, found = await broker.post("/consume?queue=q&max=10&wait_s=1")
            assert [message["id"] for message in found] == [id_]
            status, _ = await broker.post("/ack?queue=q", {"id": id_})
            assert status == 200
        _, stats = await broker.get("/stats?queue=q")
        assert (stats["ready"], stats["in_flight"], stats["dead"]) == (0, 0, 1)
