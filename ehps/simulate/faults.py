"""What goes wrong between an agency and its topic, at the rates of `rates`, each marked as such."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator

import numpy as np

from ehps.simulate import rates
from ehps.simulate.messages import Draft, Message, encode, iso, topic_of
from ehps.simulate.rates import DAY, HOUR, MINUTE
from ehps.simulate.scene import Dice

# One uniform number decides a message's fate; these are the upper ends of the spells of each fault.
_DUPLICATE = rates.DUPLICATE
_LATE = _DUPLICATE + rates.LATE
_RETRACTED = _LATE + rates.RETRACTED
_MOVED = _RETRACTED + rates.MOVED

STEPS = frozenset({"social-care", "early-help", "links"})
"""Their records are steps of an episode: none is taken back, so the truth stays what they tell."""
CODED = (
    *("grade", "kind", "reason", "who", "weeks", "child_seen", "status", "child_present", "risk"),
    *("source", "factors", "plan", "outcome", "goals_met", "self_referred", "category", "duty"),
)
"""Fields that hold a code, a number or a truth value: none of them may be a question mark."""
UNCODED = frozenset({"health.was_not_brought.v1", "health.cpis_access.v1"})
"""Their data is free text: no code of theirs can be unknown."""
TAKEN_BACK_NEVER = frozenset({"education.enrolment.v1"})


class Faults:
    """Turns drafts into messages, and some of them into what agencies really send."""

    def __init__(
        self, la: str, rng: np.random.Generator, broken: np.random.Generator, malformed: float
    ) -> None:
        """`malformed` is the share of broken messages; `broken` feeds them and nothing else."""
        self._la, self._rng, self._broken = la, rng, broken
        self._malformed = malformed
        self._dice = Dice(np.random.Generator(np.random.PCG64(int(rng.integers(2**62)))))
        self._break_dice = Dice(np.random.Generator(np.random.PCG64(int(broken.integers(2**62)))))
        self._numbers = 0

    def apply(self, drafts: list[Draft], linked_from: dict[str, int]) -> Iterator[Message]:
        """Messages of a batch, in no order; `linked_from`: link moments of those linked late."""
        fates = self._rng.random(len(drafts)).tolist()
        for draft, fate in zip(drafts, fates, strict=True):
            value, topic = encode(self._la, draft), topic_of(draft)
            kind, known = draft.kind, draft.known
            if fate < _MOVED and kind == "normal" and draft.source != "links":
                kind, known = yield from self._fault(draft, fate, value, topic)
            if (
                kind == "normal"
                and draft.subject in linked_from
                and known < linked_from[draft.subject]
            ):
                kind = "unlinked"
            yield Message(known, topic, draft.subject, value, kind)
        if self._malformed:
            yield from self._malformed_of(drafts)

    def _fault(
        self, draft: Draft, fate: float, value: bytes, topic: str
    ) -> Generator[Message, None, tuple[str, int]]:
        """Extra messages of a fault; returns the kind and moment of the message itself."""
        dice, known = self._dice, draft.known
        if fate < _DUPLICATE:
            again = known + dice.between(MINUTE, 3 * DAY)
            yield Message(again, topic, draft.subject, value, "duplicate")
        elif fate < _LATE:
            return "late", known + dice.between(14 * DAY, 70 * DAY)
        elif fate < _RETRACTED:
            if draft.source not in STEPS and draft.type not in TAKEN_BACK_NEVER:
                yield self._retraction(draft, topic)
        elif draft.source not in STEPS and draft.source != "education":
            yield self._moved(draft, topic)
        return "normal", known

    def _retraction(self, draft: Draft, topic: str) -> Message:
        noticed = draft.known + self._dice.between(DAY, 20 * DAY)
        noticed -= noticed % MINUTE
        data = f'{{"id":"{draft.id}","type":"{draft.type}","occurred":"{iso(draft.time)}"}}'
        back = Draft(
            draft.source,
            "record.retracted.v1",
            f"{draft.id}-r",
            draft.subject,
            noticed,
            noticed,
            noticed + HOUR,
            data,
        )
        return Message(back.known, topic, draft.subject, encode(self._la, back), "retraction")

    def _moved(self, draft: Draft, topic: str) -> Message:
        """The same record with another date: it names the date it had."""
        noticed = draft.known + self._dice.between(DAY, 15 * DAY)
        noticed -= noticed % MINUTE
        earlier = draft.time - self._dice.between(1, 4) * DAY
        moved = draft._replace(
            time=earlier, recorded=noticed, known=noticed + HOUR, correction_of=draft.time
        )
        return Message(moved.known, topic, draft.subject, encode(self._la, moved), "correction")

    def _malformed_of(self, drafts: list[Draft]) -> Iterator[Message]:
        dice = self._break_dice
        picks = np.flatnonzero(self._broken.random(len(drafts)) < self._malformed).tolist()
        for index in picks:
            draft = drafts[index]
            if draft.source == "links":
                continue
            self._numbers += 1
            copy = draft._replace(id=f"{draft.id}-m{self._numbers}", correction_of=None)
            value = dice.pick(BREAKAGES)(encode(self._la, copy), copy)
            yield Message(draft.known + 1, topic_of(draft), draft.subject, value, "malformed")


def _cut(value: bytes, _draft: Draft) -> bytes:
    """Not JSON: the sender's buffer ended early."""
    return value[: len(value) * 2 // 3]


def _unknown_code(value: bytes, draft: Draft) -> bytes:
    if draft.data == "{}" or draft.type in UNCODED:
        return _unknown_type(value, draft)
    return value.replace(draft.data.encode(), _with_code(draft).encode())


def _with_code(draft: Draft) -> str:
    if draft.type == "education.attendance.v1":
        return draft.data.replace('"am":"', '"am":"?')
    # Every other type: a version that does not exist is told by the type; here a value outside its
    # list.
    return "{" + ",".join(f'"{name}":"?"' for name in CODED) + "}"


def _nhs_number(value: bytes, draft: Draft) -> bytes:
    """An NHS number where the pseudonym belongs (the one kept for tests: it is nobody's)."""
    return value.replace(draft.subject.encode(), b"9434765919")


def _naive_time(value: bytes, draft: Draft) -> bytes:
    return value.replace(
        f'"time":"{iso(draft.time)}"'.encode(), f'"time":"{iso(draft.time)[:-1]}"'.encode()
    )


def _future_time(value: bytes, draft: Draft) -> bytes:
    """A century mistyped."""
    year = iso(draft.time)
    return value.replace(f'"time":"{year}"'.encode(), f'"time":"21{year[2:]}"'.encode())


def _unknown_type(value: bytes, draft: Draft) -> bytes:
    return value.replace(f'"{draft.type}"'.encode(), f'"{draft.type[:-3]}.v9"'.encode())


def _no_subject(value: bytes, draft: Draft) -> bytes:
    return value.replace(f'"subject":"{draft.subject}",'.encode(), b"")


BREAKAGES: tuple[Callable[[bytes, Draft], bytes], ...] = (
    _cut, _unknown_code, _nhs_number, _naive_time, _future_time, _unknown_type, _no_subject,
)  # fmt: skip
