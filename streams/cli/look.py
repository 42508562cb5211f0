"""Commands that look: alerts, explain, doctor, dead letters, topics, schemas."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.cli.output import (
    JsonOption,
    KafkaOption,
    Misused,
    Problem,
    RedisOption,
    emit,
    finish,
    note,
    number,
    say,
    table,
)
from streams.cli.target import require_kafka, require_log, require_redis, settings_of

if TYPE_CHECKING:
    import redis as redis_client

    from ehps.library import Library
    from streams.config import Settings

DAYS_SHOWN_MAX = 6
_FAMILY = re.compile(r"(?:[EWSN]\d{8}:)?[A-Za-z0-9_-]{1,64}")

dlq = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Messages that were refused.\n\n\b\nExample:\n  ehps dlq list",
)
_topics = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Topics as declared, and as the broker has them.\n\n\b\nExample:\n  ehps topics plan",
)
_schemas = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="The contracts as files.\n\n\b\nExample:\n  ehps schemas export schemas/json",
)


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.command()(alerts)
    app.command()(explain)
    app.command()(doctor)
    app.add_typer(dlq, name="dlq")
    app.add_typer(_topics, name="topics")
    app.add_typer(_schemas, name="schemas")


def alerts(
    follow: Annotated[
        bool, typer.Option("--follow/--once", help="Go on as they come, or print and end.")
    ] = False,
    last: Annotated[int, typer.Option(min=0, max=100_000, help="How many past ones.")] = 20,
    family: Annotated[str | None, typer.Option(help="Only of this family.")] = None,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Also those of the shadow stage.")
    ] = False,
    kafka: KafkaOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Print alerts as plain English sentences.

    \b
    Example:
      ehps alerts --follow
    """
    import orjson

    from schemas.topics import ALERTS, ALERTS_SHADOW
    from streams.follow import follow as following
    from streams.follow import recent, sentence

    settings = settings_of(kafka, None)
    require_log(settings)
    topics = (ALERTS, ALERTS_SHADOW) if shadow else (ALERTS,)

    def wanted(alert: dict[str, Any]) -> bool:
        return family in (None, alert["family"], alert["family"].partition(":")[2])

    def show(alert: dict[str, Any]) -> None:
        if json:
            emit(alert)
        else:
            say(sentence(alert))

    past = recent(settings.kafka, settings.segments, topics, last, wanted) if last else []
    for alert in past:
        show(alert)
    if last and not past:
        note(f"No alert about {'anybody' if family is None else family} so far.")
    if follow:
        gone = f"Kafka at {settings.kafka} does not answer: waiting for it."
        for record in following(settings.kafka, topics, away=lambda: note(gone)):
            alert = orjson.loads(record.value or b"{}")
            if wanted(alert):
                show(alert)


def explain(
    family: Annotated[str, typer.Argument(help="Family, such as f-17 or E06000023:f-17.")],
    kafka: KafkaOption = None,
    redis: RedisOption = None,
    json: JsonOption = False,
) -> None:
    """Say what a family's score is made of, with the dated facts behind it.

    \b
    Example:
      ehps explain f-17
    """
    if not _FAMILY.fullmatch(family):
        raise Misused("A family is named like f-17 or E06000023:f-17.")
    from streams.content import library

    settings = settings_of(kafka, redis)
    count = require_log(settings)
    document = _explained(require_redis(settings), family, count, library(settings.content))
    if json:
        emit({"ok": True, **document})
        return
    score = f"{document['points']:g} points, band {document['band']}"
    say(f"Family {document['family']} on {document['at'][:10]}: {score}; {document['release']}.")
    say(f"Open: {document['open_tier'].replace('_', ' ')}. {document['notice']}")
    if document["insufficient_data"]:
        named = ", ".join(document["sources_lacking"]) or "all of them together"
        say(f"Insufficient data: heard on too few days lately: {named}.")
    rows = [
        (f"{part['points']:g}", part["label"], part["facts_total"], _days(part))
        for part in document["contributions"]
    ]
    if rows:
        table("", ("points", "what", "facts", "on"), rows)
    decided = document["last_decision"]
    if decided is not None:
        action = decided["action"].replace("_", " ")
        say(f"Last decision: {action}, on {decided['at'][:10]}, of alert {decided['alert_id']}.")
    if document["combinations"]:
        say(f"Combinations: {', '.join(document['combinations'])}")


