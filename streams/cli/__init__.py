"""The command line `ehps`. Heavy packages are imported inside commands, so that help is quick."""

from streams.cli.app import app, main, run

__all__ = ["app", "main", "run"]
