"""``gputel queue`` against a real broker, as a process of its own."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def plain_http() -> bool:
    """The command does not know how the broker reads requests: each test runs once."""
    return False


async def gputel_queue(broker, *words, stdin=b""):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gputel", "queue"),
        *("--broker-url", f"http://127.0.0.1:{broker.port}", *words),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate(stdin)
    return process.returncode, out.decode(), err.decode()


async def test_published_message_is_consumed_and_acked(broker):
    code, out, _ = await gputel_queue(broker, "publish", "--id", "1", "--key", "k", "hello")
    assert (code, json.loads(out)) == (0, {"id": "1", "state": "accepted"})
    assert (await gputel_queue(broker, "publish", "-", stdin=b"from a pipe"))[0] == 0
    code, out, _ = await gputel_queue(broker, "consume", "--max", "5")
    messages = [json.loads(line) for line in out.splitlines()]
    assert [message["payload"] for message in messages] == ["hello", "from a pipe"]
    code, out, _ = await gputel_queue(broker, "stats")
    assert json.loads(out)["acked"] == 2
    assert await gputel_queue(broker, "consume") == (0, "", "")


async def test_any_bytes_can_be_published(broker):
    assert (await gputel_queue(broker, "publish", stdin=b"\xff\x00"))[0] == 0
    assert (await gputel_queue(broker, "publish", b"\xfe"))[0] == 0
    _, out, _ = await gputel_queue(broker, "consume", "--max", "5")
    messages = [json.loads(line) for line in out.splitlines()]
    assert [(each["payload"], each["encoding"]) for each in messages] == [
        ("/wA=", "base64"),
        ("/g==", "base64"),
    ]


async def test_a_name_that_is_not_utf8_is_one_line(broker):
    for words in (("--queue", b"\xff", "stats"), ("delete", b"\xff")):
        code, out, err = await gputel_queue(broker, *words)
        assert (code, out) == (2, "")
        assert err == "gputel: '\\udcff' is not UTF-8 text: check the argument\n"


async def test_a_message_that_cannot_be_printed_is_not_acked(broker):
    await broker.publish("a")
    with Path("/dev/full").open("wb") as full:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gputel", "queue"),
            *("--broker-url", f"http://127.0.0.1:{broker.port}", "consume"),
            stdout=full, stderr=subprocess.PIPE,
        )  # fmt: skip
        await process.communicate()
    _, out, _ = await gputel_queue(broker, "stats")
    assert (process.returncode, json.loads(out)["acked"]) == (1, 0)


async def test_peek_prints_what_is_next_and_leaves_it(broker):
    await broker.publish("a", "b", "c")
    for _ in range(2):
        code, out, _ = await gputel_queue(broker, "peek", "--max", "2", "--max-payload-bytes", "0")
        shown = [json.loads(line) for line in out.splitlines()]
        assert code == 0
        assert [(m["id"], m["payload"], m["attempts"]) for m in shown] == [
            ("a", None, 0),
            ("b", None, 0),
        ]


async def test_queues_are_declared_listed_and_deleted(broker):
    code, out, _ = await gputel_queue(broker, "declare", "orders", "--ordered-keys")
    assert (code, json.loads(out)["ordered_keys"]) == (0, True)
    for flags, ordered in (
        ((), True),
        (("--no-ordered-keys",), False),
        (("--ordered-keys",), True),
    ):
        _, out, _ = await gputel_queue(broker, "declare", "orders", *flags)
        assert json.loads(out)["ordered_keys"] is ordered
    await gputel_queue(broker, "--queue", "orders", "publish", "x")
    _, out, _ = await gputel_queue(broker, "list")
    listed = [json.loads(line) for line in out.splitlines()]
    assert [(q["name"], q["ready"]) for q in listed] == [("default", 0), ("orders", 1)]
    code, _, err = await gputel_queue(broker, "delete", "orders")
    assert code == 1
    assert "orders holds 1 messages" in err
    assert "drop them with --force" in err
    code, out, _ = await gputel_queue(broker, "delete", "orders", "--force")
    assert (code, json.loads(out)) == (0, {"name": "orders", "purged": 1})
    code, _, err = await gputel_queue(broker, "delete", "a/b")
    assert code == 1
    assert "a/b" in err


async def test_dead_letters_are_listed_shown_replayed_and_purged(broker):
    await gputel_queue(broker, "publish", "--id", "a/1", "bad")
    _, out, _ = await gputel_queue(broker, "consume", "--no-ack")
    lease = json.loads(out)["lease"]
    await broker.post("/nack", {"id": "a/1", "lease": lease, "reason": "no", "dead": True})
    _, out, _ = await gputel_queue(broker, "dead-letters", "list")
    assert [json.loads(line)["reason"] for line in out.splitlines()] == ["no"]
    _, out, _ = await gputel_queue(broker, "dead-letters", "show", "a/1")
    assert json.loads(out)["payload"] == "bad"
    _, out, _ = await gputel_queue(broker, "dead-letters", "replay", "a/1")
    assert json.loads(out) == {"replayed": 1}
    _, out, _ = await gputel_queue(broker, "dead-letters", "purge", "--all")
    assert json.loads(out) == {"purged": 0}


async def test_refusals_are_one_line_in_the_brokers_words(broker):
    code, _, err = await gputel_queue(broker, "dead-letters", "show", "nobody")
    assert code == 1
    assert "nobody" in err
    assert err.count("\n") == 1
    code, _, err = await gputel_queue(broker, "dead-letters", "purge")
    assert code == 2
    assert "--all" in err


async def test_drain_refuses_what_comes_after_it(broker):
    await gputel_queue(broker, "publish", "x")
    _, out, _ = await gputel_queue(broker, "drain")
    assert json.loads(out)["ready"] == 1
    code, _, err = await gputel_queue(broker, "publish", "y")
    assert code == 1
    assert "closed" in err


async def test_broker_that_is_away_is_named(broker):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gputel", "queue", "--broker-url", "http://127.0.0.1:1", "stats"),
        stderr=subprocess.PIPE,
    )
    _, err = await process.communicate()
    assert process.returncode == 1
    assert b"no broker answers at http://127.0.0.1:1 (Connection refused): start" in err


async def test_options_of_the_group_may_stand_behind_the_command(broker):
    url = f"http://127.0.0.1:{broker.port}"
    base = (sys.executable, "-m", "gputel", "queue")
    process = await asyncio.create_subprocess_exec(
        *(*base, "publish", "--queue", "jobs", "--broker-url", url, "hello"),
        stdout=asyncio.subprocess.PIPE,
    )
    await process.communicate()
    assert process.returncode == 0
    code, out, _ = await gputel_queue(broker, "dead-letters", "list", "--queue", "jobs")
    assert (code, out) == (0, "")
    behind = (*base, "dead-letters", "--broker-url", url, "--queue", "jobs")
    for words in (behind, (*behind, "list")):
        process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
        assert (await process.communicate())[0] == b""
        assert process.returncode == 0
    (found,) = await broker.client.consume(1, queue="jobs")
    assert found.payload == b"hello"


async def test_several_brokers_are_too_many_to_ask(broker):
    urls = f"http://127.0.0.1:{broker.port},http://127.0.0.1:1"
    code, _, err = await gputel_queue(broker, "--broker-url", urls, "stats")
    assert code == 2
    assert "--broker-url" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "url", ["broker", "localhost:8081", "http://", "http://a:port", "file:///"]
)
async def test_what_is_no_address_of_a_broker_is_told_in_one_line(broker, url):
    told = f"gputel: --broker-url: {url!r} must look like http://127.0.0.1:8081\n"
    for words in (("stats", "--broker-url", url), ("--broker-url", url, "stats")):
        assert await gputel_queue(broker, *words) == (2, "", told)


async def test_a_queue_that_is_not_there_is_told_with_the_command_that_lists_them(broker):
    code, _, err = await gputel_queue(broker, "--queue", "nobody", "peek")
    assert code == 1
    assert "there is no queue nobody; `gputel queue list` tells which there are" in err
