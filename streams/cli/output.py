"""What commands say and where: answers on stdout, progress on stderr, problems in one sentence."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from streams.errors import StreamsError

if TYPE_CHECKING:
    from rich.console import Console

DONE, FOUND_PROBLEM, WRONG_USAGE = 0, 1, 2
"""Exit codes: done; a problem was found and reported; the command was not understood."""

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout; progress goes to stderr.")
]
KafkaOption = Annotated[
    str | None,
    typer.Option(
        "--kafka",
        envvar="EHPS_KAFKA",
        help="Kafka address, host:port; else that of `ehps up`, else 127.0.0.1:9092.",
    ),
]
RedisOption = Annotated[
    str | None,
    typer.Option(
        "--redis",
        envvar="EHPS_REDIS",
        help="Redis address, redis://...; else that of `ehps up`, else redis://127.0.0.1:6379/0.",
    ),
]


class Problem(StreamsError):
    """Ends the command with exit code 1 and one sentence that says what is wrong and what to do."""


class Misused(StreamsError):
    """Ends the command with exit code 2 and one sentence."""


def note(text: str) -> None:
    """A line of progress, on stderr."""
    typer.echo(text, err=True)


def say(text: str) -> None:
    """A line of the answer, on stdout."""
    typer.echo(text)


def number(count: int, one: str, several: str = "") -> str:
    """A count and its noun, such as "1 family" or "1,200 families"."""
    return f"{count:,} {one if count == 1 else several or f'{one}s'}"


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """A file to write an answer to, under its name only once it is whole: till then it ends in `.partial`.

    Ends the command where it cannot be written, before any work. A pipe or device is written to as it is.
    """
    stream = path.parent == Path("/dev") or (path.exists() and not path.is_file())
    target = path if stream else path.resolve()
    partial = target if stream else target.with_name(f"{target.name}.partial")
    try:
        if not stream and target.exists():
            target.open("ab").close()  # one that may not be written is not replaced either
        file = partial.open("wb")
    except OSError as exc:
        msg = f"{path} cannot be written: {exc.strerror}."
        raise Misused(msg) from exc
    try:
        with file:
            yield file
    except BaseException:
        if not stream:
            partial.unlink(missing_ok=True)
        raise
    if not stream:
        if target.exists():
            shutil.copymode(target, partial)
        partial.rename(target)


def emit(document: Mapping[str, Any]) -> None:
    """One JSON object on one line of stdout."""
    import orjson

    sys.stdout.write(orjson.dumps(document, default=str).decode() + "\n")
    sys.stdout.flush()


def finish(*, ok: bool) -> None:
    """End the command: exit code 0, or 1 where a problem was found."""
    raise typer.Exit(DONE if ok else FOUND_PROBLEM)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table on stdout; plain when it is not a terminal."""
    from rich.table import Table

    drawn = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in rows:
        drawn.add_row(*(str(cell) for cell in row))
    console().print(drawn)


def console(*, stderr: bool = False) -> Console:
    """A rich console: colours only on a terminal, nothing cut off in a file."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else 120
    return Console(stderr=stderr, highlight=False, width=width, markup=False)


class Progress:
    """A counter on stderr: redrawn in place on a terminal, silent elsewhere."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._shown = sys.stderr.isatty()

    def show(self, text: str) -> None:
        """Replace the line."""
        if self._shown:
            sys.stderr.write(f"\r\x1b[2K{self._what}: {text}")
            sys.stderr.flush()

    def clear(self) -> None:
        """Remove the line, so that others can be written."""
        if self._shown:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()
