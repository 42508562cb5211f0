"""Commands that prove: replay, reconcile."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from streams.cli.output import JsonOption, KafkaOption, RedisOption, emit, finish, say
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
    from streams.content import library as library_of
    from streams.kafka import read_topic
    from streams.replaylog import Replayed, replay_partition
    from streams.replaylog import verify as verified

    settings = settings_of(kafka, redis)
    partitions = require_log(settings)
    library = library_of(settings.content)
    result = Replayed()
    if verify:
        result = verified(settings, require_redis(settings), library)
    if out is not None or not verify:
        lines: list[bytes] = []
        plain = Replayed()
        for partition in range(partitions):
            records = read_topic(settings.kafka, "ehps.log.v1", settings.segments, [partition])
            keep = None if out is None else (lambda value, _shadow: lines.append(value + b"\n"))
            plain.add(replay_partition(records, library, partition, each=keep))
        if out is not None:
            out.write_bytes(b"".join(lines))
        result = result if verify else plain
    ok = not result.difference_count
    if json:
        emit({"ok": ok, "verified": verify, **result.as_dict()})
        finish(ok=ok)
    counts = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in result.alerts.items())
    say(f"{result.records} records, {result.families} families; alerts: {counts or 'none'}.")
    for difference in result.differences:
        say(f"DIFFERS: {difference}")
    if verify:
        say(
            "Replay says what live said: alerts and states are the same, byte for byte."
            if ok
            else f"{result.difference_count} differences."
        )
    finish(ok=ok)


def reconcile(
    kafka: KafkaOption = None, redis: RedisOption = None, json: JsonOption = False
) -> None:
    """Join every record that was read with what came of it. Exit code 1 if any is unaccounted for.

    \b
    Example:
      ehps reconcile
    """
    from streams.reconcile import reconcile as reconciled

    settings = settings_of(kafka, redis)
    require_log(settings)
    account = reconciled(settings, require_redis(settings))
    if json:
        emit(account)
        finish(ok=account["ok"])
    for line in account_lines(account):
        say(line)
    finish(ok=account["ok"])


def account_lines(account: dict[str, Any]) -> list[str]:
    """The account in plain English."""
    lines = [
        f"{account['read']} records read: {account['logged']} on the log, {account['parked']} parked, "
        f"{account['dead_lettered']} refused, {account['waiting']} waiting, "
        f"{account['unaccounted']} unaccounted for.",
        f"On the log: {account['applied']} applied, {account['duplicate']} duplicates, "
        f"{account['expired']} expired, {account['evicted']} over the bound.",
    ]
    if account["unverifiable"]:
        lines.append(f"{account['unverifiable']} records are past retention: unverifiable.")
    lines += [f"UNACCOUNTED: {at}" for at in account["unaccounted_records"]]
    lines += [f"PROBLEM: {problem}" for problem in account["problems"]]
    if account["ok"]:
        lines.append("Every record ended in exactly one way.")
    return lines
