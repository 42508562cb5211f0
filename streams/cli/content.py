"""Commands on content: which releases, rules and policies this machine holds, and putting them in force."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from streams.cli.output import JsonOption, KafkaOption, emit, say, table
from streams.cli.target import require_kafka, require_la, settings_of

AHEAD_MINUTES_MIN = 5
"""A control takes effect this much later at least, so that every partition has it before."""

_content = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help=(
        "Releases, combination rules and policies: files named by their hash.\n\n"
        "\b\nExample:\n  ehps content list"
    ),
)


class Stage(StrEnum):
    """Where an authority stands: shadow says nothing to the front door, pilot to a share of families."""

    SHADOW = "shadow"
    PILOT = "pilot"
    LIVE = "live"


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.add_typer(_content, name="content")


@_content.command("list")
def content_list(
    folder: Annotated[
        Path | None, typer.Option(envvar="EHPS_CONTENT", help="Folder of a council's own files.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """List the content held here; every file is validated. Exit code 1 if one is wrong.

    \b
    Example:
      ehps content list --folder ./bristol
    """
    from streams.content import library

    entries = library(folder).entries
    if json:
        rows = [{"kind": e.kind, "name": e.name, "hash": e.hash, "file": e.file} for e in entries]
        emit({"ok": True, "content": rows})
    else:
        rows_ = [(entry.kind, entry.name, entry.hash[:12], entry.file) for entry in entries]
        table("Content", ("kind", "name", "hash", "file"), rows_)


@_content.command("use")
def content_use(
    policy: Annotated[str, typer.Argument(help="Name of the policy; it names its release.")],
    la: Annotated[str, typer.Option(help="ONS code of the authority.")],
    rules: Annotated[
        str, typer.Option(help="Name of the combination rules.")
    ] = "combinations-starter-1",
    stage: Annotated[Stage, typer.Option(help="Who is told.")] = Stage.LIVE,
    in_minutes: Annotated[
        int, typer.Option(min=AHEAD_MINUTES_MIN, max=60 * 24 * 31, help="When it takes effect.")
    ] = AHEAD_MINUTES_MIN + 1,
    folder: Annotated[
        Path | None, typer.Option(envvar="EHPS_CONTENT", help="Folder of a council's own files.")
    ] = None,
    kafka: KafkaOption = None,
    json: JsonOption = False,
) -> None:
    """Put a policy, its release and rules in force in an authority, from a log time ahead.

    \b
    Example:
      ehps content use policy-bristol-2 --la E06000023 --stage shadow
    """
    from schemas.control import ControlMessage
    from schemas.topics import CONTROL
    from streams.content import library
    from streams.publish import publisher
    from streams.reading import read_topic

    require_la(la)
    settings = settings_of(kafka, None)
    now = datetime.now(UTC).replace(microsecond=0)
    effective = now + timedelta(minutes=in_minutes)
    name = f"{policy}-{la}-{now:%Y%m%dT%H%M%SZ}"
    control = library(folder).control(
        la, effective, name, policy=policy, rules=rules, stage=stage.value
    )
    require_kafka(settings)
    told = read_topic(settings.kafka, CONTROL, settings.segments)
    new = not any(record.key == la.encode() for record in told)
    sender = publisher(settings)
    sender.send(
        CONTROL,
        la.encode(),
        ControlMessage(control=control).model_dump_json(exclude_none=True).encode(),
    )
    sender.flush()
    if json:
        emit({"ok": True, "new_authority": new, "control": control.model_dump(mode="json")})
        return
    if new:
        say(f"{la} is new here: this sets it up.")
    say(f"{policy} takes effect in {la} at {effective:%Y-%m-%d %H:%M} UTC; stage {stage.value}.")
