"""Events told by early help."""

from __future__ import annotations

from typing import Literal

from schemas.envelope import Data, Event


class EarlyHelpStartedData(Data):
    """Data of `early-help.started`."""

    self_referred: bool | None = None


class EarlyHelpStarted(Event):
    """An early-help episode starts."""

    type: Literal["early-help.started.v1"]
    data: EarlyHelpStartedData


class EarlyHelpEndedData(Data):
    """Data of `early-help.ended`."""

    reason: Literal["outcomes_met", "unmet", "disengaged", "step_up", "moved"]


class EarlyHelpEnded(Event):
    """An early-help episode ends."""

    type: Literal["early-help.ended.v1"]
    data: EarlyHelpEndedData


class EarlyHelpProgressData(Data):
    """Data of `early-help.progress`."""

    goals_met: bool


class EarlyHelpProgress(Event):
    """A review of the plan's goals."""

    type: Literal["early-help.progress.v1"]
    data: EarlyHelpProgressData