def _days(part: dict[str, Any]) -> str:
    """The newest days of a contribution's facts, how many on each, and how many facts are older."""
    counts = Counter(fact["occurred"][:10] for fact in part["facts"])
    shown = sorted(counts)[-DAYS_SHOWN_MAX:]
    named = [f"{day} ({counts[day]} facts)" if counts[day] > 1 else day for day in shown]
    older = part["facts_total"] - sum(counts[day] for day in shown)
    return ", ".join([f"{older} older"] * bool(older) + named)


def _explained(
    client: redis_client.Redis, family: str, partitions: int, library: Library
) -> dict[str, Any]:
    from ehps.explain import explain as explained
    from streams.partitioning import partition_of
    from streams.registry import Registry
    from streams.store import RedisStore

    store = RedisStore(client)
    known = Registry(client).authorities()
    keys = [family] if ":" in family else [f"{la}:{family}" for la in sorted(known)]
    for key in keys:
        partition = partition_of(key, partitions)
        state, whole = store.family(partition, key), store.partition_state(partition)
        if state is not None and whole is not None:
            return {"family": key, **explained(key, state, whole, library)}
    where = f" in {', '.join(sorted(known))}" if known and ":" not in family else ""
    msg = f"There is no family {family}{where}: nothing about it has been scored."
    raise Problem(msg)


def doctor(kafka: KafkaOption = None, redis: RedisOption = None, json: JsonOption = False) -> None:
    """Say what runs, what is wrong and what to do. Exit code 1 if anything is wrong.

    \b
    Example:
      ehps doctor
    """
    from streams.doctor import examine

    report = examine(settings_of(kafka, redis))
    if json:
        emit(report)
        finish(ok=report["ok"])
    say(f"Kafka {report['kafka']}, log of {report.get('log_partitions', 'unknown')} partitions")
    server = report.get("redis_server")
    if server is not None:
        told = f"version {server['version']}, {server['policy']}, {server['memory']}"
        say(f"Redis {report['redis']}, {told}")
    say(", ".join(f"{name} {number}" for name, number in report["versions"].items()))
    rows = [
        (la, a["mode"], a["log_time"], a["stage"], ", ".join(a["silent"]) or "none")
        for la, a in report.get("authorities", {}).items()
    ]
    if rows:
        table("Authorities", ("authority", "mode", "log time", "stage", "silent sources"), rows)
    behind = [one for one in report.get("lag", ()) if one["lag"]]
    lag = [(one["group"], one["topic"], one["partition"], one["lag"]) for one in behind]
    if lag:
        table("Behind", ("group", "topic", "partition", "records"), lag)
    if report.get("dead_letters"):
        total = sum(report["dead_letters"].values())
        say(f"{number(total, 'message')} refused in all; see `ehps dlq list`.")
    for found in report["problems"]:
        say(f"PROBLEM ({found['cause']}): {found['problem']}. Do: {found['do']}.")
    if report["ok"]:
        say("Nothing is wrong.")
    finish(ok=report["ok"])


@dlq.command("list")
def dlq_list(
    source: Annotated[str | None, typer.Option(help="Only of this kind of sender.")] = None,
    each: Annotated[bool, typer.Option("--each", help="Name every letter.")] = False,
    kafka: KafkaOption = None,
    json: JsonOption = False,
) -> None:
    """Count refused messages by topic, reason and field; content is never shown.

    \b
    Example:
      ehps dlq list --source police
    """
    from streams.deadletters import SOURCES, grouped, letters, view

    if source is not None and source not in SOURCES:
        raise Misused(f"--source is one of {', '.join(SOURCES)}.")
    settings = settings_of(kafka, None)
    require_log(settings)
    held = letters(settings.kafka, settings.segments, (source,) if source else SOURCES)
    if each:
        _each(list(map(view, held)), json=json)
        return
    groups = grouped(held)
    total = sum(group["count"] for group in groups)
    if json:
        emit({"ok": True, "dead_letters": total, "groups": groups})
        return
    say(f"{number(total, 'refused message')}.")
    for group in groups:
        say(_refused(group))


def _each(views: list[dict[str, Any]], *, json: bool) -> None:
    if json:
        emit({"ok": True, "dead_letters": len(views), "letters": views})
        return
    for one in views:
        say(f"{one['id']}: {one['code']}" + (f" at {one['field']}" if one["field"] else ""))


