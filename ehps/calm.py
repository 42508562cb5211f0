"""Calm families: those of which a batch asks no more than to tell their scores. They are most, and are told in columns.

A family is calm in a batch if nothing of it waits in time (no timer, no look whether its score fell), nobody joined it,
left it or decided on it, and none of its records undoes a fact, moves its band, meets a combination that may be told or
finds it open where it may be stepped down. From a look at it (`ehps.rescore.tell`) its score alone would follow, and of
its state the head and the facts alone would change: so that is all that is worked out, for all of them at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, Self

import numpy as np
import orjson
from numpy.typing import NDArray

from ehps.alerts import Output, ScoreWriter
from ehps.batch import BLANK, SOURCE_SETS, too_little_heard
from ehps.calendar import DAY, Bools, Ints, local_day
from ehps.catalogue import FACTS_MAX, Horizon
from ehps.compiled import Compiled
from ehps.facts import BIRTH, CLASS_OF, FACT, SPELLS
from ehps.kernel import Features
from ehps.library import Content
from ehps.policy import Scene
from ehps.ragged import Ragged
from ehps.state import (
    AWAITS_SILENCE,
    GONE,
    HEAD,
    INSUFFICIENT,
    LOOK_AGAIN_DAYS,
    NONE,
    SCORED,
    UNSCORED,
    look_again,
    require_version,
)
from ehps.stepdown import reviewable


class Held(NamedTuple):
    """Families as they were read, one entry each: `head` in columns (`HEAD`), `facts_at` where their facts begin."""

    keys: Sequence[str]
    raw: Sequence[bytes]
    head: NDArray[np.void]
    facts_at: list[int]

    @classmethod
    def of(cls, keys: Sequence[str], states: Sequence[bytes | None]) -> Self:
        """Of these families.

        Raises:
            InvariantBroken: bytes of another schema version.
        """
        raw = [state or BLANK for state in states]
        head = np.frombuffer(b"".join([state[: HEAD.itemsize] for state in raw]), HEAD)
        for version in set(head["version"].tolist()):
            require_version(version)
        children = head["children"].astype(np.int64) * BIRTH.itemsize
        return cls(keys, raw, head, (HEAD.itemsize + children + head["size"]).tolist())

    def births(self) -> Ragged:
        """Days of birth of each family's children."""
        start = HEAD.itemsize
        parts = [
            state[start : start + BIRTH.itemsize * children]
            for state, children in zip(self.raw, self.head["children"].tolist(), strict=True)
        ]
        return Ragged.of(parts, BIRTH)

    def facts(self) -> list[bytes]:
        """Each family's facts."""
        return [state[at:] for state, at in zip(self.raw, self.facts_at, strict=True)]

    def crowded(self, more: Ints) -> Bools:
        """Families that may pass a bound with the (family, class) facts more that they are told."""
        sizes = np.array([len(state) for state in self.raw], np.int64) - self.facts_at
        crowded: Bools = sizes // FACT.itemsize + more.sum(axis=1) > FACTS_MAX
        for at in crowded.nonzero()[0].tolist():  # few have so many, of all classes together
            kinds = np.frombuffer(self.raw[at], FACT, offset=self.facts_at[at])["kind"]
            held = np.bincount(CLASS_OF[kinds], minlength=len(Horizon))
            crowded[at] = (held + more[at]).max() > FACTS_MAX
        return crowded

    def alerted(self, at: int) -> dict[str, int]:
        """Rule or grade -> log time of its last alert, of one family."""
        end = self.facts_at[at]
        case = self.raw[at][end - int(self.head["size"][at]) : end]
        found: dict[str, int] = orjson.loads(case).get("alerted", {}) if case else {}
        return found

    def with_gone(self) -> list[int]:
        """Index of each family of which some people's facts do not count."""
        found: list[int] = (self.head["flags"] & GONE).nonzero()[0].tolist()
        return found

    def still(self, moment: Ints) -> Bools:
        """Families from which nobody is gone, none of whose rules awaits silence, and of which nothing is due yet.

        Args:
            moment: for each family, seconds since 1970.
        """
        head, day = self.head, local_day(moment)
        still: Bools = head["flags"] & (GONE | AWAITS_SILENCE) == 0
        still &= np.where(head["below"] == NONE, head["due"] == NONE, head["due"] > moment)
        still &= (head["above"] == NONE) | (head["above"] + LOOK_AGAIN_DAYS > day)
        return still


def cooling(held: Held, compiled: Compiled, owner: Ints, moment: Ints) -> Ints:
    """By index: the rules, as bits, that were told too short a time ago to be told again by `moment`.

    Args:
        owner: the families that it matters of.
        moment: for each family, seconds since 1970.
    """
    bits, found = _rule_bits(compiled.content), np.zeros(len(held.keys), np.int64)
    since = moment - compiled.content.rules.cool_down_days * DAY
    for at in set(owner.tolist()):
        for name, told in held.alerted(at).items():
            if told > since[at]:
                found[at] |= bits.get(name, 0)
    return found


@lru_cache(maxsize=64)
def _rule_bits(content: Content) -> dict[str, int]:
    """The bits of the rules of each name."""
    bits: dict[str, int] = {}
    for number, rule in enumerate(content.rules.rules):
        bits[rule.name] = bits.get(rule.name, 0) | 1 << number
    return bits


