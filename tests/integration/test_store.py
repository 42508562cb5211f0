"""The Redis store and look-ups answer as their models in memory do, on which the simulation runs."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

import streams.store
from deploy.redis_cluster import RealRedisCluster
from ehps.advance import Needs, Step
from ehps.replay import MemoryStore
from streams.errors import Conflict, LookupsLost
from streams.ports import PARKED_AT_ONCE, Link, Parked, Stretch, Write
from streams.redisclient import connect
from streams.registry import Registry
from streams.store import RedisStore, prefix, tag
from tests.sim import redis as model

SEQUENCES, COMMANDS = 300, 40
LAS = ("E06000023", "E09000001")
NAMES = tuple(f"{la}:f{number}" for la in LAS for number in range(4))
PEOPLE = tuple(f"person-{number:032x}" for number in range(3))


class Calm:
    """A world in which nothing goes wrong."""

    def __init__(self) -> None:
        self.redis = model.Redis()

    def ask(self, do: Callable[[], Any]) -> Any:
        return do()


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    with RealRedisCluster() as servers:
        yield servers.url


@pytest.fixture(params=["redis", "cluster"])
def client(request: pytest.FixtureRequest) -> Iterator[Redis]:
    """One server, and a cluster of three masters."""
    with connect(request.getfixturevalue(request.param)) as servers:
        yield servers
        servers.flushall()


def answer(call: Callable[[], Any]) -> Any:
    """What a call returns, or the kind of error that it raises."""
    try:
        return call()
    except (Conflict, LookupsLost) as error:
        return type(error)


def store_commands(seed: int) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Reads and commits, some from an offset where the store does not stand."""
    chance, offset = random.Random(seed), 0
    for _ in range(COMMANDS):
        if chance.random() < 0.4:
            families = chance.sample(NAMES, chance.randint(0, 4))
            due = [(la, chance.randint(0, 60), chance.randint(1, 5)) for la in LAS]
            yield "read", (Needs(families, due[: chance.randint(0, 2)]),)
            continue
        expected = offset if chance.random() < 0.8 else chance.randint(0, 9)
        states = {name: chance.randbytes(8) for name in chance.sample(NAMES, chance.randint(0, 5))}
        timers = {
            (name[:9], name): chance.choice((None, chance.randint(0, 50)))
            for name in chance.sample(NAMES, chance.randint(0, 5))
        }
        step = Step(expected + chance.randint(1, 3), chance.randbytes(5), states, timers, [], [], 1)
        yield "commit", (expected, step)
        if expected == offset:
            offset = step.offset


def run_stores(
    client: Redis, seed: int, kind: type[RedisStore] = RedisStore
) -> tuple[list[Any], list[Any]]:
    """Answers of the model and of the store, and at the end all that they hold."""
    client.flushall()
    memory, store = MemoryStore(), kind(client)
    said: tuple[list[Any], list[Any]] = [], []
    for name, arguments in store_commands(seed):
        if name == "read":
            said[0].append(memory.read(*arguments))
            said[1].append(store.read({7: arguments[0]})[7])
        else:
            said[0].append(None if memory.commit(*arguments) else Conflict)
            said[1].append(
                answer(lambda a=arguments: store.commit([Write(7, *a, b'{"digest":"x"}')]))
            )
    everything = Needs(list(NAMES), [(la, 1000, 1000) for la in LAS])
    said[0].extend((memory.read(everything), memory.families))
    said[1].extend((store.read({7: everything})[7], store.families(7)))
    return said


def lookup_commands(seed: int) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """What intake, agents and recovery ask."""
    chance, ends = random.Random(seed), {0: 0, 1: 0}
    for _ in range(COMMANDS):
        person, partition = chance.choice(PEOPLE), chance.randint(0, 1)
        start = ends[partition] if chance.random() < 0.7 else chance.randint(0, 12)
        stretch = Stretch("ehps.links.v1", partition, start, start + chance.randint(0, 3))
        links = [
            Link(name, f"v{chance.randint(0, 9)}", chance.choice((None, *NAMES)))
            for name in chance.sample(PEOPLE, chance.randint(0, 2))
        ]
        parked = [
            Parked(chance.choice(PEOPLE), f"t/0/{chance.randint(0, 5)}", chance.randbytes(3))
            for _ in range(chance.randint(0, 3))
        ]
        if start <= ends[partition]:
            ends[partition] = max(ends[partition], stretch.end)
        yield chance.choice(
            (
                *[("learn", (stretch, links, parked))] * 6,
                ("families_of", (list(PEOPLE),)),
                ("look_up", (list(PEOPLE),)),
                ("look_up", ([],)),
                ("links", (PEOPLE, stretch)),
                ("positions", ("ehps.links.v1",)),
                ("parked", (PEOPLE,)),
                ("unpark", (person, [f"t/0/{chance.randint(0, 5)}"])),
                ("parked_subjects", ()),
                ("authorities", ()),
                ("served", ()),
                ("whole", ()),
                ("mark_whole", ({chance.choice(LAS): "live"},)),
                ("mark_whole", ({},)),
                ("set_authority", (chance.choice(LAS), chance.choice(("history", "live")))),
                ("sign", (LAS[0], {"police": chance.randint(1, 9)})),
                ("signs", (LAS[0],)),
                ("note_control", (LAS[0], f"c{chance.randint(0, 2)}", chance.randbytes(3))),
                ("controls", (LAS[0],)),
                ("forget_controls", (LAS[0], [f"c{chance.randint(0, 2)}"])),
                ("lose", ()),
            )
        )


