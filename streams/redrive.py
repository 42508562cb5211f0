"""Dead letters sent back to where they came from, once each, after what refused them was mended.

A redriven message goes to its original topic and partition under a header that names its letter. So whether a letter
was redriven is read from that partition, behind the message's first coordinates: no list is kept that a crash could
leave behind the truth, and to repeat a command that was interrupted sends only what is missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from schemas.decisions import Decision
from schemas.envelope import Event
from schemas.topics import CONTROL, DECISIONS, LINKS
from schemas.validate import (
    Rejection,
    validate_control,
    validate_decision,
    validate_event,
    validate_link,
)
from streams.config import Settings
from streams.deadletters import (
    ATTEMPTS,
    ATTEMPTS_MAX,
    REDRIVEN_FROM,
    attempts,
    letter_id,
    letters,
    origin,
    sent_headers,
    told,
)
from streams.kafka import Sender
from streams.kept import Kept
from streams.segments import Record

BATCH_LETTERS = 500
"""Letters that are confirmed together: an interrupted command leaves fewer to look for."""


class Chosen(NamedTuple):
    """Which letters: of one kind of sender, and of these, if said, one letter or one reason."""

    source: str
    letter: str | None = None
    code: str | None = None


@dataclass(slots=True)
class Redrive:
    """What became of the chosen letters.

    Attributes:
        chosen: how many there are.
        sent: sent back now (with a check: that would be sent back).
        redriven: were sent back before.
        parked: have had their attempts, or are not whole.
        unproven: so old that retention may have removed the proof that they were sent back before.
        passing: of those to send, how many pass the validation of today.
        failing: the others, by code.
    """

    chosen: int = 0
    sent: int = 0
    redriven: int = 0
    parked: int = 0
    unproven: int = 0
    passing: int = 0
    failing: Counter[str] = field(default_factory=Counter)

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        return {**asdict(self), "failing": dict(self.failing)}


class Redriver:
    """Sends letters back, or says what would happen.

    Args:
        settings: where broker and segments are.
        authorities: those that were set up, for the check.
        now: the clock of the check, for times in the future.
        unproven: send also what is too old to prove that it was not sent back before.
    """

    def __init__(
        self, settings: Settings, authorities: Mapping[str, str], now: datetime, *, unproven: bool
    ) -> None:
        self._settings, self._authorities, self._now = settings, authorities, now
        self._send_unproven = unproven
        self._topics = Kept(settings)
        self._kept: dict[str, Mapping[int, tuple[int, int]]] = {}

    def run(self, chosen: Chosen, sender: Sender | None) -> Redrive:
        """Send the chosen letters back; without a sender only look."""
        result = Redrive()
        waiting = self._waiting(chosen, result)
        unsure = 0
        for letter in self._letters(chosen):
            if letter_id(letter) not in waiting:
                continue
            self._judge(letter, result)
            if sender is not None:
                send_back(sender, letter)
                unsure += 1
                if unsure % BATCH_LETTERS == 0:
                    sender.confirm()
        if sender is not None:
            sender.confirm()
        return result

    def _letters(self, chosen: Chosen) -> Iterator[Record]:
        for letter in letters(self._settings.kafka, self._settings.segments, (chosen.source,)):
            if origin(letter) is None or chosen.letter not in (None, letter_id(letter)):
                continue
            if chosen.code in (None, told(letter, "exception")):
                yield letter

    def _waiting(self, chosen: Chosen, result: Redrive) -> set[str]:
        """Ids of the letters to send: neither parked, nor redriven, nor (unless asked for) unproven."""
        places: dict[str, tuple[str, int, int]] = {}
        for letter in self._letters(chosen):
            result.chosen += 1
            at = origin(letter)
            if attempts(letter) >= ATTEMPTS_MAX or told(letter, "size"):
                result.parked += 1
            elif at is not None:
                places[letter_id(letter)] = at
        done = self._redriven(places)
        result.redriven = len(done)
        waiting = places.keys() - done
        if not self._send_unproven:
            unproven = {letter for letter in waiting if self._forgotten(places[letter])}
            result.unproven = len(unproven)
            waiting -= unproven
        return waiting

    def _redriven(self, places: Mapping[str, tuple[str, int, int]]) -> set[str]:
        """Letters that a record behind their own first coordinates names."""
        first: dict[tuple[str, int], int] = {}
        for topic, partition, offset in places.values():
            first[topic, partition] = min(offset + 1, first.get((topic, partition), offset + 1))
        named: set[str] = set()
        for (topic, partition), start in first.items():
            end = self._topics.watermarks(topic)[partition][1]
            for record in self._topics.read(topic, partition, start, end):
                named.update(
                    value.decode("utf-8", "replace")
                    for name, value in record.headers
                    if name == REDRIVEN_FROM
                )
        return named & places.keys()

    def _forgotten(self, place: tuple[str, int, int]) -> bool:
        """Whether records behind a letter's first coordinates are gone. Segments hold everything."""
        if self._settings.segments is not None:
            return False
        topic, partition, offset = place
        if topic not in self._kept:
            self._kept[topic] = self._topics.watermarks(topic)
        return self._kept[topic][partition][0] > offset + 1

    def _judge(self, letter: Record, result: Redrive) -> None:
        result.sent += 1
        found = refusal(letter, self._now, self._authorities)
        if found is None:
            result.passing += 1
        else:
            result.failing[found.code] += 1


def send_back(sender: Sender, letter: Record) -> None:
    """The message as it was sent, to the partition that it was read from, naming its letter.

    Raises:
        ValueError: the letter does not say where it came from.
    """
    at = origin(letter)
    if at is None:
        raise ValueError(f"{letter_id(letter)} does not say where it came from")
    headers = [
        *sent_headers(letter),
        (ATTEMPTS, str(attempts(letter) + 1).encode()),
        (REDRIVEN_FROM, letter_id(letter).encode()),
    ]
    sender.send(at[0], letter.value, letter.key, headers, at[1])


def refusal(letter: Record, now: datetime, authorities: Mapping[str, str]) -> Rejection | None:
    """Why the message of a letter would be refused again, or None."""
    at, headers = origin(letter), sent_headers(letter)
    topic = "" if at is None else at[0]
    if topic == CONTROL:
        checked = validate_control(letter.value)
        return checked if isinstance(checked, Rejection) else None
    verdict: Event | Decision | Rejection
    if topic == DECISIONS:
        verdict = validate_decision(letter.value, headers, now)
    elif topic == LINKS:
        verdict = validate_link(letter.value, headers, now)
    else:
        verdict = validate_event(topic, letter.value, headers, now)
    if isinstance(verdict, Rejection):
        return verdict
    la = verdict.family[:9] if isinstance(verdict, Decision) else verdict.la
    if la not in authorities:
        return Rejection("unknown_authority", "la", "an authority that was never set up here", "")
    return None