def _refused(group: dict[str, Any]) -> str:
    """A kind of refusal in two lines: names are long, and are copied whole."""
    at = f" at {group['field']}" if group["field"] else ""
    parked = f", {group['parked']} parked for good" if group["parked"] else ""
    first = f"{group['count']:>7,}  {group['topic']}: {group['code']}{at}{parked}"
    return f"{first}\n         send {group['hint']}; for one see {group['example']}"


@dlq.command("show")
def dlq_show(
    letter: Annotated[str, typer.Argument(help="Topic/partition/offset, as `dlq list` names it.")],
    content: Annotated[
        bool, typer.Option("--content", help="Also the bytes as sent: they may identify somebody.")
    ] = False,
    kafka: KafkaOption = None,
    json: JsonOption = False,
) -> None:
    """Show one refused message's reason and where it came from.

    \b
    Example:
      ehps dlq show ehps.dead-letter.police.v1/0/3
    """
    from streams.deadletters import view

    found = re.fullmatch(r"(ehps\.dead-letter\.[a-z-]+\.v1)/(\d+)/(\d+)", letter)
    if found is None:
        raise Misused("A dead letter is named like ehps.dead-letter.police.v1/0/3.")
    settings = settings_of(kafka, None)
    require_log(settings)
    record = _record(settings, found[1], int(found[2]), int(found[3]))
    document = view(record)
    if content:
        document["content"] = (record.value or b"").decode("utf-8", "backslashreplace")
    if json:
        emit({"ok": True, **document})
        return
    for name, value in document.items():
        say(f"{name:>10}  {value}")


def _record(settings: Settings, topic: str, partition: int, offset: int) -> Any:
    from streams.kafka import partitions_of
    from streams.reading import read_topic

    if partition < partitions_of(settings.kafka, topic):
        for record in read_topic(settings.kafka, topic, settings.segments, [partition]):
            if record.offset == offset:
                return record
    msg = f"There is no record {offset} in partition {partition} of {topic}."
    raise Problem(msg)


@_topics.command("plan")
def topics_plan(kafka: KafkaOption = None, json: JsonOption = False) -> None:
    """Say what `topics apply` would do. Exit code 1 if the broker differs from what is declared.

    \b
    Example:
      ehps topics plan --kafka localhost:9092
    """
    from streams.topicadmin import plan

    settings = settings_of(kafka, None)
    require_kafka(settings)
    changes = plan(settings.kafka, settings.log_partitions, embedded=settings.embedded)
    wrong = [change for change in changes if change.action != "ok"]
    if json:
        emit({"ok": not wrong, "topics": [change._asdict() for change in changes]})
    else:
        table("Topics", ("topic", "action", "partitions", "detail"), changes)
    finish(ok=not wrong)


@_topics.command("apply")
def topics_apply(kafka: KafkaOption = None, json: JsonOption = False) -> None:
    """Create the topics that are missing; what differs is reported, never changed.

    \b
    Example:
      ehps topics apply --kafka localhost:9092
    """
    from streams.topicadmin import apply, plan

    settings = settings_of(kafka, None)
    require_kafka(settings)
    changes = plan(settings.kafka, settings.log_partitions, embedded=settings.embedded)
    created = apply(settings.kafka, changes)
    differing = [change for change in changes if change.action == "differs"]
    if json:
        different = [change._asdict() for change in differing]
        emit({"ok": not differing, "created": created, "differing": different})
    else:
        say(f"{len(created)} topics created, {len(changes) - len(created)} were there.")
        for change in differing:
            say(f"PROBLEM: {change.topic}: {change.detail}. It was left as it is.")
    finish(ok=not differing)


@_topics.callback()
def _topics_group() -> None:
    return


@dlq.callback()
def _dlq_group() -> None:
    return


@_schemas.callback()
def _schemas_group() -> None:
    return


@_schemas.command("export")
def schemas_export(
    folder: Annotated[Path, typer.Argument(help="Folder to write to.")] = Path("schemas/json"),
    json: JsonOption = False,
) -> None:
    """Write JSON Schemas and AsyncAPI, for agencies that do not use Python.

    \b
    Example:
      ehps schemas export schemas/json
    """
    from schemas.export import write_schemas

    write_schemas(folder)
    files = sorted(str(path) for path in folder.rglob("*.json"))
    if json:
        emit({"ok": True, "files": files})
    else:
        say(f"{len(files)} files in {folder}.")
