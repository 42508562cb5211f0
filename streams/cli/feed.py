"""Commands that bring messages in: simulate, publish."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
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
    number,
    say,
    writing,
)
from streams.cli.target import require_la, require_log, require_redis, settings_of

if TYPE_CHECKING:
    from streams.config import Settings
    from streams.publish import Line, Routed

PLACE = "E06000023"
"""The simulated authority's ONS code (Bristol): nothing simulated says anything about it."""
REJECTIONS_LISTED_MAX = 1000


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.command()(simulate)
    app.command()(publish)


def simulate(
    families: Annotated[int, typer.Option(min=1, max=1_000_000, help="Families.")] = 1000,
    weeks: Annotated[int, typer.Option(min=1, max=1040, help="Weeks.")] = 52,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same bytes.")] = 1,
    end: Annotated[
        str | None,
        typer.Option(help="Day to end before, YYYY-MM-DD. [default: today, in UTC]"),
    ] = None,
    start: Annotated[
        str | None, typer.Option(help="First day, YYYY-MM-DD, in place of --end.")
    ] = None,
    la: Annotated[str, typer.Option(help="ONS code of the authority.")] = PLACE,
    malformed: Annotated[float, typer.Option(min=0, max=1, help="Share broken on purpose.")] = 0.0,
    out: Annotated[
        Path | None, typer.Option(help="File of messages; stdout when left out.")
    ] = None,
    truth: Annotated[Path | None, typer.Option(help="File of what is so behind them.")] = None,
    json: JsonOption = False,
) -> None:
    """Write what the agencies of a simulated authority would send, one message a line.

    The last week ends today, so that it can be published as it is. The same command gives the same
    bytes on the same day, and with --end or --start on any day.

    \b
    Example:
      ehps simulate --families 100 --weeks 26 --out events.ndjson
      ehps simulate --families 1000 --weeks 52 --start 2024-09-02 --truth truth.json --out year.ndjson
    """
    from ehps.simulate import World, to_ndjson

    if json and out is None:
        raise Misused("--json prints one object on stdout, so say with --out where messages go.")
    require_la(la)
    first = _first_day(start, end, weeks)
    try:
        world = World(families, weeks, seed, first, la, malformed)
    except (ValueError, OverflowError) as exc:
        raise Misused(f"{exc}.") from exc
    kinds: Counter[str] = Counter()
    topics: Counter[str] = Counter()

    def counted() -> Iterator[Any]:
        for message in world.simulate():
            kinds[message.kind] += 1
            topics[message.topic] += 1
            yield message

    with ExitStack() as files:
        behind = None if truth is None else files.enter_context(writing(truth))
        sink = sys.stdout.buffer if out is None else files.enter_context(writing(out))
        sink.writelines(to_ndjson(counted()))
        if behind is not None:
            behind.write(world.truth_json())
    total, who = kinds.total(), number(families, "simulated family", "simulated families")
    note(f"{total} messages of {who} over {number(weeks, 'week')} from {first}, seed {seed}.")
    if json:
        emit(
            {
                "ok": True,
                "messages": total,
                "seed": seed,
                "start": str(first),
                "kinds": kinds,
                "topics": topics,
            }
        )


def _first_day(start: str | None, end: str | None, weeks: int) -> date:
    if start is not None and end is not None:
        raise Misused("Say --start or --end, not both: --weeks says how long.")
    try:
        if start is not None:
            return date.fromisoformat(start)
        last = datetime.now(UTC).date() if end is None else date.fromisoformat(end)
        return last - timedelta(weeks=weeks)
    except (ValueError, OverflowError) as exc:
        raise Misused("--start and --end are days like 2024-09-02.") from exc


def items_of(messages: Iterable[dict[str, Any]]) -> Iterator[Any]:
    """Messages with their topics, and the second at which their sender knew."""
    import orjson

    from schemas.topics import LINKS, agency_topic
    from streams.history import Item

    for message in messages:
        source = message["type"].split(".", 1)[0]
        if source == "record":
            source = message["data"]["type"].split(".", 1)[0]
        topic = LINKS if source == "link" else agency_topic(source)
        known = int(datetime.fromisoformat(message["recordedtime"]).timestamp())
        yield Item(known, topic, message["subject"].encode(), orjson.dumps(message))


def publish_history(settings: Settings, la: str, items: Iterable[Any]) -> int:
    """Tell an authority's past, with progress on a terminal; returns how many messages."""
    from streams.history import backfill
    from streams.registry import Registry

    registry = Registry(require_redis(settings))
    progress, total = Progress(la), 0
    for day in backfill(settings, registry, la, items):
        total = day.total
        progress.show(
            f"{datetime.fromtimestamp(day.end_s).astimezone():%d %b %Y}, {total} messages"
        )
    progress.clear()
    return total


