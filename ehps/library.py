"""The content that a process holds: releases, combinations and policies by hash, read before anything starts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from importlib import resources
from typing import Any, Literal, NamedTuple, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from ehps.calendar import SchoolCalendar, WorkingHours, load_calendar
from ehps.content import Combinations, PolicyFile, Release
from ehps.errors import ContentError, ContentMissing
from schemas.control import Control

KERNEL_VERSION = 1
"""Version of the arithmetic in `ehps.kernel`; kernels in force within kept history ship together."""

Stage = Literal["shadow", "pilot", "live"]
ModelT = TypeVar("ModelT", bound=BaseModel)
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Safe, and ten times as fast where libyaml is there: content is read before a worker takes its first record."""
_MODELS: dict[str, type[BaseModel]] = {
    "release": Release,
    "combinations": Combinations,
    "policy": PolicyFile,
}


class Entry(NamedTuple):
    """One content file.

    Args:
        kind: release, combinations or policy.
        name: as the file gives it.
        hash: SHA-256, hex: what controls name; a policy's covers its calendar too.
        file: where it was read from.
        content: validated.
    """

    kind: str
    name: str
    hash: str
    file: str
    content: BaseModel


@dataclass(frozen=True, slots=True, eq=False)
class Content:
    """What is in force in an authority, resolved from a control's hashes."""

    release: Release
    rules: Combinations
    policy: PolicyFile
    hashes: tuple[str, str, str]
    school: SchoolCalendar
    working: WorkingHours


class Library:
    """All content of this process.

    Args:
        files: file name -> bytes. The name begins with what it holds: release, combinations, policy or
            calendar, such as `policy-bristol-2.yaml`; policies name their calendar by its file's name.

    Raises:
        ContentError: a file is wrong, or two hold the same name.
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._calendars = {
            name.removesuffix(".yaml"): (raw, _calendar(name, raw))
            for name, raw in files.items()
            if name.startswith("calendar")
        }
        self.entries: tuple[Entry, ...] = tuple(
            self._entry(name, raw)
            for name, raw in sorted(files.items())
            if not name.startswith("calendar")
        )
        self._by_hash = {(entry.kind, entry.hash): entry for entry in self.entries}
        _refuse_twins(self.entries)
        self.resolve = lru_cache(maxsize=64)(self._resolve)

    @classmethod
    def packaged(cls, more: Mapping[str, bytes] | None = None) -> Library:
        """The content that ships with EHPS, and a council's own files beside it."""
        folder = resources.files("ehps") / "content"
        shipped = {f.name: f.read_bytes() for f in folder.iterdir() if f.name.endswith(".yaml")}
        for name in (more or {}).keys() & shipped.keys():
            raise ContentError(
                f"{name} ships with EHPS: history names it, so give yours another name"
            )
        return cls({**shipped, **(more or {})})

    def _entry(self, name: str, raw: bytes) -> Entry:
        kind = next((kind for kind in _MODELS if name.startswith(kind)), None)
        if kind is None:
            legal = ", ".join((*_MODELS, "calendar"))
            raise ContentError(f"{name}: the file's name begins with one of {legal}")
        content = parse(_MODELS[kind], name, raw)
        calendar = b""
        if isinstance(content, PolicyFile):
            if content.calendar not in self._calendars:
                legal = ", ".join(sorted(self._calendars))
                raise ContentError(
                    f"{name}: calendar: {content.calendar} is not here; held: {legal}"
                )
            calendar = self._calendars[content.calendar][0]
        given = str(content.model_dump()["name"])
        return Entry(kind, given, hashlib.sha256(raw + calendar).hexdigest(), name, content)

    def _held(self, kind: str, wanted: str) -> BaseModel:
        entry = self._by_hash.get((kind, wanted))
        if entry is None:
            raise ContentMissing(
                f"a control names {kind} {wanted[:12]}, which this process does not hold"
            )
        return entry.content

    def _resolve(self, kernel: int, release: str, rules: str, policy: str) -> Content:
        """The content that a control names.

        Raises:
            ContentMissing: this process does not hold it.
            ContentError: the policy's lines are for another release.
        """
        if kernel != KERNEL_VERSION:
            raise ContentMissing(
                f"a control names kernel {kernel}; this process has {KERNEL_VERSION}"
            )
        points, combinations = self._held("release", release), self._held("combinations", rules)
        chosen = self._held("policy", policy)
        assert isinstance(points, Release)  # noqa: S101  (by kind, for the type checker)
        assert isinstance(combinations, Combinations)  # noqa: S101
        assert isinstance(chosen, PolicyFile)  # noqa: S101
        if chosen.release != points.name:
            raise ContentError(
                f"policy {chosen.name} has lines for release {chosen.release}, not {points.name}"
            )
        school, working = self._calendars[chosen.calendar][1]
        return Content(points, combinations, chosen, (release, rules, policy), school, working)

    def named(self, kind: str, name: str) -> Entry:
        """The file of that kind and name.

        Raises:
            ContentError: there is none.
        """
        found = [entry for entry in self.entries if entry.kind == kind]
        for entry in found:
            if entry.name == name:
                return entry
        raise ContentError(f"no {kind} is named {name}; held: {', '.join(e.name for e in found)}")

    def control(
        self,
        la: str,
        effective: datetime,
        control_id: str,
        *,
        policy: str = "policy-default-1",
        rules: str = "combinations-starter-1",
        stage: Stage = "live",
    ) -> Control:
        """The control that puts a policy, its release and rules in force in `la` from `effective` on.

        Raises:
            ContentError: this process does not hold them.
        """
        chosen = self.named("policy", policy)
        release = self.named("release", str(chosen.content.model_dump()["release"]))
        return Control(
            id=control_id,
            la=la,
            effective=effective,
            kernel=KERNEL_VERSION,
            release=release.hash,
            rules=self.named("combinations", rules).hash,
            policy=chosen.hash,
            stage=stage,
        )

    def default_control(self, la: str, effective: datetime, stage: Stage = "live") -> Control:
        """The first control of an authority: the starter content."""
        return self.control(la, effective, f"first-{la}", stage=stage)


def _refuse_twins(entries: Iterable[Entry]) -> None:
    held: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        other = held.setdefault((entry.kind, entry.name), entry)
        if other is not entry:
            raise ContentError(
                f"{entry.file}: name: {entry.name} is the name in {other.file} too; "
                "a new version needs a new name"
            )


def parse(model: type[ModelT], name: str, raw: bytes) -> ModelT:
    """Validate one content file.

    Raises:
        ContentError: naming the file, the line or key, and what is legal there.
    """
    try:
        return model.model_validate(yaml.load(raw, _LOADER))  # noqa: S506  (a safe one)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise ContentError(f"{name}: line {line}: not valid YAML") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the file"
        raise ContentError(
            f"{name}: {key}: {first['msg'].removeprefix('Value error, ')}"
        ) from error


def _calendar(name: str, raw: bytes) -> tuple[SchoolCalendar, WorkingHours]:
    try:
        return load_calendar(yaml.load(raw, _LOADER))  # noqa: S506  (a safe one)
    except (ValueError, yaml.YAMLError) as error:
        raise ContentError(f"{name}: {error}") from error
