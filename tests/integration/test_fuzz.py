"""Whatever bytes come to a topic that EHPS reads: no crash, no stall, each accounted for, and nothing of it told on."""

import os
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from confluent_kafka import Producer

from deploy.real import RealKafka, RealRedis
from ehps.library import Library
from schemas.control import Control, Heartbeat
from schemas.events import SOURCES
from schemas.topics import CONTROL, INTERNAL_INPUTS, dead_letter_topic
from schemas.validate import Rejection, validate_control
from tests.integration.mutate import CANARY, Mutator, golden
from tests.integration.product import LA, Product, link, notification, running_product

pytestmark = [pytest.mark.timeout(7200), pytest.mark.usefixtures("real_stack")]
COUNT = int(os.environ.get("EHPS_FUZZ_N", "3000"))
SEED = int(os.environ.get("EHPS_FUZZ_SEED", "1"))
BOMB = CANARY.encode() * 1_000_000
"""Eight megabytes that compress to thousands: a broker counts compressed bytes, and takes it."""
WAVE = 5000
"""Messages sent before all are waited for: a stall shows where it begins."""


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A product of its own: some mutations are good controls."""
    folder = tmp_path_factory.mktemp("fuzz")
    with RealKafka(folder / "kafka") as kafka, RealRedis(folder / "redis") as redis:
        words = ("--kafka", kafka.bootstrap, "--redis", redis.url)
        with running_product(folder / "stack", lambda _: words) as found:
            yield found


@pytest.fixture(scope="module")
def fuzzed(product: Product) -> Product:
    """The product after all messages came, and a good one after them."""
    product.tell(link("fuzz", "f-fuzz"))
    mutator, producer = Mutator(SEED, _more()), _producer(product)
    failures: list[str] = []
    began = time.monotonic()
    for number in range(1, COUNT + 1):
        message = mutator.draw()
        producer.produce(
            message.topic,
            message.value,
            message.key,
            headers=message.headers,
            on_delivery=lambda error, _: failures.append(str(error)) if error else None,
        )
        producer.poll(0)
        if number % WAVE == 0 or number == COUNT:
            assert producer.flush(60) == 0
            product.settle()
    producer.produce("agency.police.v1", BOMB, b"bomb")
    assert producer.flush(60) == 0
    assert not failures, failures[:3]
    product.tell(notification("fuzz", "red"))
    print(f"{COUNT} mutated messages in {time.monotonic() - began:.0f} s, seed {SEED}")
    return product


def test_no_worker_dies_and_the_stream_goes_on(fuzzed: Product) -> None:
    assert "ended; started again" not in (fuzzed.data_dir / "up.log").read_text()
    kinds = {c["kind"] for c in fuzzed.explain("f-fuzz")["contributions"]}
    assert "police.notification.red" in kinds


def test_every_message_is_accounted_for(fuzzed: Product) -> None:
    account = fuzzed.ehps("reconcile")
    assert account["problems"] == []
    assert (account["unaccounted"], account["twice"], account["waiting"]) == (0, 0, 0)
    assert account["dead_lettered"] > COUNT / 4
    refused = {tuple(_told(letter, "topic partition offset")) for letter in _letters(fuzzed)}
    for message in fuzzed.read(CONTROL):
        if isinstance(validate_control(message.value()), Rejection):
            assert (CONTROL, str(message.partition()), str(message.offset())) in refused


def test_no_family_is_left_unscored(fuzzed: Product) -> None:
    errors = [score for score in fuzzed.documents("ehps.scores.v1") if score.get("error")]
    assert errors == []


def test_the_replay_says_what_live_said(fuzzed: Product) -> None:
    assert fuzzed.ehps("replay", "--verify")["replay_differences"] == 0


def test_no_log_line_tells_a_value_of_a_message(fuzzed: Product) -> None:
    secrets = _secrets()
    for path in fuzzed.data_dir.glob("*.log"):
        for line in path.read_text(errors="replace").splitlines():
            assert not secrets.search(line), (path.name, line[:500])


def test_no_dead_letter_header_tells_a_value_of_its_message(fuzzed: Product) -> None:
    secrets = _secrets()
    for letter in _letters(fuzzed):
        for name, value in letter.headers():
            if name.startswith(("__streams.errors.", "ehps.errors.")):
                assert not secrets.search(value.decode()), (name, value[:500])
                assert len(value) < 4000, (name, len(value))


def test_of_a_message_beyond_every_size_the_first_bytes_are_kept(fuzzed: Product) -> None:
    letters = fuzzed.read("ehps.dead-letter.police.v1")
    (letter,) = (x for x in letters if "ehps.errors.size" in dict(x.headers()))
    headers = dict(letter.headers())
    assert BOMB.startswith(letter.value())
    assert int(headers["ehps.errors.size"]) == len(BOMB) + len(b"bomb")
    assert headers["__streams.errors.exception"] == b"too_large"


def _more() -> dict[str, list[dict[str, Any]]]:
    """Controls and heartbeats that would be taken as they are, of an authority of their own."""
    now = datetime.now(UTC).replace(microsecond=0)
    control: Control = Library.packaged().default_control("E07000999", now + timedelta(hours=1))
    beats = [Heartbeat(la=la, time=now, sources={"police": now}) for la in (LA, "E07000999")]
    return {
        CONTROL: [
            {"control": control.model_dump(mode="json")},
            *({"heartbeat": beat.model_dump(mode="json", exclude_none=True)} for beat in beats),
        ]
    }


def _secrets() -> re.Pattern[str]:
    """What no log line or header may hold: text that mutations invent, and people and ids of the golden messages."""
    texts = {CANARY}
    for documents in golden().values():
        for document in documents:
            texts |= {document[name] for name in ("subject", "id", "source") if name in document}
    return re.compile("|".join(map(re.escape, sorted(texts))))


def _letters(product: Product) -> list[Any]:
    topics = [dead_letter_topic(source) for source in (*SOURCES, *INTERNAL_INPUTS)]
    return [letter for topic in topics for letter in product.read(topic)]


def _told(letter: Any, names: str) -> list[str]:
    headers = dict(letter.headers())
    return [headers[f"__streams.errors.{name}"].decode() for name in names.split()]


def _producer(product: Product) -> Producer:
    return Producer(
        {
            "bootstrap.servers": product.settings.kafka,
            "acks": "all",
            "compression.type": "lz4",
            "message.max.bytes": 20_000_000,
            "log_level": 0,
        }
    )