def run_lookups(client: Redis, seed: int) -> tuple[list[Any], list[Any]]:
    """Answers of the model and of the registry."""
    client.flushall()
    world = Calm()
    memory, registry = model.Lookups(world), Registry(client)
    said: tuple[list[Any], list[Any]] = [], []
    everything = [("families_of", (list(PEOPLE),)), ("positions", ("ehps.links.v1",))]
    everything += [("parked", (PEOPLE,)), ("links", (PEOPLE, Stretch("ehps.links.v1", 0, 0, 0)))]
    for name, arguments in (*lookup_commands(seed), *everything):
        if name == "lose":
            world.redis.lose()
            client.flushall()
            continue
        said[0].append(answer(lambda n=name, a=arguments: getattr(memory, n)(*a)))
        said[1].append(answer(lambda n=name, a=arguments: getattr(registry, n)(*a)))
    return said


@pytest.mark.parametrize("run", [run_stores, run_lookups])
def test_redis_answers_as_its_model_does(client: Redis, run: Callable[..., Any]) -> None:
    for seed in range(SEQUENCES):
        expected, actual = run(client, seed)
        assert expected == actual, f"seed {seed}"


STORE_DEFECTS = {
    "no comparison at committing": ("            self._compare(", "            print("),
    "the offset is not set": ('{"offset": step.offset, "state"', '{"state"'),
    "timers that end stay": ("change.zrem(", "change.zscore("),
    "due families are not read": (", *(name for *_, name in due[at].timers)", ""),
    "timers of another moment": (" or due[at].stands == [offset, generation]", " or True"),
    "nothing is watched": ("change.watch(*watched)", 'change.watch(watched[0] + "?")'),
}
SCRIPT_DEFECTS = {
    "no comparison at learning": ("_learn", "held < tonumber(ARGV[2])", "false"),
    "the last link wins": ("_learn", "not known or known < ARGV[4 + n]", "true"),
    "positions go back": ("_learn", "tonumber(ARGV[3]) > held", "true"),
    "the last sign of life wins": ("_sign", "tonumber(ARGV[n + 1]) > held", "true"),
    "links without their position": ("_links", "redis.call('HGET', KEYS[1], ARGV[1])", "'99'"),
}


@pytest.mark.parametrize("defect", STORE_DEFECTS)
def test_a_defect_in_the_store_shows(client: Redis, defect: str) -> None:
    old, new = STORE_DEFECTS[defect]
    source = Path(streams.store.__file__).read_text()
    assert source.count(old) == 1
    broken: dict[str, Any] = {}
    exec(source.replace(old, new), broken)  # noqa: S102
    store = broken["RedisStore"]

    alone = any(
        expected != actual
        for expected, actual in (run_stores(client, s, store) for s in range(100))
    )

    assert alone or interrupted(client, store) != [Conflict, b"theirs", []]


def interrupted(client: Redis, kind: type[RedisStore]) -> list[Any]:
    """What an overtaken commit comes to, what is stored then, and who is due at a read that was overtaken."""
    client.flushall()
    ours, theirs = kind(client), RedisStore(client)
    timed = (LAS[0], NAMES[0])
    theirs.commit([Write(7, 0, Step(1, b"p", {NAMES[0]: b"first"}, {timed: 5}, [], [], 1), b"{}")])

    def overtaken(name: str, step: Step) -> Callable[..., Any]:
        mine = getattr(ours, name)

        def first_theirs(*arguments: Any) -> Any:
            setattr(ours, name, mine)
            result = mine(*arguments)
            theirs.commit([Write(7, step.offset - 1, step, b"{}")])
            return result

        return first_theirs

    ours._due = overtaken("_due", Step(2, b"p", {}, {timed: None}, [], [], 1))  # type: ignore[method-assign]
    due = ours.read({7: Needs([], [(LAS[0], 9, 9)])})[7].due
    ours._compare = overtaken("_compare", Step(3, b"p", {NAMES[0]: b"theirs"}, {}, [], [], 1))  # type: ignore[method-assign]
    step = Step(3, b"p", {NAMES[0]: b"ours"}, {}, [], [], 1)
    said = answer(lambda: ours.commit([Write(7, 2, step, b"{}")]))
    return [said, theirs.family(7, NAMES[0]), due]


def test_who_is_overtaken_while_reading_or_committing_notices(client: Redis) -> None:
    assert interrupted(client, RedisStore) == [Conflict, b"theirs", []]


