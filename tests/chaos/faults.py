"""The faults of the campaign: each hurts a running fleet for a while and then leaves it to mend itself."""

import random
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from confluent_kafka import Producer

from deploy.redis_cluster import NODE_TIMEOUT_MS, SLOTS
from schemas.control import ControlMessage, Heartbeat
from schemas.topics import CONTROL
from tests.chaos.disks import full_disk
from tests.chaos.fleet import SCORERS_MAX, Fleet

SESSION_S = 10.0
"""After this long without a sign of life the group gives a member's partitions to others."""
Fault = Callable[[Fleet, random.Random], None]


def kill_a_worker(fleet: Fleet, chance: random.Random) -> None:
    """Kill -9 of any worker."""
    name = _any(fleet, chance)
    fleet.say(f"kill -9 {name}")
    fleet.workers[name].signal(signal.SIGKILL)


def kill_every_worker(fleet: Fleet, chance: random.Random) -> None:
    """Kill -9 of all workers at once."""
    fleet.say("kill -9 of every worker")
    for name in list(fleet.workers):
        fleet.workers[name].signal(signal.SIGKILL)


def pause_a_worker(fleet: Fleet, chance: random.Random) -> None:
    """SIGSTOP of any worker, SIGCONT before the group gives it up."""
    name, seconds = _any(fleet, chance), chance.uniform(0.2, 4)
    fleet.say(f"pause {name} for {seconds:.1f} s")
    fleet.workers[name].signal(signal.SIGSTOP)
    time.sleep(seconds)
    fleet.workers[name].signal(signal.SIGCONT)


def two_owners(fleet: Fleet, chance: random.Random) -> None:
    """SIGSTOP beyond the session: others own its partitions when it goes on with its batch."""
    fleet.scale(max(2, sum(name.startswith("scorer") for name in fleet.workers)))
    name = _any(fleet, chance, "scorer" if chance.random() < 0.8 else "intake")
    fleet.say(f"pause {name} beyond its session")
    fleet.workers[name].signal(signal.SIGSTOP)
    time.sleep(SESSION_S + chance.uniform(1, 3))
    fleet.workers[name].signal(signal.SIGCONT)


def restart_the_broker(fleet: Fleet, chance: random.Random) -> None:
    """The broker stops in order and starts again."""
    fleet.say("restart the broker")
    fleet.kafka.restart()


def kill_the_broker(fleet: Fleet, chance: random.Random) -> None:
    """Kill -9 of the broker."""
    fleet.say("kill -9 the broker")
    fleet.kafka.kill()
    time.sleep(chance.uniform(0, 2))
    fleet.kafka.start()


def pause_a_server(fleet: Fleet, chance: random.Random) -> None:
    """SIGSTOP and SIGCONT of the broker or of Redis."""
    server, seconds = chance.choice((fleet.kafka, fleet.redis)), chance.uniform(0.2, 4)
    fleet.say(f"pause {type(server).__name__} for {seconds:.1f} s")
    with fleet.paused(server.pid or 0):
        time.sleep(seconds)


def kill_redis(fleet: Fleet, chance: random.Random) -> None:
    """Kill -9 of Redis, whose append-only file is forced to disk every second."""
    fleet.say("kill -9 Redis")
    fleet.redis.kill()
    time.sleep(chance.uniform(0, 3))
    fleet.redis.start()


def fill_redis_disk(fleet: Fleet, chance: random.Random) -> None:
    """Redis can write no file for a while, and refuses every change."""
    pid = fleet.redis.pid
    if pid is not None:
        fleet.say("no room on Redis's disk")
        with full_disk(pid):
            time.sleep(chance.uniform(1, 5))


def fill_the_brokers_disk(fleet: Fleet, chance: random.Random) -> None:
    """The broker can write no file: it ends itself, and is started again once there is room."""
    pid = fleet.kafka.pid
    if pid is not None:
        fleet.say("no room on the broker's disk")
        with full_disk(pid):
            time.sleep(chance.uniform(1, 5))
        fleet.kafka.restart()


def flush_redis(fleet: Fleet, chance: random.Random) -> None:
    """FLUSHALL."""
    fleet.say("flush Redis")
    fleet.ask(lambda client: client.flushall())


