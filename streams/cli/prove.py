"""Commands that prove: replay, reconcile."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from streams.cli.output import (
    JsonOption,
    KafkaOption,
    RedisOption,
    emit,
    finish,
    number,
    say,
    writing,
)
from streams.cli.target import require_log, require_redis, settings_of


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.command()(replay)
    app.command()(reconcile)


def replay(
    verify: Annotated[
        bool, typer.Option("--verify", help="Compare with the alerts and states that live made.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Write the alerts, one JSON a line.")] = None,
    kafka: KafkaOption = None,
    redis: RedisOption = None,
    json: JsonOption = False,
) -> None:
    """Run the whole log through the same kernel, beside the live system.

    With --verify every alert and every state is compared, byte for byte, and the exit code is 1
    where anything differs.

    \b
    Example:
      ehps replay --verify
    """
    from schemas.topics import LOG
    from streams import collector
    from streams.content import library as library_of
    from streams.reading import read_topic
    from streams.replaylog import Replayed, replay_partition
    from streams.replaylog import verify as verified

    collector.spare()
    settings = settings_of(kafka, redis)
    partitions = require_log(settings)
    library = library_of(settings.content)
    with ExitStack() as files:
        file = None if out is None else files.enter_context(writing(out))
        result = Replayed()
        if verify:
            result = verified(settings, require_redis(settings), library)
        if file is not None or not verify:
            plain = Replayed()
            keep = None if file is None else _to(file)
            for partition in range(partitions):
                records = read_topic(settings.kafka, LOG, settings.segments, [partition])
                plain.add(replay_partition(records, library, partition, each=keep))
            result = result if verify else plain
    ok = not result.difference_count
    if json:
        emit({"ok": ok, "verified": verify, **result.as_dict()})
        finish(ok=ok)
    counts = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in result.alerts.items())
    families = number(result.families, "family", "families")
    say(f"{number(result.records, 'record')}, {families}; alerts: {counts or 'none'}.")
    for difference in result.differences:
        say(f"DIFFERS: {difference}")
    if verify:
        say(
            "Replay says what live said: alerts and states are the same, byte for byte."
            if ok
            else f"{number(result.difference_count, 'difference')}."
        )
    finish(ok=ok)


def reconcile(
    kafka: KafkaOption = None, redis: RedisOption = None, json: JsonOption = False
) -> None:
    """Join every record that was read with what came of it.

    Exit code 1 if any is unaccounted for, or still waits.

    \b
    Example:
      ehps reconcile
    """
    from streams.reconcile import reconcile as reconciled

    settings = settings_of(kafka, redis)
    require_log(settings)
    account = reconciled(settings, require_redis(settings))
    account["ok"] = account["ok"] and not account["waiting"] and not account["unapplied"]
    if json:
        emit(account)
        finish(ok=account["ok"])
    for line in account_lines(account):
        say(line)
    finish(ok=account["ok"])


def account_lines(account: dict[str, Any]) -> list[str]:
    """The account in plain English."""
    lines = [
        f"{number(account['read'], 'record')} read: {account['logged']:,} on the log, {account['parked']:,} parked, "
        f"{account['dead_lettered']:,} refused, {account['waiting']:,} waiting, "
        f"{account['unaccounted']:,} unaccounted for.",
        f"On the log: {account['applied']:,} applied, {number(account['duplicate'], 'duplicate')}, "
        f"{account['expired']:,} expired, {account['evicted']:,} over the bound, {_others(account)}.",
    ]
    if account["unverifiable"]:
        past = "is" if account["unverifiable"] == 1 else "are"
        lines.append(
            f"{number(account['unverifiable'], 'record')} {past} past retention: unverifiable."
        )
    lines += [f"UNACCOUNTED: {at}" for at in account["unaccounted_records"]]
    lines += [f"PROBLEM: {problem}" for problem in account["problems"]]
    if account["waiting"]:
        lines.append(f"STILL WAITING for intake: {_by_topic(account, 'waiting')}.")
    if account["unapplied"]:
        lines.append(
            f"STILL WAITING for a scorer: {number(account['unapplied'], 'record')} on the log."
        )
    if account["waiting"] or account["unapplied"]:
        lines.append("Look again in a moment; `ehps doctor` says whether somebody works on them.")
    elif account["ok"]:
        lines.append("Every record ended in exactly one way.")
    return lines


def _others(account: dict[str, Any]) -> str:
    """What stands on the log beside events. A link that moves somebody is two records: both families are told."""
    from streams.reconcile import DECISION_OUTCOMES, MEMBERSHIP_OUTCOMES

    memberships, decisions = (
        sum(account["outcomes"].get(name, 0) for name in names)
        for names in (MEMBERSHIP_OUTCOMES, DECISION_OUTCOMES)
    )
    return f"{number(memberships, 'membership')}, {number(decisions, 'decision')}"


def _to(file: BinaryIO) -> Callable[[bytes, bool], None]:
    def keep(alert: bytes, _shadow: bool) -> None:
        file.write(alert + b"\n")

    return keep


def _by_topic(account: dict[str, Any], what: str) -> str:
    counts = ((topic, count[what]) for topic, count in account["topics"].items())
    return ", ".join(f"{count} of {topic}" for topic, count in counts if count)
