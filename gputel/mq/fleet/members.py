"""The brokers of a fleet: which there are, which of them answer, and which one a key selects."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b

from gputel.backoff import Backoff
from gputel.errors import BrokerNotTrusted, BrokerUnavailable, GputelError, QueueClosed
from gputel.mq.client.client import QueueClient
from gputel.mq.wire import addresses
from gputel.outage import Outage

log = logging.getLogger("gputel.mq")

_LOOK_S = 3.0  # between two lookups of the brokers' addresses
_MASK = 2**64 - 1
_ODD = 0x9E3779B97F4A7C15


class Standing:
    """Whether a broker accepts one kind of call. After each refusal it is skipped for longer."""

    def __init__(self) -> None:
        self.closed = False
        self._backoff = Backoff()
        self._until = 0.0  # the loop's seconds

    @property
    def good(self) -> bool:
        """Whether to call it now."""
        return not self.closed or asyncio.get_running_loop().time() >= self._until

    def worked(self) -> None:
        """A call succeeded."""
        self.closed = False
        self._backoff.reset()

    def refused(self) -> None:
        """A call was refused: the broker is closed."""
        self.closed = True
        self._until = asyncio.get_running_loop().time() + self._backoff.next_s()


class Member:
    """One broker. A closed broker accepts no messages, and still delivers those that it has.

    When it is away, a background task checks whether it is back, so that no call waits for it.
    """

    def __init__(self, number: int, url: str, client: QueueClient) -> None:
        self.number = number
        self.client = client
        self.leaving = False  # no longer in the set: consumed from while it answers
        self.taking, self.giving = Standing(), Standing()
        self.error: GputelError | None = None  # why it is away
        self._seed = hash64(url)
        self._outage = Outage(log, f"the broker at {url}")
        self._backoff = Backoff()
        self._looking: asyncio.Task[None] | None = None

    @property
    def away(self) -> bool:
        """Whether it did not answer, and is not back yet."""
        return self._looking is not None and not self._looking.done()

    @property
    def takes(self) -> bool:
        """Whether to try a publish."""
        return not self.away and self.taking.good

    @property
    def gives(self) -> bool:
        """Whether to try a consume."""
        return not self.away and self.giving.good

    def worked(self, standing: Standing) -> None:
        """A call succeeded."""
        standing.worked()
        self.error = None
        self._backoff.reset()
        self.look_no_more()
        self._outage.ends()

    def failed(self, standing: Standing, error: GputelError) -> None:
        """A call failed: the broker is closed, or away."""
        if isinstance(error, QueueClosed):
            standing.refused()
            return
        self.taking.closed = self.giving.closed = False
        self.error = error
        if not self.away:
            self._outage.begins(error)
            self._looking = asyncio.create_task(self._look())

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(self._backoff.next_s())
            if await self.client.check() is None:
                return self._outage.ends()

    def look_no_more(self) -> None:
        """Stop checking whether it is back."""
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    async def aclose(self) -> None:
        """Close the client."""
        self.look_no_more()
        await self.client.__aexit__(None, None, None)

    def score(self, key: int) -> int:
        """The score of this member for a key: the member with the highest score gets it.

        Rendezvous hashing: when a member comes or goes, only its own keys move.
        """
        return ((key ^ self._seed) * _ODD) & _MASK


def is_of_one(error: GputelError) -> bool:
    """Whether the other brokers may do what this one did not."""
    return error.retriable or isinstance(error, (QueueClosed, BrokerNotTrusted))


def hash64(text: str) -> int:
    """A 64-bit hash of a text, the same in every process."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def member_for(members: Iterable[Member], key: str) -> Member:
    """The member for a key."""
    number = hash64(key)
    return max(members, key=lambda member: member.score(number))


class Members:
    """All members, updated when their addresses change."""

    def __init__(
        self,
        broker_addresses: Sequence[str],
        make_client: Callable[[str], QueueClient],
    ) -> None:
        self._addresses = broker_addresses
        self._make_client = make_client
        self._by_number: dict[int, Member] = {}
        self._by_url: dict[str, Member] = {}
        self._left: list[Member] = []
        self._numbers = itertools.count(1)
        self._looking: asyncio.Task[None] | None = None
        self._urls: dict[str, list[str]] = {address: [] for address in broker_addresses}
        self._outages = {address: Outage(log, address) for address in broker_addresses}
        self.watchers: set[Callable[[], None]] = set()
        """Called when members came or left."""

    async def open(self) -> None:
        """Find the members. DNS names are looked up again until ``aclose``."""
        await self._look()
        if any(address.startswith(addresses.DNS) for address in self._addresses):
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
        """All members that may hold messages, in the order in which they came."""
        return list(self._by_number.values())

    @property
    def present(self) -> list[Member]:
        """The members in the set: messages are published to these."""
        return [member for member in self._by_number.values() if not member.leaving]

    def numbered(self, number: int) -> Member | None:
        """The member with this number; None when it has left for good."""
        return self._by_number.get(number)

    async def _go_on_looking(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            await self._look()

    async def _look(self) -> None:
        for address in self._addresses:
            try:
                self._urls[address] = await addresses.resolve(address)
                self._outages[address].ends()
            except (OSError, UnicodeError) as error:  # the known members remain
                self._outages[address].begins(BrokerUnavailable(f"no address found: {error}"))
        urls = {url for resolved in self._urls.values() for url in resolved}
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
