"""Deliberate defects: each is something that a reasonable person could write, and that the simulation must catch.

A mutant changes the source of a real function (`old` must stand in it exactly once, so that a mutant cannot outlive the
code that it breaks) or puts a defect in place of one. What Redis itself does is mutated in the simulated store, whose
equality with a real one `tests/integration/test_store.py` proves.
"""

from __future__ import annotations

import inspect
import itertools
import textwrap
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

import ehps.advance
import ehps.alerts
import ehps.batch
import ehps.replay
import ehps.timeline
import streams.scorer
from ehps.advance import Step
from streams import agents, controls, intake, kafka, parking, recover, telling, unknown, views
from streams.errors import Conflict
from tests.sim import redis

Patch = Callable[[pytest.MonkeyPatch], None]


class Mutant(NamedTuple):
    """A defect. `name` says what is done wrong, `harm` what comes of it."""

    name: str
    harm: str
    patch: Patch


def rewritten(owner: Any, name: str, *changes: tuple[str, str]) -> Patch:
    """The function or method with parts of its source replaced."""
    function = getattr(owner, name)
    source = textwrap.dedent(inspect.getsource(function))
    for old, new in changes:
        assert source.count(old) == 1, (
            f"{name} has changed: {old!r} stands in it {source.count(old)} times"
        )
        source = source.replace(old, new)
    space: dict[str, Any] = dict(function.__globals__)
    space["__process_clock__"] = time.time
    exec(source, space)  # noqa: S102  (our own source)
    return lambda patch: patch.setattr(owner, name, space[name])


def both(*patches: Patch) -> Patch:
    """Several changes that make one defect."""

    def apply(patch: pytest.MonkeyPatch) -> None:
        for each in patches:
            each(patch)

    return apply


def replaced(owner: Any, name: str, stand_in: Any) -> Patch:
    """Something else in its place."""
    return lambda patch: patch.setattr(owner, name, stand_in)


COMMIT = "self._store.commit(writes)"
COMMIT_ONE = (
    "self._store.commit([Write(partition, snapshot.offset, step, self._guard.seal(records[-1]))])"
)
SEND = "self._send(partition, step)"
COMPARE = "if snapshot.offset != records[0].offset:"

Scorer = streams.scorer.Scorer
Store = ehps.replay.MemoryStore


def _in_two_calls(
    self: redis.States, partition: int, expected: int, step: Step, guard: bytes
) -> None:
    """States first, then the offset: another moment to die in."""
    held = self.redis.writing()
    store = held.store(partition)
    if store.offset != expected:
        raise Conflict
    store.commit(expected, step._replace(offset=expected))
    self.world.ask(lambda: None)
    self.redis.held.store(partition).offset = step.offset
    self.redis.held.seals[partition] = guard


def _standing_in_two_calls(self: redis.States, partition: int) -> Any:
    offset = self.world.ask(lambda: self.redis.held.store(partition).offset)
    return offset, STANDING(self, partition)[1]


