"""The command tree, and how every command ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from streams.cli import content, feed, importing, look, operate, prove, repair
from streams.cli.output import (
    DONE,
    FOUND_PROBLEM,
    WRONG_USAGE,
    JsonOption,
    Misused,
    emit,
    note,
    say,
)

_INTERRUPTED = 130

app = typer.Typer(
    name="ehps",
    help=(
        "Early Help Profiling System: rescores families on every event and alerts the front door.\n\n"
        "Exit codes: 0 done, 1 found a problem it reports, 2 wrong usage.\n\n"
        "\b\nExample:\n  ehps demo"
    ),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
for group in (operate, feed, importing, look, prove, repair, content):
    group.register(app)


def _version(value: bool) -> None:
    if value:
        say(f"ehps {_installed()}")
        raise typer.Exit


def _installed() -> str:
    from importlib.metadata import version as version_of

    return version_of("ehps")


@app.callback()
def _options(
    _show: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    return


@app.command()
def version(json: JsonOption = False) -> None:
    """Say which version this is.

    \b
    Example:
      ehps version
    """
    if json:
        emit({"ok": True, "version": _installed()})
    else:
        say(f"ehps {_installed()}")


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code.

    Args:
        arguments: words after `ehps`; those of this process when None.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        app(words, prog_name="ehps")
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else FOUND_PROBLEM
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader (`head`, a pager) has seen enough. Python would complain again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except Misused as exc:
        return _end(words, str(exc), WRONG_USAGE)
    except OSError as exc:
        where = "" if exc.filename is None else f"{exc.filename}: "
        return _end(words, f"{where}{exc.strerror or exc}.", FOUND_PROBLEM)
    except Exception as exc:  # the outermost callback
        if not isinstance(exc, _expected()):
            raise
        return _end(words, str(exc), FOUND_PROBLEM)
    return DONE


def main() -> None:
    """Entry point of the script `ehps`."""
    sys.exit(run())


def _end(words: Sequence[str], sentence: str, code: int) -> int:
    note(f"ehps: {sentence}")
    if "--json" in words:
        emit({"ok": False, "error": sentence})
    return code


def _expected() -> tuple[type[Exception], ...]:
    """Errors of which a sentence says it all: our own, and servers that do not answer."""
    from confluent_kafka import KafkaException
    from redis import RedisError

    from ehps.errors import EhpsError
    from streams.errors import StreamsError

    return StreamsError, EhpsError, KafkaException, RedisError
