"""Releases, combination rules and policies: versioned YAML files, validated, addressed by the hash of their bytes."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ehps.catalogue import BY_NAME, CONDITIONS, KINDS, TIERS

CONDITION_CODES = {name: code for code, (name, _, _) in CONDITIONS.items()}
SOURCES = frozenset(kind.source for kind in KINDS)
TAGS = frozenset(tag for kind in KINDS for tag in kind.tags)
STATES = ("absence_rise", "severe_absence", "out_of_school", "child_under_1", "child_under_5")
"""What a rule's `holds` may name; the kernel gives one bit a row for each, in this order."""
STATE_BIT = {name: 1 << index for index, name in enumerate(STATES)}


def _refuse_unknown(field: str, given: Iterable[str], legal: Collection[str]) -> None:
    for name in given:
        if name not in legal:
            raise ValueError(f"{field} names {name!r}; legal: {', '.join(sorted(legal))}")


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Points(_Strict):
    """Points of one kind: `points` x 2^(-age in days / `half_life`), at most `cap` for all its facts together."""

    points: float = Field(gt=0, le=100)
    half_life: int = Field(ge=1, le=730)
    cap: float | None = Field(default=None, gt=0, le=200)


class Headings(_Strict):
    """The breadth bonus: `points_each` for every active heading past `beyond`, at most `points_max`."""

    beyond: int = Field(ge=0, le=10)
    points_each: float = Field(ge=0, le=20)
    points_max: float = Field(ge=0, le=50)
    active_days: int = Field(ge=1, le=730)


class Release(_Strict):
    """What a score is made of."""

    name: str
    kernel: Literal[1]
    learned: bool
    notice: str
    headings: Headings
    points: dict[str, Points]

    @model_validator(mode="after")
    def _kinds_exist(self) -> Release:
        for name in self.points:
            if name not in BY_NAME and name not in CONDITION_CODES:
                legal = ", ".join(sorted((*BY_NAME, *CONDITION_CODES)))
                raise ValueError(f"points names the unknown kind {name!r}; legal kinds: {legal}")
        return self


class Clock(_Strict):
    """How soon the response is due: working hours, working days, or hours on the wall."""

    hours: int | None = Field(default=None, ge=1, le=200)
    days: int | None = Field(default=None, ge=1, le=60)
    any_hour: bool = False

    @model_validator(mode="after")
    def _one_unit(self) -> Clock:
        if (self.hours is None) == (self.days is None):
            raise ValueError("clock takes either hours or days")
        return self


class Condition(_Strict):
    """One condition of a rule: exactly one of any, none, silent, holds."""

    any: tuple[str, ...] = ()
    none: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    holds: tuple[str, ...] = ()
    days: int = Field(default=0, ge=0, le=730)
    at_least: int = Field(default=1, ge=1, le=50)
    agencies: int = Field(default=1, ge=1, le=8)

    @model_validator(mode="after")
    def _well_formed(self) -> Condition:
        if sum(map(bool, (self.any, self.none, self.silent, self.holds))) != 1:
            raise ValueError("a condition has exactly one of any, none, silent, holds")
        if not self.any and (self.at_least > 1 or self.agencies > 1):
            raise ValueError("at_least and agencies belong to a condition with any")
        if not self.holds and not self.days:
            raise ValueError("a condition over facts needs days (1-730)")
        unknown = [name for name in self.holds if name not in STATES]
        if unknown:
            raise ValueError(f"holds names {unknown[0]!r}; legal: {', '.join(STATES)}")
        tags = {name.removeprefix("#") for name in self.names if name.startswith("#")}
        _refuse_unknown("a condition (tags)", tags, TAGS)
        _refuse_unknown("a condition", set(self.names) - {f"#{tag}" for tag in tags}, BY_NAME)
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Kinds and #tags that it looks for."""
        return self.any or self.none or self.silent

    @property
    def codes(self) -> tuple[int, ...]:
        """Codes of the kinds that it looks for."""
        return _codes(self.names)


@lru_cache(maxsize=1024)
def _codes(names: tuple[str, ...]) -> tuple[int, ...]:
    wanted = set(names)
    return tuple(
        k.code for k in KINDS if k.name in wanted or not wanted.isdisjoint(f"#{t}" for t in k.tags)
    )


class Rule(_Strict):
    """One combination and the response that it calls for."""

    name: str = Field(pattern=r"^[A-Za-z0-9-]{1,16}$")
    title: str
    response: str
    clock: Clock
    all: tuple[Condition, ...] = Field(min_length=1, max_length=8)


class Combinations(_Strict):
    """The versioned rule file."""

    name: str
    fresh_days: int = Field(ge=1, le=365)
    cool_down_days: int = Field(ge=0, le=730)
    rules: tuple[Rule, ...] = Field(max_length=60)


class Lines(_Strict):
    """Scores at which a band begins, and below which risk counts as fallen."""

    green: float
    amber: float
    red: float
    down: float

    @model_validator(mode="after")
    def _in_order(self) -> Lines:
        if not 0 < self.down < self.green < self.amber < self.red:
            raise ValueError("lines must satisfy 0 < down < green < amber < red")
        return self


class StepUp(_Strict):
    """When a crossing is worth an alert."""

    fresh_days: int = Field(ge=1, le=365)
    fresh_points: float = Field(ge=0)
    cool_down_days: int = Field(ge=0, le=730)


class StepDown(_Strict):
    """When a review is due: see `ehps.stepdown`."""

    quiet_days: int = Field(ge=28, le=364)
    coverage: float = Field(ge=0, le=1)
    tiers: tuple[Literal["early_help", "child_in_need"], ...]
    ageing_share_max: float = Field(ge=0, le=1)


class Insufficient(_Strict):
    """Coverage below which a low band is shown as insufficient data."""

    days: int = Field(ge=1, le=182)
    coverage: float = Field(ge=0, le=1)


class Deadlines(_Strict):
    """How soon each grade is due."""

    red_hours: int = Field(ge=1, le=72)
    amber_working_hours: int = Field(ge=1, le=80)
    step_down_working_days: int = Field(ge=1, le=60)


class PolicyFile(_Strict):
    """Who is told what, when."""

    name: str
    release: str
    calendar: str = Field(description="Name of the calendar's file, without .yaml.")
    lines: Lines
    step_up: StepUp
    step_down: StepDown
    insufficient_data: Insufficient
    heard_within_days: dict[str, int]
    weak_link_below: float = Field(ge=0, le=1)
    routes: dict[str, str]
    deadlines: Deadlines

    @model_validator(mode="after")
    def _routes_complete(self) -> PolicyFile:
        legal = (*TIERS, "red_out_of_hours")
        missing = [name for name in legal if name not in self.routes]
        if missing:
            raise ValueError(f"routes lacks {', '.join(missing)}")
        _refuse_unknown("routes", self.routes, legal)
        _refuse_unknown("heard_within_days", self.heard_within_days, SOURCES)
        return self