STANDING = redis.States.standing
NUMBERS = itertools.count()

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "states committed before outputs are sent",
        "a crash between the two loses the alert",
        rewritten(Scorer, "_step", (COMMIT, "pass"), (SEND, f"{COMMIT_ONE}; {SEND}")),
    ),
    Mutant(
        "no comparison of offsets at reading",
        "a seek that came too late skips records, or applies them twice",
        rewritten(Scorer, "_step", (COMPARE, "if False:")),
    ),
    Mutant(
        "no comparison of offsets at committing",
        "a zombie's states overwrite those of the owner",
        rewritten(Store, "commit", ("self.offset != expected", "False")),
    ),
    Mutant(
        "a commit refused only where Redis is ahead",
        "a Redis that went back takes states from its future, and skips what is between",
        both(
            rewritten(Store, "commit", ("self.offset != expected", "self.offset > expected")),
            rewritten(Scorer, "_step", (COMPARE, "if snapshot.offset > records[0].offset:")),
        ),
    ),
    Mutant(
        "Kafka's offset trusted over Redis's",
        "records between the two are skipped or applied twice",
        both(
            rewritten(
                Scorer,
                "_stand",
                (
                    "place.offset, seal = self._store.standing(place.partition)",
                    "place.offset, seal = max(told[place.partition], 0), None",
                ),
            ),
            rewritten(Scorer, "_step", (COMPARE, "if False:")),
            rewritten(Store, "commit", ("self.offset != expected", "False")),
        ),
    ),
    Mutant(
        "states and offset written in two calls",
        "a crash between the two applies records twice",
        replaced(redis.States, "_commit", _in_two_calls),
    ),
    Mutant(
        "Kafka told before outputs are sent",
        "the next owner takes as said what was not",
        rewritten(
            Scorer,
            "_step",
            (
                SEND,
                f"self._teller.done(LOG, partition, step.offset); self._teller.tell(last=True); {SEND}",
            ),
        ),
    ),
    Mutant(
        "offset and guard read one after the other",
        "another owner's commit between the two looks like a foreign log, and stops the scorer",
        replaced(redis.States, "standing", _standing_in_two_calls),
    ),
    Mutant(
        "a batch taken as it was read, jumps included",
        "a rebalance between two reads applies a record twice",
        rewritten(streams.scorer, "_unbroken", ("if all(follows)", "if True")),
    ),
    Mutant(
        "after a failure reading goes on where it was",
        "what was read and not committed waits for ever",
        rewritten(Scorer, "turn", ("if self._astray:", "if False:")),
    ),
    Mutant(
        "what the group did not hear is not told again",
        "who waits for the group waits for ever",
        rewritten(
            telling.Teller,
            "tell",
            ("if error.args[0].code() not in _MOVED_ON:", "if False:"),
        ),
    ),
    Mutant(
        "delivery reports ignored",
        "a record that never arrived counts as sent",
        rewritten(
            kafka.Sender,
            "confirm",
            ("if batch.failed or batch.confirmed < batch.sent:", "if False:"),
        ),
    ),
    Mutant(
        "intake tells its group before deliveries are confirmed",
        "a crash between the two loses the message",
        rewritten(
            intake.Intake,
            "turn",
            ("self.take(records)\n        last =", "last ="),
            (
                "self._messages = []\n    self._teller.tell(last=not last)\n",
                "self._teller.tell()\n        self.take(records)\n        self._messages = []\n",
            ),
        ),
    ),
    Mutant(
        "intake drops a batch that failed",
        "its messages are lost",
        rewritten(
            intake.Intake,
            "turn",
            ("self.take(records)\n", "self._messages = []\n        self.take(records)\n"),
        ),
    ),
    Mutant(
        "an authority that Redis does not know refused without asking the log",
        "after an older dump was put back, valid messages and all links read again are refused",
        replaced(unknown.Unknown, "require", lambda *_: None),
    ),
    Mutant(
        "a first heartbeat alone says that a clock is live",
        "an authority that goes live in an hour counts as a told past after Redis was lost: its time stands still",
        rewritten(controls.Controls, "_put_control", ("self._log.broker_time(control.la)", "None")),
    ),
    Mutant(
        "a link looked up before its membership is on the log",
        "an event overtakes its person",
        rewritten(
            agents.Links,
            "take",
            ("    self._sender.confirm()\n", ""),
            (
                "links=[_looked_up(link) for link, _ in taken])\n",
                "links=[_looked_up(link) for link, _ in taken])\n    self._sender.confirm()\n",
            ),
        ),
    ),
    Mutant(
        "two links of one person in a batch do not know of each other",
        "the person is a member of both families",
        rewritten(
            agents.Links, "_write", ("held[link.subject] = known if late else new\n", "pass\n")
        ),
    ),
    Mutant(
        "parked events released by links alone",
        "a link that came between look-up and parking leaves its events parked",
        both(
            rewritten(parking.Parking, "take", ("self.release(list(", "list(list(")),
            rewritten(recover.Recovery, "run", ("self._parking.sweep()", "0")),
        ),
    ),
    Mutant(
        "look-ups without a position",
        "a Redis that went back lacks links and parked events for ever",
        both(
            rewritten(
                views.View,
                "take",
                ("start = min(held.get(partition, 0), batch[0].offset)", "start = 0"),
                ("gap = self._gap(partition, start, batch[0].offset)", "gap = ()"),
            ),
            rewritten(views.View, "catch_up", ("if start < end:", "if False:")),
        ),
    ),
    Mutant(
        "facts as a list",
        "an event that arrives twice counts twice",
        replaced(ehps.timeline, "_settle", lambda *_: None),
    ),
    Mutant(
        "log time from the process's clock",
        "a replay tomorrow gives other answers than today",
        rewritten(
            ehps.advance,
            "_beat",
            (
                "advance_time(held, beat.time)",
                "advance_time(held, int(__process_clock__()))",
            ),
        ),
    ),
    Mutant(
        "sequences run on through a batch",
        "ids depend on how the log was cut",
        rewritten(
            ehps.batch.Batch,
            "next_sequence",
            ("sequence = self", "offset = 0; sequence = self"),
        ),
    ),
    Mutant(
        "alert ids from a counter",
        "a repeat after a crash looks like another alert",
        replaced(
            ehps.alerts,
            "alert_id",
            lambda *_: f"{next(NUMBERS):032x}",
        ),
    ),
    Mutant(
        "a decision shown with its fields in the order in which they came",
        "an alert's bytes depend on whether the state was read back in between",
        rewritten(
            ehps.advance,
            "decide",
            ("case.decided = decision", "case.decided = dict(reversed(decision.items()))"),
        ),
    ),
)
