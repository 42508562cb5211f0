"""Commands that repair: dead letters sent back, states rebuilt."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.cli.look import dlq
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
)
from streams.cli.target import require_log, require_redis, settings_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis as redis_client

    from streams.config import Settings
    from streams.rebuild import Rebuild
    from streams.redrive import Chosen, Redrive

_LETTER = re.compile(r"ehps\.dead-letter\.([a-z-]+)\.v1/\d+/\d+")


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.command()(rebuild)


@dlq.command("redrive")
def dlq_redrive(
    what: Annotated[
        str, typer.Argument(help="A kind of sender, such as police, or one letter of `dlq show`.")
    ],
    code: Annotated[str | None, typer.Option(help="Only those refused for this reason.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Send nothing: say how many would pass now.")
    ] = False,
    unproven: Annotated[
        bool,
        typer.Option(
            "--unproven",
            help="Also those so old that it cannot be told whether they were sent back before.",
        ),
    ] = False,
    kafka: KafkaOption = None,
    redis: RedisOption = None,
    json: JsonOption = False,
) -> None:
    """Send refused messages back to their topic, after what refused them was mended.

    Each is sent back once, however often the command is repeated. Refused again, a message may be
    sent back again, three times in all; then its letter is parked for good. With --check the exit
    code is 1 if a message would be refused again.

    \b
    Example:
      ehps dlq redrive police --code unknown_code --check
    """
    from datetime import UTC, datetime

    from streams.redrive import Redriver
    from streams.registry import Registry
    from streams.worker import readers_of, sender

    chosen = _chosen(what, code)
    settings = settings_of(kafka, redis)
    require_log(settings)
    authorities = Registry(require_redis(settings)).authorities()
    driver = Redriver(settings, authorities, datetime.now(UTC), unproven=unproven)
    found = driver.run(chosen, None if check else sender(settings, readers_of(settings)))
    if chosen.letter and not found.chosen:
        why = f" refused as {code}" if code else ""
        raise Problem(f"There is no letter {chosen.letter}{why}.")
    ok = not (check and found.failing)
    if json:
        emit({"ok": ok, "check": check, **found.as_dict()})
        finish(ok=ok)
    for line in _redrive_lines(found, check=check):
        say(line)
    finish(ok=ok)


def _chosen(what: str, code: str | None) -> Chosen:
    from schemas.validate import CODES
    from streams.deadletters import SOURCES
    from streams.redrive import Chosen

    letter = _LETTER.fullmatch(what)
    source = letter[1] if letter else what
    if source not in SOURCES:
        raise Misused(f"Name one letter, or a kind of sender: {', '.join(SOURCES)}.")
    if code is not None and code not in CODES:
        raise Misused(f"No message is refused as {code}: --code is one of {', '.join(CODES)}.")
    return Chosen(source, what if letter else None, code)


def _redrive_lines(found: Redrive, *, check: bool) -> Iterator[str]:
    sent = "would be sent back" if check else "sent back"
    before = "was before" if found.redriven == 1 else "were before"
    yield f"{number(found.chosen, 'letter')}: {found.sent:,} {sent}, {found.redriven:,} {before}."
    if found.parked == 1:
        yield "1 was refused after its last attempt and stays parked."
    elif found.parked:
        yield f"{found.parked:,} were refused after their last attempt and stay parked."
    if found.unproven == 1:
        yield "1 is too old to tell whether it was: add --unproven to send it."
    elif found.unproven:
        yield f"{found.unproven:,} are too old to tell whether they were: add --unproven to send them."
    if check:
        yield f"{found.passing} would pass now."
    for code, count in found.failing.most_common():
        yield f"{count} {'would' if check else 'will'} be refused again: {code}"


def rebuild(
    partition: Annotated[
        int | None, typer.Option(min=0, help="Only this partition of the log. [else: all]")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing: say which states differ.")
    ] = False,
    kafka: KafkaOption = None,
    redis: RedisOption = None,
    json: JsonOption = False,
) -> None:
    """Make states anew from the log, beside those in force, and switch where they differ.

    Scorers may go on meanwhile. Nothing is sent that was sent before. With --check the exit code is
    1 if anything differs.

    \b
    Example:
      ehps rebuild --partition 3
    """
    settings = settings_of(kafka, redis)
    count = require_log(settings)
    if partition is not None and partition >= count:
        raise Misused(f"The log has the partitions 0 to {count - 1}.")
    work = _rebuild(settings, require_redis(settings))
    results: list[dict[str, Any]] = []
    for at in range(count) if partition is None else (partition,):
        result = work.run(at, check=check)
        results.append(result.as_dict())
        note(f"partition {at}: up to offset {result.offset}, families: {result.families}")
    differing = sum(one["differing"] for one in results)
    wrong = any(one["differing"] or one["partition_state_differs"] for one in results)
    ok = not (check and wrong)
    if json:
        emit({"ok": ok, "check": check, "differing": differing, "partitions": results})
        finish(ok=ok)
    for one in results:
        if one["differing"] or one["partition_state_differs"]:
            done = "switched" if one["switched"] else "left as they are"
            say(
                f"Partition {one['partition']}: families that differed: {one['differing']}; {done}."
            )
            say(f"  such as {', '.join(one['named'][:5]) or 'the partition state'}")
    if not wrong:
        say("Every state is what the log says.")
    finish(ok=ok)


def _rebuild(settings: Settings, client: redis_client.Redis) -> Rebuild:
    from schemas.topics import LOG
    from streams import collector
    from streams.content import library
    from streams.groups import Groups
    from streams.guard import LogGuard
    from streams.kept import Kept
    from streams.rebuild import Rebuild
    from streams.store import RedisStore
    from streams.worker import topic_id

    collector.spare()
    kept, groups = Kept(settings), Groups(settings.kafka)

    def committed(partition: int) -> int:
        return groups.committed(settings.scorer_group, [(LOG, partition)])[LOG, partition]

    guard = LogGuard(kept, topic_id(settings), settings.scorer_group)
    return Rebuild(RedisStore(client), kept, committed, guard, library(settings.content))
