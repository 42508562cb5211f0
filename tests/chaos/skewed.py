"""A worker whose clock is wrong: `python -m tests.chaos.skewed SECONDS intake`."""

import sys
from datetime import datetime, timedelta

from streams import agents, controls, intake, worker
from streams.config import load_settings
from streams.patience import Clock, utc_now


def main(words: list[str]) -> None:
    """Run a worker that believes it is so many seconds later."""
    ahead = timedelta(seconds=float(words[0]))

    def wrong() -> datetime:
        return utc_now() + ahead

    for cls in (agents.Links, agents.Decisions, controls.Controls, controls.Pulse, intake.Intake):
        _set_clock(cls, wrong)
    worker.utc_now = wrong
    worker.run_worker(words[1:], load_settings())


def _set_clock(cls: type, clock: Clock) -> None:
    """The clock that objects of a class have when they are given none."""
    made = cls.__init__
    if made.__kwdefaults__ and "clock" in made.__kwdefaults__:
        made.__kwdefaults__["clock"] = clock
    else:
        made.__defaults__ = tuple(
            clock if value is utc_now else value for value in made.__defaults__ or ()
        )


if __name__ == "__main__":
    main(sys.argv[1:])
