"""History: an authority's past, told in log days as if it happened now.

Day after day: that day's messages are produced, intake is waited for, and then a heartbeat for the
end of the day goes to every partition of the log. So each message is known at the log time at which
it was known then, and time passes between them, which is what timers live from. An authority that is
live already has its own clock: a backfill into it is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import groupby
from typing import NamedTuple, Protocol

from ehps.library import Library
from schemas.control import Control, Heartbeat
from schemas.topics import AGENCY_TOPICS, LOG, UNLINKED, source_of
from streams.config import Settings
from streams.content import library as library_of
from streams.errors import StreamsError
from streams.groups import Groups, Place
from streams.kafka import Sender, partitions_of, producer
from streams.logwriter import LogWriter
from streams.publish import Publisher, room_of
from streams.registry import HISTORY, LIVE, Registry

DAY_S = 86_400
QUIET_DAYS_MAX = 100
"""Days without a message whose heartbeats are confirmed together."""
Pace = Callable[[], None]


def full_speed() -> None:
    """No pace: messages go as fast as they are taken."""


class AlreadyLive(StreamsError):
    """The authority has a live clock: its past cannot be told as past any more."""


class Item(NamedTuple):
    """One message of the past and the second (since 1970) at which EHPS would have had it."""

    known_s: int
    topic: str
    key: bytes
    value: bytes


class Day(NamedTuple):
    """A log day that is told: its end (s since 1970), its messages, and all messages so far."""

    end_s: int
    messages: int
    total: int


class Clock(Protocol):
    """Writes controls and heartbeats of one authority to every partition of the log."""

    def control(self, control: Control) -> None:
        """Write a control and confirm it."""

    def beat(self, *heartbeats: Heartbeat) -> None:
        """Write heartbeats in this order and confirm them."""


class Backfill:
    """Tells one authority's past.

    Args:
        la: ONS code of the authority.
        publisher: sends the messages.
        clock: writes control and heartbeats to the log.
        wait: called with the offsets to reach after each day's messages: returns once every reader
            between them and the log has finished them.
        library: names the content that the first control puts in force.
        pace: called before each message; may wait.
    """

    def __init__(
        self,
        la: str,
        publisher: Publisher,
        clock: Clock,
        wait: Callable[[Mapping[Place, int]], None],
        library: Library,
        pace: Pace = full_speed,
    ) -> None:
        self._la = la
        self._publisher = publisher
        self._clock = clock
        self._wait = wait
        self._library = library
        self._pace = pace
        self._signs: dict[str, datetime] = {}

    def run(self, items: Iterable[Item]) -> Iterator[Day]:
        """Publish `items`, messages of this authority in order of `known_s`, a day at a time."""
        total, next_end = 0, 0
        for number, group in groupby(items, key=lambda item: item.known_s // DAY_S):
            begin = number * DAY_S
            if not next_end:
                next_end = begin + DAY_S
                self._begin(begin)
            while next_end <= begin:
                quiet = range(next_end, begin + 1, DAY_S)[:QUIET_DAYS_MAX]
                self._clock.beat(*(self._heartbeat(end) for end in quiet))
                yield from (Day(end, 0, total) for end in quiet)
                next_end = quiet[-1] + DAY_S
            count = self._publish(group)
            total += count
            self._clock.beat(self._heartbeat(next_end))
            yield Day(next_end, count, total)
            next_end += DAY_S

    def _begin(self, begin_s: int) -> None:
        """The first control and heartbeat; a second backfill repeats them, and ids and times tell."""
        moment = datetime.fromtimestamp(begin_s, UTC)
        self._clock.control(self._library.default_control(self._la, moment, "live"))
        self._clock.beat(Heartbeat(la=self._la, time=moment, sources={}))

    def _publish(self, items: Iterable[Item]) -> int:
        """Send a day's messages and wait until they are on the log.

        Links go first: a link and its person's first event often come on one day, and which of two
        topics is read first would otherwise decide what is parked.
        """
        day = list(items)
        self._send([item for item in day if item.topic not in AGENCY_TOPICS])
        events = [item for item in day if item.topic in AGENCY_TOPICS]
        for item in events:
            self._signs[source_of(item.topic)] = datetime.fromtimestamp(item.known_s, UTC)
        self._send(events)
        return len(day)

    def _send(self, items: list[Item]) -> None:
        before = dict(self._publisher.ends)
        for item in items:
            self._pace()
            self._publisher.send(item.topic, item.key, item.value)
        self._publisher.flush()
        ends = self._publisher.ends
        self._wait({at: end for at, end in ends.items() if end > before.get(at, 0)})

    def _heartbeat(self, end_s: int) -> Heartbeat:
        moment = datetime.fromtimestamp(end_s, UTC)
        return Heartbeat(la=self._la, time=moment, sources=dict(self._signs))


def backfill(
    settings: Settings,
    registry: Registry,
    la: str,
    items: Iterable[Item],
    pace: Pace = full_speed,
) -> Iterator[Day]:
    """Tell the past of an authority that is not live, over the workers that run.

    Raises:
        AlreadyLive: its clock is the real one; publish without history, and it is known now.
    """
    if registry.authorities().get(la) == LIVE:
        msg = f"{la} is live already: its past cannot be told as past; publish without --history"
        raise AlreadyLive(msg)
    # Before anything else: from here on the live heartbeat writer leaves the authority alone.
    registry.set_authority(la, HISTORY)
    client = producer(settings.kafka)
    room = room_of(settings, client)
    clock = LogWriter(Sender(client, room), partitions_of(settings.kafka, LOG))
    wait = waiting(settings, Groups(settings.kafka))
    publisher = Publisher(client, room)
    return Backfill(la, publisher, clock, wait, library_of(settings.content), pace).run(items)


def waiting(settings: Settings, groups: Groups) -> Callable[[Mapping[Place, int]], None]:
    """A function that returns once intake and agents have finished what was produced."""

    def wait(ends: Mapping[Place, int]) -> None:
        events = {at: end for at, end in ends.items() if at[0] in AGENCY_TOPICS}
        groups.wait(settings.intake_group, events)
        groups.wait(settings.agents_group, {at: ends[at] for at in ends.keys() - events.keys()})
        if events:  # those of people without a family are parked, or released, by the agents
            groups.wait(settings.agents_group, groups.ends(UNLINKED))

    return wait
