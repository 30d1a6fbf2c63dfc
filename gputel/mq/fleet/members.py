"""The brokers of a fleet: who they are now, which of them answer, and whom a key chooses."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b

from gputel.backoff import Backoff
from gputel.errors import BrokerUnavailable, GputelError, QueueClosed
from gputel.mq.client import addresses
from gputel.mq.client.client import QueueClient
from gputel.outage import Outage

log = logging.getLogger("gputel.mq")

_LOOK_S = 3.0  # between two looks at who the brokers are
_MASK = 2**64 - 1
_ODD = 0x9E3779B97F4A7C15


class Standing:
    """Whether a broker does one thing: not for a while after it said no, each time longer."""

    def __init__(self) -> None:
        self.closed = False
        self._backoff = Backoff()
        self._until = 0.0  # the loop's seconds

    @property
    def good(self) -> bool:
        """Whether it is worth asking now."""
        return not self.closed or asyncio.get_running_loop().time() >= self._until

    def worked(self) -> None:
        """It was asked, and did it."""
        self.closed = False
        self._backoff.reset()

    def refused(self) -> None:
        """It was asked, and said that it is closed."""
        self.closed = True
        self._until = asyncio.get_running_loop().time() + self._backoff.next_s()


class Member:
    """One broker. One that is closed takes nothing more, and gives what it has.

    One that is away is looked for in the background, so that nobody waits for it.
    """

    def __init__(self, number: int, url: str, client: QueueClient) -> None:
        self.number = number
        self.client = client
        self.leaving = False  # no longer in the set: consumed from for as long as it answers
        self.taking, self.giving = Standing(), Standing()
        self._seed = hash64(url)
        self._outage = Outage(log, f"the broker at {url}")
        self._backoff = Backoff()
        self._looking: asyncio.Task[None] | None = None

    @property
    def away(self) -> bool:
        """Whether it did not answer, and has not been found since."""
        return self._looking is not None and not self._looking.done()

    @property
    def takes(self) -> bool:
        """Whether a publish is worth trying."""
        return not self.away and self.taking.good

    @property
    def gives(self) -> bool:
        """Whether a consume is worth trying."""
        return not self.away and self.giving.good

    def worked(self, standing: Standing) -> None:
        """It answered."""
        standing.worked()
        self._backoff.reset()
        self.look_no_more()
        self._outage.ends()

    def failed(self, standing: Standing, error: GputelError) -> None:
        """It is closed, for one of the two; or it is away."""
        if isinstance(error, QueueClosed):
            standing.refused()
            return
        self.taking.closed = self.giving.closed = False
        if not self.away:
            self._outage.begins(error)
            self._looking = asyncio.create_task(self._look())

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(self._backoff.next_s())
            if await self.client.check() is None:
                return self._outage.ends()

    def look_no_more(self) -> None:
        """Stop looking for it."""
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    async def aclose(self) -> None:
        """Close the client."""
        self.look_no_more()
        await self.client.__aexit__(None, None, None)

    def score(self, key: int) -> int:
        """How much this member wants what has this key: the highest of all gets it.

        Rendezvous hashing: a member that comes or goes moves only what it gets or had.
        """
        return ((key ^ self._seed) * _ODD) & _MASK


def hash64(text: str) -> int:
    """64 bits of a text, the same in every process."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def chosen(members: Iterable[Member], key: str) -> Member:
    """The member that a key chooses."""
    number = hash64(key)
    return max(members, key=lambda member: member.score(number))


class Members:
    """All members, kept in step with the addresses that they were given by."""

    def __init__(
        self, given: Sequence[str], make_client: Callable[[str], QueueClient] = QueueClient
    ) -> None:
        self._given = given
        self._make_client = make_client
        self._by_number: dict[int, Member] = {}
        self._by_url: dict[str, Member] = {}
        self._left: list[Member] = []
        self._numbers = itertools.count(1)
        self._looking: asyncio.Task[None] | None = None
        self._found: dict[str, list[str]] = {address: [] for address in given}
        self._outages = {address: Outage(log, address) for address in given}
        self.watchers: set[Callable[[], None]] = set()
        """Called when members came or went."""

    async def open(self) -> None:
        """Find the members; those behind DNS names are looked up again until ``aclose``."""
        await self._look()
        if any(address.startswith(addresses.DNS) for address in self._given):
            self._looking = asyncio.create_task(self._go_on_looking())

    async def aclose(self) -> None:
        """Close the clients of all members."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait((self._looking,))
        for member in [*self._by_url.values(), *self._left]:
            await member.aclose()

    @property
    def everyone(self) -> list[Member]:
        """All that may hold messages, in the order in which they came."""
        return list(self._by_number.values())

    @property
    def present(self) -> list[Member]:
        """All that are in the set: those that messages are published to."""
        return [member for member in self._by_number.values() if not member.leaving]

    def numbered(self, number: int) -> Member | None:
        """The member of this number; None for one that left for good."""
        return self._by_number.get(number)

    async def _go_on_looking(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            await self._look()

    async def _look(self) -> None:
        for address in self._given:
            try:
                self._found[address] = await addresses.resolve(address)
                self._outages[address].ends()
            except (OSError, UnicodeError) as error:  # those that were known remain
                self._outages[address].begins(BrokerUnavailable(f"no address found: {error}"))
        urls = {url for found in self._found.values() for url in found}
        before = set(self._by_number)
        for url in sorted(urls - set(self._by_url)):
            await self._add(url)
        for url, member in list(self._by_url.items()):
            member.leaving = url not in urls
            if member.leaving and await member.client.check() is not None:
                self._drop(url, member)
        if set(self._by_number) != before:
            for watcher in list(self.watchers):
                watcher()

    async def _add(self, url: str) -> None:
        number = next(self._numbers)
        member = Member(number, url, self._make_client(url))
        await member.client.__aenter__()
        self._by_url[url] = self._by_number[number] = member

    def _drop(self, url: str, member: Member) -> None:
        log.info("the broker at %s has left", url)
        del self._by_url[url], self._by_number[member.number]
        member.look_no_more()
        self._left.append(member)  # its client may still be in use