def loud(
    compiled: Compiled, found: Features, head: NDArray[np.void], before: Ints, cool: Ints
) -> Bools:
    """Rows that may call for an alert, move the family's band, or its score over the down line, or that failed.

    Args:
        head: of each row's family, as read (`HEAD`).
        before: its score just before, where it had a band.
        cool: rules that are not told again yet (`cooling`).
    """
    band, above, below = head["band"], head["above"] != NONE, head["below"] != NONE
    loud: Bools = np.searchsorted(compiled.lines, found.score, side="right") > band
    loud |= (band > 0) & (np.minimum(found.score, before) < compiled.down)
    loud |= (found.rules & ~cool != 0) | (found.pending != 0) | found.failed
    loud |= _reviewable(compiled.content)[found.spells] != (above | below)
    loud |= np.where(found.score < compiled.down, above, below)
    return loud


@lru_cache(maxsize=64)
def _reviewable(content: Content) -> Bools:
    """By open spells: whether the family may be stepped down."""
    return np.array([reviewable(content, bits) for bits in range(1 << len(SPELLS))])


class Seen(NamedTuple):
    """Calm families after records, in columns.

    Args:
        number: of the record.
        owner: index of the family.
        scene: index of the scene.
        day: days since 1970.
        score: units.
        sources: which sources the family should have (`sources_index`).
    """

    number: Ints
    owner: Ints
    scene: Ints
    day: Ints
    score: Ints
    sources: Ints


class Telling(NamedTuple):
    """Scores to tell, one entry each, in order of `number`, which is the record's.

    Args:
        scene, owner: index of the scene, of the family.
        score: units.
        lacking: whether the data are insufficient.
    """

    number: Ints
    scene: Ints
    owner: Ints
    score: Ints
    lacking: Bools

    def part(self, part: slice) -> Telling:
        """Those of one stretch."""
        return Telling._make(column[part] for column in self)

    def written(self, held: Held, writers: Sequence[ScoreWriter], offset: Ints) -> list[Output]:
        """The messages.

        Args:
            writers: of each scene.
            offset: of every record, by number.
        """
        keys, columns = held.keys, (offset[self.number], *self[1:])
        return [
            writers[scene](at, keys[owner], units, 0, lacks)
            for at, scene, owner, units, lacks in zip(*(c.tolist() for c in columns), strict=True)
        ]


def tell(held: Held, seen: Seen, scenes: Sequence[Scene]) -> tuple[Telling, NDArray[np.void]]:
    """Every score that is other than last told or rests on other sources; all families' heads, which remember."""
    order = np.lexsort((seen.number, seen.owner))
    seen = Seen(*(column[order] for column in seen))
    lacking = _lacking(seen, scenes)
    first, before = _changes(seen.owner), held.head[seen.owner]
    unsaid = first & (before["flags"] & (SCORED | UNSCORED) != SCORED)
    score, lacked = before["score"], before["flags"] & INSUFFICIENT > 0
    score[1:] = np.where(first[1:], score[1:], seen.score[:-1])
    lacked[1:] = np.where(first[1:], lacked[1:], lacking[:-1])
    says = (unsaid | (seen.score != score) | (lacking != lacked)).nonzero()[0]
    says = says[seen.number[says].argsort()]
    columns = (seen.number, seen.scene, seen.owner, seen.score, lacking)
    telling = Telling._make(column[says] for column in columns)
    last = np.ones(len(first), bool)
    last[:-1] = first[1:]
    return telling, _remembered(held, Seen(*(column[last] for column in seen)), lacking[last])


def _lacking(seen: Seen, scenes: Sequence[Scene]) -> Bools:
    """Whether too little was heard, asked once for each scene and set of sources that is met."""
    cell = seen.scene * SOURCE_SETS + seen.sources
    table: Bools = np.zeros(len(scenes) * SOURCE_SETS, bool)
    for at in set(cell.tolist()):
        scene, sources = divmod(at, SOURCE_SETS)
        table[at] = too_little_heard(scenes[scene], sources)
    lacking: Bools = table[cell]
    return lacking


def _changes(owner: Ints) -> Bools:
    """Where another family begins, the first included."""
    first = np.ones(len(owner), bool)
    first[1:] = owner[1:] != owner[:-1]
    return first


def _remembered(held: Held, last: Seen, lacking: Bools) -> NDArray[np.void]:
    """Heads after what was last seen of each family."""
    head, at = held.head.copy(), last.owner
    kept = head["flags"][at] & ~np.uint8(INSUFFICIENT | UNSCORED)
    head["flags"][at] = kept | np.where(lacking, np.uint8(SCORED | INSUFFICIENT), np.uint8(SCORED))
    head["score"][at] = last.score
    head["above"][at] = np.where(head["above"][at] == NONE, NONE, last.day)
    return head


def states(held: Held, head: NDArray[np.void], facts: Mapping[int, bytes]) -> dict[int, bytes]:
    """By index: bytes of the families whose state is not what was read.

    Args:
        head: of all families.
        facts: of the calm ones whose facts changed, by index.
    """
    heads, size = head.tobytes(), HEAD.itemsize
    found: dict[int, bytes] = {}
    for at, new in facts.items():
        raw = held.raw[at]
        state = b"".join((heads[at * size : at * size + size], raw[size : held.facts_at[at]], new))
        if state != raw:
            found[at] = state
    return found


def timers(held: Held, head: NDArray[np.void]) -> dict[int, int]:
    """By index: when the next timer is due of the families for which that moved."""
    above = head["above"]
    moved = (above != held.head["above"]).nonzero()[0]
    told = zip(moved.tolist(), above[moved].tolist(), strict=True)
    return {at: look_again(day) for at, day in told}
