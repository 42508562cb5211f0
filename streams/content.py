"""Content files of a council, read from a folder and held beside those that ship with EHPS."""

from __future__ import annotations

from pathlib import Path

from ehps.library import Library
from streams.errors import ConfigError


def library(folder: Path | None) -> Library:
    """The packaged content, and every `*.yaml` of the folder.

    Raises:
        ConfigError: there is no such folder.
        ContentError: a file is wrong; the message names it, the key and what is legal.
    """
    if folder is None:
        return Library.packaged()
    if not folder.is_dir():
        raise ConfigError(f"EHPS_CONTENT: {folder} is not a folder")
    return Library.packaged(
        {path.name: path.read_bytes() for path in sorted(folder.glob("*.yaml"))}
    )
