"""Commands that import files of real formats: cin-census."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.cli.feed import items_of, publish_history
from streams.cli.output import (
    JsonOption,
    KafkaOption,
    Misused,
    Problem,
    RedisOption,
    emit,
    finish,
    number,
    say,
    writing,
)
from streams.cli.target import require_log, require_redis, settings_of

if TYPE_CHECKING:
    from streams.config import Settings
    from streams.importers.cin_census import CensusImport

_importers = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help=(
        "Turn files of real formats into events.\n\n"
        "\b\nExample:\n  ehps import cin-census census.xml --out events.ndjson"
    ),
)


_AsKnownToday = Annotated[
    bool,
    typer.Option(
        "--as-known-today", help="Publish also for a live authority: known from today on."
    ),
]


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.add_typer(_importers, name="import")


@_importers.callback()
def _import() -> None:
    return


@_importers.command("cin-census")
def cin_census(
    files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="XML files.")],
    la: Annotated[
        str | None, typer.Option(help="ONS code, where the file's own number is not known.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the messages to this file.")] = None,
    publish_too: Annotated[
        bool, typer.Option("--publish", help="Publish them as history of the authority.")
    ] = False,
    other_authority: Annotated[
        bool,
        typer.Option("--other-authority", help="Import for --la though the file names another."),
    ] = False,
    as_known_today: _AsKnownToday = False,
    key: Annotated[
        str | None,
        typer.Option(
            envvar="EHPS_PSEUDONYM_KEY",
            show_envvar=True,
            help="Secret key of pseudonyms, at least 16 characters; better in the environment.",
        ),
    ] = None,
    kafka: KafkaOption = None,
    redis: RedisOption = None,
    json: JsonOption = False,
) -> None:
    """Import Children in Need censuses: links and social-care events, and what was not taken.

    Exit code 1 if a file is no census, nothing could be taken from it, or it is to be published as
    the past of an authority that is live.

    \b
    Example:
      EHPS_PSEUDONYM_KEY=... ehps import cin-census census.xml --publish
    """
    if not key:
        raise Misused(
            "Set EHPS_PSEUDONYM_KEY: pseudonyms need a secret key, 16 characters or more."
        )
    settings = settings_of(kafka, redis)
    if publish_too:
        require_log(settings)
    with ExitStack() as stack:
        # All are read before anything is sent: one that is refused leaves nothing half done.
        censuses = [
            stack.enter_context(_read(path, key, la, other=other_authority)) for path in files
        ]
        if publish_too and not as_known_today:
            _refuse_live(settings, censuses)
        if out is not None:
            with writing(out) as target:
                target.writelines(_line(m) for census in censuses for m in census.messages())
        sent = [_send(settings, census) for census in censuses] if publish_too else []
    empty = [census.report.file for census in censuses if not census.report.links]
    reports = [census.report for census in censuses]
    published, live = sum(count for count, _ in sent), sorted({la for _, la in sent if la})
    if json:
        documents = [report.as_dict() for report in reports]
        emit({"ok": not empty, "files": documents, "published": published, "known_now": live})
        finish(ok=not empty)
    for report in reports:
        say("\n".join(report.lines()) + "\n")
    for line in _outcome(published, live, sent=publish_too, kept=out is not None):
        say(line)
    for name in empty:
        say(f"PROBLEM: nothing could be taken from {name}: see above.")
    finish(ok=not empty)


def _outcome(published: int, live: list[str], *, sent: bool, kept: bool) -> Iterator[str]:
    if sent:
        yield f"{number(published, 'message')} published."
    elif not kept:
        yield "Nothing was kept: give --out FILE or --publish."
    for la in live:
        yield (
            f"{la} is live, so its census is known from today on, not as its past: what EHPS would "
            "have said then is not told."
        )


def _read(path: Path, key: str, la: str | None, *, other: bool) -> CensusImport:
    from streams.importers.cin_census import (
        AuthorityDiffers,
        AuthorityNeeded,
        ImportRefused,
        read_census,
    )

    try:
        return read_census(path, key=key.encode(), la=la, other_authority=other)
    except (AuthorityDiffers, AuthorityNeeded) as exc:
        msg = f"{path}: {exc}"
        raise Misused(msg) from exc
    except ImportRefused as exc:
        msg = f"{path}: {exc}"
        raise Problem(msg) from exc


def _refuse_live(settings: Settings, censuses: list[CensusImport]) -> None:
    """What is told once cannot be told as past any more: that is for a person to decide, before anything is sent."""
    from streams.registry import LIVE, Registry

    modes = Registry(require_redis(settings)).authorities()
    for census in censuses:
        if modes.get(census.la) == LIVE:
            msg = (
                f"{census.la} is live, so its census would be known from today on, not as its past: "
                "nothing was sent; add --as-known-today to send it so."
            )
            raise Problem(msg)


def _send(settings: Settings, census: CensusImport) -> tuple[int, str | None]:
    """As the past of its authority; where that is live already, as known now: its code is returned too."""
    from streams.publish import publisher
    from streams.registry import LIVE, Registry

    items = items_of(census.messages())
    if Registry(require_redis(settings)).authorities().get(census.la) != LIVE:
        return publish_history(settings, census.la, items), None
    sender = publisher(settings)
    for item in items:
        sender.send(item.topic, item.key, item.value)
    sender.flush()
    return sender.confirmed, census.la


def _line(message: dict[str, Any]) -> bytes:
    import orjson

    return orjson.dumps(message, option=orjson.OPT_APPEND_NEWLINE)