def publish(
    files: Annotated[list[str], typer.Argument(help="Files, one message a line; - for stdin.")],
    check: Annotated[bool, typer.Option("--check", help="Only check; send nothing.")] = False,
    history: Annotated[
        bool,
        typer.Option("--history", help="In order of recordedtime, as the past of its authority."),
    ] = False,
    raw: Annotated[
        str | None,
        typer.Option("--raw", metavar="TOPIC", help="Send lines to TOPIC as they are, unchecked."),
    ] = None,
    kafka: KafkaOption = None,
    redis: RedisOption = None,
    json: JsonOption = False,
) -> None:
    """Check messages and send each to the topic of its type. Exit code 1 if any is refused.

    \b
    Example:
      ehps publish --check events.ndjson
      ehps publish events.ndjson
      ehps publish --history events.ndjson
    """
    from streams.publish import INPUTS, publisher, read_lines

    if sum((check, history, raw is not None)) > 1:
        raise Misused("Use one of --check, --history and --raw.")
    if raw is not None and raw not in INPUTS:
        raise Misused(f"{raw} is no topic that EHPS reads; --raw is one of {', '.join(INPUTS)}.")
    # A pipe or a device is as good as a file: `publish <(...)`.
    missing = [name for name in files if name != "-" and not _readable(Path(name))]
    if missing:
        raise Misused(f"{missing[0]} is not a file.")
    settings = settings_of(kafka, redis)
    if not check:
        require_log(settings)
    checker = _Checker(quiet=json)
    if raw is not None:
        sender = publisher(settings)
        for line in read_lines(files):
            sender.send(raw, None, line.value)
        sender.flush()
        _sent_raw(sender.confirmed, raw, json=json)
        return
    sent = None
    if check:
        checker.only_check(read_lines(files))
    elif history:
        sent = _history(settings, checker, read_lines(files))
    else:
        sender = publisher(settings)
        for routed in checker.accepted(read_lines(files)):
            sender.send(routed.topic, routed.key, routed.value)
        sender.flush()
        sent = sender.confirmed
    checker.report(sent, json=json)
    finish(ok=not checker.rejected)


def _sent_raw(sent: int, topic: str, *, json: bool) -> None:
    if json:
        emit({"ok": True, "sent": sent, "topics": {topic: sent}})
    else:
        say(f"{number(sent, 'message')} sent to {topic}, unchecked.")


def _readable(path: Path) -> bool:
    return path.exists() and not path.is_dir()


class _Checker:
    """Checks lines, tells each refused one, and counts."""

    def __init__(self, *, quiet: bool) -> None:
        self.rejected = 0
        self._quiet = quiet
        self._lines = 0
        self._topics: Counter[str] = Counter()
        self._listed: list[dict[str, Any]] = []

    def accepted(self, lines: Iterable[Line]) -> Iterator[Routed]:
        """Lines that pass."""
        from schemas.validate import Rejection
        from streams.publish import check, now

        clock = now()
        for line in lines:
            self._lines += 1
            found = check(line.value, clock)
            if isinstance(found, Rejection):
                self._refuse(line, found)
            else:
                self._topics[found.topic] += 1
                yield found

    def only_check(self, lines: Iterable[Line]) -> None:
        """Tell and count, and no more."""
        for _ in self.accepted(lines):
            pass

    def _refuse(self, line: Line, why: Any) -> None:
        self.rejected += 1
        if len(self._listed) < REJECTIONS_LISTED_MAX:
            self._listed.append(
                {
                    "file": line.file,
                    "line": line.number,
                    "code": why.code,
                    "field": why.field,
                    "observed": why.observed,
                    "hint": why.hint,
                }
            )
            if not self._quiet:
                at = f" at {why.field}" if why.field else ""
                say(
                    f"{line.file}:{line.number}: {why.code}{at}: "
                    f"found {why.observed}; send {why.hint}"
                )
        elif not self._quiet and self.rejected == REJECTIONS_LISTED_MAX + 1:
            say("Further refused lines are counted, not listed.")

    def report(self, sent: int | None, *, json: bool) -> None:
        """The account of all lines; `sent` is None where they were only checked."""
        if json:
            emit(
                {
                    "ok": not self.rejected,
                    "lines": self._lines,
                    "sent": sent or 0,
                    "rejected": self.rejected,
                    "topics": self._topics,
                    "rejections": self._listed,
                }
            )
            return
        lines = number(self._lines, "line")
        if sent is None:
            refused = f"{self.rejected:,}" if self.rejected else "none"
            say(f"{lines} checked, {refused} refused; nothing was sent.")
        else:
            say(f"{number(sent, 'message')} sent, {self.rejected:,} of {lines} refused.")


def _history(settings: Settings, checker: _Checker, lines: Iterable[Line]) -> int:
    """Publish each authority's lines in order of recordedtime."""
    import orjson

    from streams.importers.spool import Rank, Spool

    require_log(settings)
    spools: dict[str, Spool] = {}
    try:
        for routed in checker.accepted(lines):
            message = orjson.loads(routed.value)
            if "subject" not in message:
                raise Misused("History is made of events and links; send decisions as they come.")
            rank = Rank.LINK if message["type"].startswith("link.") else Rank.EVENT
            spools.setdefault(routed.la, Spool()).add(routed.known_s, rank, message)
        return sum(
            publish_history(settings, la, items_of(spool.read())) for la, spool in spools.items()
        )
    finally:
        for spool in spools.values():
            spool.close()