def test_a_read_that_is_overtaken_again_and_again_is_given_up(
    client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = RedisStore(client), RedisStore(client)
    due, offset = ours._due, iter(range(1000))

    def overtaken(wanted: Any) -> Any:
        result, at = due(wanted), next(offset)
        theirs.commit([Write(7, at, Step(at + 1, b"p", {}, {}, [], [], 1), b"{}")])
        return result

    monkeypatch.setattr(ours, "_due", overtaken)
    with pytest.raises(Conflict, match="again and again"):
        ours.read({7: Needs([], [(LAS[0], 9, 9)])})


def test_a_commit_whose_connection_breaks_is_not_sent_again_without_its_watch(
    client: Redis,
) -> None:
    client.flushall()
    ours, theirs = RedisStore(client), RedisStore(client)
    change = ours._change

    def cut_off(transaction: Any, write: Write) -> None:
        theirs.commit([Write(7, 0, Step(1, b"p", {NAMES[0]: b"theirs"}, {}, [], [], 1), b"{}")])
        transaction.connection._sock.shutdown(socket.SHUT_RDWR)
        change(transaction, write)

    ours._change = cut_off  # type: ignore[method-assign]
    step = Step(1, b"p", {NAMES[0]: b"ours"}, {}, [], [], 1)
    said = answer(lambda: ours.commit([Write(7, 0, step, b"{}")]))

    assert [said, theirs.family(7, NAMES[0])] == [Conflict, b"theirs"]


@pytest.mark.parametrize("defect", SCRIPT_DEFECTS)
def test_a_defect_in_a_script_shows(
    client: Redis, monkeypatch: pytest.MonkeyPatch, defect: str
) -> None:
    script, old, new = SCRIPT_DEFECTS[defect]
    prepare = Registry.__init__

    def broken(self: Any, server: Redis) -> None:
        prepare(self, server)
        source = getattr(self, script).script
        assert source.count(old) == 1
        setattr(self, script, server.register_script(source.replace(old, new)))

    monkeypatch.setattr(Registry, "__init__", broken)
    runs = (run_lookups(client, seed) for seed in range(100))

    assert any(expected != actual for expected, actual in runs)


def test_offset_and_guard_are_read_together(client: Redis) -> None:
    store = RedisStore(client)
    before = store.standing(3)
    store.commit([Write(3, 0, Step(5, b"p", {}, {}, [], [], 5), b'{"digest":"d"}')])

    assert before == (0, None)
    assert store.standing(3) == (5, {"digest": "d"})


def test_everything_parked_for_a_person_is_held_and_read_in_bounded_calls(client: Redis) -> None:
    registry, most = Registry(client), PARKED_AT_ONCE
    places = [f"t/0/{number}" for number in range(2 * most + 1)]
    registry.learn(
        Stretch("ehps.unlinked.v1", 0, 0, len(places)),
        parked=[Parked(PEOPLE[number % 2], place, b"x") for number, place in enumerate(places)],
    )
    read: list[list[str]] = []
    while found := registry.parked(list(PEOPLE)):
        read.append([place for events in found.values() for place in events])
        for subject, events in found.items():
            registry.unpark(subject, list(events))

    assert [len(some) for some in read] == [most, most, 1]
    assert sorted(chain(*read)) == sorted(places)
    assert registry.parked_subjects() == []


def test_of_two_signs_of_life_at_the_same_time_the_greater_is_kept(client: Redis) -> None:
    """Several intakes write: what was read before another wrote must not decide."""
    registry = Registry(client)
    with ThreadPoolExecutor(8) as intakes:
        list(intakes.map(lambda at: registry.sign(LAS[0], {"police": at}), range(1000, 0, -1)))
        list(intakes.map(lambda at: registry.sign(LAS[0], {"housing": at}), range(1, 1001)))

    assert registry.signs(LAS[0]) == {"police": 1000, "housing": 1000}


def test_the_partitions_of_the_log_are_spread_over_a_cluster(cluster: str) -> None:
    with connect(cluster) as client:
        homes = {client.get_node_from_key(tag(partition)).port for partition in range(8)}

    assert len(homes) == 3


def test_a_batch_that_was_read_before_a_rebuild_switched_cannot_be_committed(
    client: Redis,
) -> None:
    store, wanted = RedisStore(client), Needs(["E06000023:f-1"], [])
    before = store.read({7: wanted})[7]
    rebuilt = {"offset": 5, "state": b"rebuilt", "guard": b"{}", "f:E06000023:f-1": b"healed"}
    client.mset({f"{prefix(7, 'g1')}:{name}": value for name, value in rebuilt.items()})
    client.set(f"{tag(7)}:generation", "g1")
    step = Step(1, b"damaged", {"E06000023:f-1": b"damaged"}, {}, [], [], 1)
    with pytest.raises(Conflict, match="rebuilt meanwhile"):
        store.commit([Write(7, before.offset, step, b"{}")])
    after = store.read({7: wanted})[7]
    assert (before.offset, before.partition) == (0, None)
    assert (after.offset, after.partition) == (5, b"rebuilt")
    assert after.families == {"E06000023:f-1": b"healed"}
    assert store.offset(7) == 5
    assert b"damaged" not in {client.get(key) for key in client.scan_iter()}
