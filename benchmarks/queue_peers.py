"""The queues that are compared: how each is started, and what publish, take and ack are for it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

Handles = Sequence[Any]


class Client(Protocol):
    """One client of a queue. A publish is over when the server has confirmed all of it."""

    async def publish(self, payloads: Sequence[bytes]) -> None: ...

    async def take(self, most: int, handles: Handles = ()) -> list[tuple[bytes, Any]]:
        """Ack what was taken before, then take more: in one request where the client can."""

    async def close(self) -> None: ...


class Gputel:
    def __init__(self, client: Any) -> None:
        self.client = client

    @classmethod
    async def connect(cls, port: int) -> Gputel:
        from gputel.mq.client import QueueClient

        client = await QueueClient(f"http://127.0.0.1:{port}").__aenter__()
        try:
            await client.stats()  # a client connects with its first request
        except BaseException:
            await client.__aexit__(None, None, None)
            raise
        return cls(client)

    async def publish(self, payloads: Sequence[bytes]) -> None:
        from gputel.mq.client import OutgoingMessage

        await self.client.publish([OutgoingMessage(payload=p) for p in payloads])

    async def take(self, most: int, handles: Handles = ()) -> list[tuple[bytes, Any]]:
        got = await self.client.ack_and_consume(handles, most, None, 1.0)
        return [(d.payload, (d.id, d.lease)) for d in got.messages]

    async def close(self) -> None:
        await self.client.__aexit__(None, None, None)


class Redis:
    def __init__(self, client: Any) -> None:
        self.client = client

    @classmethod
    async def connect(cls, port: int) -> Redis:
        import redis.asyncio

        client = redis.asyncio.Redis(port=port)
        with contextlib.suppress(redis.exceptions.ResponseError):  # the group is there
            await client.xgroup_create("s", "g", mkstream=True)
        return cls(client)

    async def publish(self, payloads: Sequence[bytes]) -> None:
        if len(payloads) == 1:
            await self.client.xadd("s", {"p": payloads[0]})
            return
        async with self.client.pipeline(transaction=False) as pipe:
            for payload in payloads:
                pipe.xadd("s", {"p": payload})
            await pipe.execute()

    async def take(self, most: int, handles: Handles = ()) -> list[tuple[bytes, Any]]:
        if handles:
            await self.client.xack("s", "g", *handles)
        return entries(await self.client.xreadgroup("g", "c", {"s": ">"}, count=most, block=1000))

    async def close(self) -> None:
        await self.client.aclose()


class PipelinedRedis(Redis):
    """As Redis, with XACK and the next XREADGROUP in one pipeline."""

    async def take(self, most: int, handles: Handles = ()) -> list[tuple[bytes, Any]]:
        if not handles:
            return await super().take(most)
        async with self.client.pipeline(transaction=False) as pipe:
            pipe.xack("s", "g", *handles)
            pipe.xreadgroup("g", "c", {"s": ">"}, count=most, block=1000)
            return entries((await pipe.execute())[1])


def entries(got: Any) -> list[tuple[bytes, Any]]:
    if isinstance(got, dict):  # redis-py 8 answers {name: [[entries]]}
        return [(f[b"p"], i) for lists in got.values() for each in lists for i, f in each]
    return [(fields[b"p"], id_) for _, found in got or [] for id_, fields in found]


class Nats:
    def __init__(self, connection: Any, stream: Any, pull: Any) -> None:
        self.connection, self.stream, self.pull = connection, stream, pull

    @classmethod
    async def connect(cls, port: int) -> Nats:
        import nats
        from nats.js.api import RetentionPolicy, StorageType

        connection = await nats.connect(f"nats://127.0.0.1:{port}")
        stream = connection.jetstream()
        await stream.add_stream(
            name="s",
            subjects=["s"],
            storage=StorageType.MEMORY,
            retention=RetentionPolicy.WORK_QUEUE,
        )
        return cls(connection, stream, await stream.pull_subscribe("s", durable="c"))

    async def publish(self, payloads: Sequence[bytes]) -> None:
        if len(payloads) == 1:
            await self.stream.publish("s", payloads[0])
        else:
            await asyncio.gather(*(self.stream.publish("s", p) for p in payloads))

    async def take(self, most: int, handles: Handles = ()) -> list[tuple[bytes, Any]]:
        import nats

        for message in handles:
            await message.ack()  # not confirmed; to NATS' favour
        try:
            return [(m.data, m) for m in await self.pull.fetch(most, timeout=1)]
        except (nats.errors.TimeoutError, TimeoutError):
            return []

    async def close(self) -> None:
        await self.connection.close()


class Rabbit:
    def __init__(self, connection: Any, channel: Any) -> None:
        self.connection, self.channel = connection, channel
        self.came: asyncio.Queue[Any] = asyncio.Queue()
        self.consuming = False

    @classmethod
    async def connect(cls, port: int) -> Rabbit:
        import aio_pika

        connection = await aio_pika.connect(f"amqp://guest:guest@127.0.0.1:{port}/")
        channel = await connection.channel(publisher_confirms=True)
        await channel.set_qos(prefetch_count=200)
        await channel.declare_queue("s")
        return cls(connection, channel)

    async def publish(self, payloads: Sequence[bytes]) -> None:
        import aio_pika

        exchange = self.channel.default_exchange
        sends = [exchange.publish(aio_pika.Message(p), routing_key="s") for p in payloads]
        await asyncio.gather(*sends)

    async def take(self, most: int, handles: Handles = ()) -> list[tuple[bytes, Any]]:
        for message in handles:
            await message.ack()  # not confirmed; to RabbitMQ's favour
        if not self.consuming:
            self.consuming = True
            queue = await self.channel.get_queue("s")
            await queue.consume(self.came.put)
        try:
            first = await asyncio.wait_for(self.came.get(), 1)
        except TimeoutError:
            return []
        got = [first]
        while len(got) < most and not self.came.empty():
            got.append(self.came.get_nowait())
        return [(m.body, m) for m in got]

    async def close(self) -> None:
        await self.connection.close()


CLIENTS: dict[str, Any] = {
    "gputel": Gputel,
    "gputel plain": Gputel,
    "gputel journal": Gputel,
    "redis": Redis,
    "redis pipelined": PipelinedRedis,
    "redis AOF": Redis,
    "nats": Nats,
    "rabbitmq": Rabbit,
}


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def command_of(peer: str, port: int, scratch: Path) -> list[str] | None:
    """The command that serves this peer, or None where it is not installed."""
    broker = [sys.executable, "-m", "gputel", "run", "--role", "broker"]
    broker += ["--broker-port", str(port), "--queue-max-messages", "2000000"]
    redis = ["redis-server", "--port", str(port), "--save", "", "--dir", str(scratch)]
    commands = {
        "gputel": [*broker, "--no-plain-http"],
        "gputel plain": [*broker, "--plain-http"],
        "gputel journal": [*broker, "--no-plain-http", "--journal", str(scratch / "journal")],
        "redis": redis,
        "redis pipelined": redis,
        "redis AOF": [*redis, "--appendonly", "yes", "--appendfsync", "always"],
        "nats": ["nats-server", "-js", "-p", str(port), "-sd", str(scratch)],
        "rabbitmq": ["rabbitmq-server"],
    }
    command = commands[peer]
    found = shutil.which(command[0], path=os.environ["PATH"] + ":/usr/sbin:/usr/lib/rabbitmq/bin")
    return [found, *command[1:]] if found else None


@contextlib.contextmanager
def served(peer: str) -> Iterator[tuple[int, int] | None]:
    """Run a peer: its port and process id; None where it is not installed."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="queue-bench-") as name:
        scratch = Path(name)
        scratch.chmod(0o777)  # Debian's RabbitMQ runs as a user of its own
        command = command_of(peer, port, scratch)
        if command is None:
            yield None
            return
        settings = rabbit_settings(port, name) if peer == "rabbitmq" else {}
        environment = {**os.environ, **settings}
        with (scratch / "log").open("wb") as log, contextlib.ExitStack() as stack:
            if settings:  # RabbitMQ would start one itself, and leave it behind
                names = subprocess.Popen(["epmd"], stdout=log, stderr=log, env=environment)
                stack.callback(_stop, names)
            process = subprocess.Popen(
                command, stdout=log, stderr=log, env=environment, start_new_session=True
            )
            stack.callback(_stop, process)
            yield port, process.pid


def rabbit_settings(port: int, directory: str) -> dict[str, str]:
    """The environment of a RabbitMQ that keeps all of its own in one directory."""
    return {
        "RABBITMQ_NODENAME": f"bench{uuid.uuid4().hex[:8]}@localhost",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_MNESIA_BASE": directory,
        "RABBITMQ_LOG_BASE": directory,
        "RABBITMQ_DIST_PORT": str(free_port()),
        "ERL_EPMD_PORT": str(free_port()),
        "HOME": directory,
    }


def _stop(process: subprocess.Popen[bytes]) -> None:
    import psutil

    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.terminate()
    _, left = psutil.wait_procs(family, timeout=15)
    for member in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()
