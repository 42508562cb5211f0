"""The account finds every record that ended in no way or in two, and takes a byte for each that is kept."""

import tracemalloc
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from ehps.log import RecordKind, pack_other
from streams.cli.prove import account_lines
from streams.logwriter import EHPS, INPUT
from streams.reconcile import Ledger, summary
from streams.segments import Record

TOPIC = "agency.police.v1"
FATES = (
    "logged",
    "parked",
    "dead_lettered",
    "parked and logged",
    "twice",
    "unaccounted",
    "waiting",
)
EVENT = pack_other(RecordKind.EVENT, "E06000023")


def source(offset: int) -> Record:
    """A record as the agency sent it."""
    return Record(TOPIC, 0, offset, 0, b"key", b"value", [])


def on_log(offset: int) -> Record:
    """What became of it, on the log."""
    place = f"{TOPIC}/0/{offset}".encode()
    return Record("ehps.log.v1", 0, offset, 0, b"key", b"value", [(EHPS, EVENT), (INPUT, place)])


def letter(offset: int) -> Record:
    """Its dead letter."""
    told = {"topic": TOPIC, "partition": "0", "offset": str(offset)}
    headers = [(f"__streams.errors.{name}", value.encode()) for name, value in told.items()]
    return Record("ehps.dead-letter.police.v1", 0, offset, 0, b"key", b"value", headers)


def account(fates: list[str], finished: int) -> Ledger:
    """A ledger in which each record, by offset, met its fate."""
    ledger = Ledger({(TOPIC, 0): finished})
    for offset, fate in enumerate(fates):
        ledger.read(source(offset))
        if "logged" in fate.split() or fate == "twice":
            ledger.logged(on_log(offset), 1 << 30)
        if fate.startswith("parked"):
            ledger.parked(on_log(offset))
        if fate in ("dead_lettered", "twice"):
            ledger.dead_lettered(letter(offset))
    return ledger


@given(st.lists(st.sampled_from(FATES[:-1]), max_size=60), st.integers(0, 20))
def test_every_record_is_counted_once_and_wrong_ends_are_named(
    fates: list[str], waiting: int
) -> None:
    counts, listed = account([*fates, *["waiting"] * waiting], len(fates)).join([TOPIC])
    found = counts[TOPIC]
    assert found.read == len(fates) + waiting
    assert found.logged == sum(fate in ("logged", "parked and logged") for fate in fates)
    assert found.parked == fates.count("parked")
    assert found.dead_lettered == fates.count("dead_lettered")
    assert (found.twice, found.unaccounted) == (fates.count("twice"), fates.count("unaccounted"))
    assert found.waiting == waiting
    wrong = [n for n, fate in enumerate(fates) if fate in ("twice", "unaccounted")]
    assert [offset for _, _, offset in listed] == wrong


def test_what_the_scorer_has_not_applied_yet_is_counted_apart() -> None:
    ledger = Ledger({(TOPIC, 0): 5})
    for offset in range(5):
        ledger.logged(on_log(offset), 3)
    assert (ledger.unapplied, ledger.kinds[RecordKind.EVENT]) == (2, 3)


def test_the_account_does_not_call_settled_what_still_waits() -> None:
    document = summary(*account(["logged", "waiting"], 1).join([TOPIC]), {}, [])
    told = account_lines({**document, "unapplied": 1})
    assert "STILL WAITING for intake: 1 of agency.police.v1." in told
    assert "STILL WAITING for a scorer: 1 record on the log." in told
    assert not any("exactly one way" in line for line in told)


def test_the_account_says_what_stands_on_the_log_beside_events() -> None:
    outcomes = {
        "applied": 3,
        "duplicate": 1,
        "membership": 2,
        "membership_duplicate": 1,
        "decision": 1,
    }
    document = summary(*account(["logged"] * 8, 8).join([TOPIC]), outcomes, [])
    told = account_lines({**document, "unapplied": 0, "unverifiable": 1})
    assert told[1:3] == [
        "On the log: 3 applied, 1 duplicate, 0 expired, 0 over the bound, 3 memberships, 1 decision.",
        "1 record is past retention: unverifiable.",
    ]


def test_a_record_costs_a_byte_however_many_there_are() -> None:
    count = 30_000
    assert peak(Ledger({(TOPIC, 0): count}), range(count)) < 2 * count + 60_000


def test_what_came_of_records_that_retention_removed_costs_nothing() -> None:
    count = 300_000
    ledger = Ledger({(TOPIC, 0): count}, {(TOPIC, 0): count})
    assert peak(ledger, range(count)) < count / 3


def peak(ledger: Ledger, offsets: Iterable[int]) -> int:
    """Most bytes held while a ledger takes in records and what became of them."""
    tracemalloc.start()
    for offset in offsets:
        ledger.read(source(offset))
        ledger.logged(on_log(offset), 1 << 30)
    ledger.join([TOPIC])
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most