def fail_over(fleet: Fleet, chance: random.Random) -> None:
    """Kill -9 of a master: its replica takes over, without the last writes perhaps; it comes back as a replica."""
    slot = chance.randrange(SLOTS)
    fleet.say(f"kill -9 the master of slot {slot}")
    fleet.redis.master_of(slot).kill()
    time.sleep(chance.uniform(0, 3 * NODE_TIMEOUT_MS / 1000))
    fleet.redis.start()


def deaf_master(fleet: Fleet, chance: random.Random) -> None:
    """SIGSTOP of a master until its replica has taken over: it goes on in the belief that it still is one."""
    slot = chance.randrange(SLOTS)
    pid = fleet.redis.master_of(slot).pid
    fleet.say(f"pause the master of slot {slot} until it is replaced")
    with fleet.paused(pid):
        time.sleep(NODE_TIMEOUT_MS / 1000 + chance.uniform(1, 3))


def put_redis_back(fleet: Fleet, chance: random.Random) -> None:
    """Redis goes back to what it was a while ago."""
    fleet.keep_redis()
    time.sleep(chance.uniform(0.5, 6))
    fleet.say("put Redis back to older files")
    fleet.put_redis_back()


def put_redis_far_back(fleet: Fleet, chance: random.Random) -> None:
    """Redis goes back to the last files that were kept, of this round or an earlier one."""
    if not (fleet.folder / "redis-before").exists():
        fleet.keep_redis()
        return
    fleet.say("put Redis back to files of an earlier round")
    fleet.put_redis_back()


def rebalance(fleet: Fleet, chance: random.Random) -> None:
    """One to four scorers, and back."""
    for count in chance.sample(range(1, SCORERS_MAX + 1), 2):
        fleet.say(f"{count} scorers")
        fleet.scale(count)
        time.sleep(chance.uniform(0.5, 4))


def wrong_clock(fleet: Fleet, chance: random.Random) -> None:
    """The intake's clock is an hour off: its heartbeats must age nobody. So are an operator's."""
    ahead = chance.choice((-3600, 3600))
    fleet.say(f"an intake whose clock is {ahead / 3600:+.0f} h off")
    fleet.remove("intake-1")
    words = ["-m", "tests.chaos.skewed", str(ahead), "intake"]
    fleet.add("intake-1", words, heartbeat_s=0.5)
    send_heartbeat(fleet, datetime.now(UTC) + timedelta(seconds=ahead))
    time.sleep(chance.uniform(8, 10))
    fleet.remove("intake-1")
    fleet.scale(1, "intake")


def send_heartbeat(fleet: Fleet, moment: datetime) -> None:
    """A heartbeat for the live authority by way of the control topic."""
    message = ControlMessage(heartbeat=Heartbeat(la=LIVE_LA, time=moment, sources={}))
    client = Producer({"bootstrap.servers": fleet.settings.kafka, "log_level": 0})
    client.produce(CONTROL, message.model_dump_json(exclude_none=True).encode(), LIVE_LA)
    client.flush(60)


LIVE_LA = "W06000015"
"""An authority with a live clock, beside those whose history is told."""

FAULTS: dict[str, tuple[Fault, int]] = {
    fault.__name__: (fault, weight)
    for fault, weight in (
        (kill_a_worker, 8),
        (kill_every_worker, 2),
        (pause_a_worker, 4),
        (two_owners, 3),
        (restart_the_broker, 1),
        (kill_the_broker, 2),
        (pause_a_server, 3),
        (kill_redis, 4),
        (fill_redis_disk, 2),
        (fill_the_brokers_disk, 1),
        (flush_redis, 2),
        (put_redis_back, 3),
        (put_redis_far_back, 1),
        (rebalance, 4),
        (wrong_clock, 2),
    )
}
"""Every fault, and how often it comes in comparison with the others."""
OF_ONE_REDIS = (kill_redis, fill_redis_disk, put_redis_back, put_redis_far_back)
OF_A_CLUSTER: dict[str, tuple[Fault, int]] = {
    "fail_over": (fail_over, 6),
    "deaf_master": (deaf_master, 3),
}


def faults_for(*, cluster: bool) -> dict[str, tuple[Fault, int]]:
    """Faults that a fleet can have, and how often each comes in comparison with the others."""
    if not cluster:
        return FAULTS
    both = {name: fault for name, fault in FAULTS.items() if fault[0] not in OF_ONE_REDIS}
    return both | OF_A_CLUSTER


def _any(fleet: Fleet, chance: random.Random, role: str = "") -> str:
    return chance.choice(sorted(name for name in fleet.workers if name.startswith(role)))
