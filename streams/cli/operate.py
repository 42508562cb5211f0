"""Commands that run something: demo, up, worker."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.cli.output import (
    JsonOption,
    KafkaOption,
    Misused,
    Progress,
    RedisOption,
    emit,
    finish,
    note,
    say,
)
from streams.cli.target import require_kafka, require_la, require_redis, settings_of

if TYPE_CHECKING:
    from streams.up import Stack

PLACE = "E06000023"
WORKERS = (("intake",), ("scorer",))
ROLES = ("intake", "scorer")
NEXT_STEPS = (
    "ehps simulate --families 500 --weeks 26 --out events.ndjson",
    "ehps publish events.ndjson",
    "ehps alerts --follow",
    "ehps doctor",
)
"""What a newcomer may do next, in this order; so many families that some are alerted about on any day."""


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.command()(demo)
    app.command()(up)
    app.command()(worker)


def demo(
    once: Annotated[
        bool, typer.Option("--once", help="End after the summary (always so without a terminal).")
    ] = False,
    families: Annotated[int, typer.Option(min=1, max=100_000, help="Simulated families.")] = 1900,
    weeks: Annotated[int, typer.Option(min=1, max=104, help="Simulated weeks.")] = 52,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another world.")] = 1,
    json: JsonOption = False,
) -> None:
    """Stream a simulated authority through every process of one machine, then prove the result.

    Starts an embedded Kafka and Valkey, publishes a year as history, shows alerts as they come,
    then joins every record with what came of it and replays the log. Needs nothing installed.

    \b
    Example:
      ehps demo --once --json
    """
    from streams.demo import Options, demonstrate, summary_lines
    from streams.up import interrupt_on_signals, running

    stays = not once and not json and sys.stdout.isatty() and sys.stdin.isatty()
    tell = note if json else say
    progress = Progress("demo")

    def show(line: str) -> None:
        progress.clear()
        tell(line)

    interrupt_on_signals()
    with tempfile.TemporaryDirectory(prefix="ehps-demo-") as folder:
        data_dir = Path(folder)
        with running(data_dir, kafka=None, redis=None, workers=WORKERS, note=note) as stack:
            tell(
                f"Embedded Kafka {stack.settings.kafka}, Valkey {stack.settings.redis}; folder {folder}"
            )
            if stack.limitation:
                tell(stack.limitation)
            options = Options(families, weeks, seed, PLACE)
            summary = demonstrate(stack, options, show, progress.show)
            progress.clear()
            if json:
                emit(summary)
            else:
                lines = summary_lines(summary, data_dir)
                say("\n".join(lines if stays else lines[:-2]))
            if stays:
                say("  ehps alerts --last 5;  ehps explain FAMILY;  ehps doctor\nCtrl-C stops all.")
                _wait(stack)
    finish(ok=summary["ok"])


def up(
    kafka: Annotated[
        str | None,
        typer.Option(
            "--kafka", envvar="EHPS_KAFKA", help="Use this Kafka. [else: an embedded one]"
        ),
    ] = None,
    redis: Annotated[
        str | None,
        typer.Option(
            "--redis", envvar="EHPS_REDIS", help="Use this Redis. [else: embedded Valkey]"
        ),
    ] = None,
    la: Annotated[str, typer.Option(help="ONS code of the authority to set up live.")] = PLACE,
    once: Annotated[
        bool, typer.Option("--once", help="Stop as soon as everything is ready.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Run broker, Redis and workers on this machine until Ctrl-C; other commands find them.

    \b
    Example:
      ehps up
    """
    from streams.up import interrupt_on_signals, running, set_live

    require_la(la)
    data_dir = _require_given(kafka, redis)
    interrupt_on_signals()
    try:
        with running(data_dir, kafka=kafka, redis=redis, workers=WORKERS, note=note) as stack:
            if stack.limitation:
                note(stack.limitation)
            note("Waiting for the workers ...")
            set_live(stack, la)
            _announce(stack, la, stays=not once, json=json)
            if not once:
                _wait(stack)
    except KeyboardInterrupt:
        note("Stopped.")


def _require_given(kafka: str | None, redis: str | None) -> Path:
    """The folder of the stack, once the servers that are named have answered."""
    settings = settings_of(kafka, redis)
    if kafka is not None:
        require_kafka(settings)
    if redis is not None:
        require_redis(settings).close()
    return settings.data_dir


def _announce(stack: Stack, la: str, *, stays: bool, json: bool) -> None:
    settings = stack.settings
    if json:
        facts: dict[str, Any] = {
            "kafka": settings.kafka,
            "redis": settings.redis,
            "embedded": settings.embedded,
            "la": la,
            "workers": stack.workers.pids(),
            "data_dir": str(settings.data_dir),
        }
        emit({"ok": True, **facts})
        return
    say(
        f"Kafka  {settings.kafka}{' (embedded: it starts empty each time)' if settings.embedded else ''}"
    )
    say(f"Redis  {settings.redis}")
    if settings.embedded:
        kept = settings.data_dir / "segments"
        say(f"What the last two runs were sent stays in {kept} and {kept}.previous until deleted.")
    if not stays:
        say(f"{la} was set up live. Logs are in {settings.data_dir}.")
        return
    say(f"{la} is live. Logs are in {settings.data_dir}. In another terminal, in this folder:")
    for line in NEXT_STEPS:
        say(f"  {line}")
    say("Ctrl-C stops all.")


def _wait(stack: Stack) -> None:
    """Tend the workers until interrupted."""
    try:
        while True:
            stack.tend()
            time.sleep(1.0)
    except KeyboardInterrupt:
        note("Stopping ...")


def worker(
    roles: Annotated[list[str], typer.Argument(help="intake, scorer, or both.")],
    kafka: KafkaOption = None,
    redis: RedisOption = None,
) -> None:
    """Run roles in this process until SIGTERM: intake validates and routes, scorer scores.

    \b
    Example:
      ehps worker intake scorer --kafka localhost:9092 --redis redis://localhost:6379/0
    """
    unknown = [role for role in roles if role not in ROLES]
    if unknown:
        raise Misused(f"There is no role {unknown[0]}: use {' or '.join(ROLES)}, or both.")
    from streams.worker import run_worker

    run_worker(roles, settings_of(kafka, redis))
