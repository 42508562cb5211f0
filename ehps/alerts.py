"""Alerts and scores written out: what the policy decided, with everything a professional needs to decide on it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import orjson

from ehps.authority import coverage, is_heard
from ehps.calendar import DAY, local_day_of
from ehps.catalogue import KINDS
from ehps.compiled import UNIT
from ehps.policy import (
    COMBINATION,
    STEP_DOWN,
    STEP_UP,
    Draft,
    Look,
    Scene,
    alert_id,
    rule_named,
    withheld,
)
from ehps.state import STANDING_MAX, Standing
from ehps.stepdown import expected_sources, tier
from ehps.views import (
    BANDS,
    Chronology,
    band_of,
    iso,
    people_view,
    rule_names,
)

PROTECTIVE = frozenset(kind.code for kind in KINDS if "protective" in kind.tags)
NEW_DAYS = 28
"""Facts this young are listed as what changed."""
PROTECTIVE_DAYS, PROTECTIVE_MAX = 182, 10
"""How old, and how many, facts are that speak for the family."""


class Output(NamedTuple):
    """A message to send, keyed by family: what the record at `offset` made EHPS say."""

    key: str
    value: bytes
    offset: int
    shadow: bool = False  # alerts in shadow have a topic of their own


Writer = Callable[[], Output]
ScoreWriter = Callable[[int, str, int, int, bool], Output]
"""Writes one message. To be called at once, or never: what it tells of a family moves on with the family."""


def raise_alert(
    scene: Scene,
    look: Look,
    draft: Draft,
    next_sequence: Callable[[int], int],
    cause: str,
    notes: tuple[str, ...] = (),
) -> list[Writer]:
    """Remember that the alert stands, and that a lower grade that stood is superseded. Returns what tells of it."""
    sequence = next_sequence(scene.offset)
    case, name = look.family.case, alert_id(look.key, scene, draft.rule, sequence)
    shadow = scene.stage == "shadow" or withheld(scene, look.key, draft)
    alert = Standing(name, draft.kind, draft.rule, draft.grade, scene.at, shadow)
    raised = partial(_raised, scene, look, draft, alert, sequence, cause, notes)
    superseded = _supersede(scene, look, alert, next_sequence) if draft.kind == STEP_UP else []
    case.standing = [*case.standing, alert][-STANDING_MAX:]
    return [raised, *superseded]


def _raised(
    scene: Scene,
    look: Look,
    draft: Draft,
    alert: Standing,
    sequence: int,
    cause: str,
    notes: tuple[str, ...],
) -> Output:
    past = Chronology(scene.compiled, look.family, look.facts, scene.at)
    document = {
        **_head(scene, look.key, alert, "raised"),
        "headline": headline(scene, draft, past),
        "response": draft.response,
        "route": route(scene, draft, tier(look.row.spells)),
        "due": None if draft.due is None else iso(draft.due),
        "superseded_by": None,
        "cause": cause,
        "withheld": alert.shadow and scene.stage != "shadow",
        **_why(scene, look, past, notes),
        **_provenance(scene, sequence),
    }
    return Output(look.key, orjson.dumps(document), scene.offset, alert.shadow)


def _head(scene: Scene, key: str, alert: Standing, state: str) -> dict[str, Any]:
    """What every message about an alert begins with."""
    return {
        "alert_id": alert.alert_id,
        "kind": alert.kind,
        "state": state,
        "family": key,
        "la": scene.la,
        "grade": alert.grade,
        "rule": alert.rule,
        "raised_at": iso(alert.at),
    }


def _why(scene: Scene, look: Look, past: Chronology, notes: tuple[str, ...]) -> dict[str, Any]:
    """Score, contributions and dated facts; people; who was heard and who was not."""
    family, facts, row = look.family, look.facts, look.row
    content, day, authority = scene.content, local_day_of(scene.at), scene.authority
    sources = expected_sources(family, facts, row, day)
    heard = {s for s in {*authority.sources, *sources} if is_heard(authority, s, day, content)}
    heard |= past.told_by(
        scene.at - DAY
    )  # it may be here before the first heartbeat that knows of it
    enough = content.policy.insufficient_data
    insufficient = coverage(authority, sources, day, enough.days) < enough.coverage
    confidence = min((p.confidence for p in family.case.members().values()), default=1.0)
    return {
        "band": BANDS[band_of(scene.compiled, row.score)],
        "score_units": row.score,
        "unit": UNIT,
        "contributions": past.contributions(row),
        "combinations": rule_names(scene.compiled, row.rules),
        "new_facts": past.recent(NEW_DAYS),
        "protective": past.of_kinds(PROTECTIVE, PROTECTIVE_DAYS, PROTECTIVE_MAX),
        "people": people_view(family, scene.at),
        "open_tier": tier(row.spells),
        "last_decision": family.case.decided,
        "sources_heard": sorted(heard),
        "sources_silent": sorted(sources - heard),
        "insufficient_data": insufficient,
        "bound_reached": family.over,
        "link_confidence": confidence,
        "notes": [
            *notes,
            *_notes(scene, confidence, insufficient=insufficient, over=family.over),
        ],
    }


def headline(scene: Scene, draft: Draft, past: Chronology) -> str:
    """One plain sentence: what, and why now."""
    if draft.kind == STEP_DOWN:
        days = scene.content.policy.step_down.quiet_days
        return f"Review for stepping down: below the line for {days} quiet days."
    labels = past.new_labels(NEW_DAYS)
    since = f" New in {NEW_DAYS} days: {'; '.join(labels[:3])}." if labels else ""
    if draft.kind == COMBINATION:
        rule = rule_named(scene.content, draft.rule)
        return f"Combination {draft.rule}: {rule.title if rule else draft.rule}.{since}"
    return f"Step up to {draft.grade}.{since}"


def route(scene: Scene, draft: Draft, open_tier: str) -> str:
    """Who should see it: the lead professional where the family is open, the emergency team for red out of hours."""
    routes = scene.content.policy.routes
    if draft.grade == "red" and not scene.content.working.is_working(scene.at):
        return f"{routes['red_out_of_hours']}; then {routes[open_tier]}"
    return routes[open_tier]


def _notes(scene: Scene, confidence: float, *, insufficient: bool, over: bool) -> list[str]:
    policy, notes = scene.content.policy, [scene.content.release.notice]
    if confidence < policy.weak_link_below:
        notes.append(
            "Verify link: a person's link to this family is less sure than the policy asks for."
        )
    if insufficient:
        notes.append("Insufficient data: not every source that this family should have was heard.")
    if over:
        notes.append("This family has more facts than are kept: the oldest no longer count.")
    return notes


def _provenance(scene: Scene, sequence: int) -> dict[str, Any]:
    release, rules, policy = scene.content.hashes
    return {
        "stage": scene.stage,
        "release": release,
        "rules": rules,
        "policy": policy,
        "release_name": scene.content.release.name,
        "position": {"partition": scene.partition, "offset": scene.offset, "sequence": sequence},
    }


def _supersede(
    scene: Scene, look: Look, by: Standing, next_sequence: Callable[[int], int]
) -> list[Writer]:
    grade, case = BANDS.index(by.grade or "blue"), look.family.case
    lower = [
        alert
        for alert in case.standing
        if alert.kind == STEP_UP and BANDS.index(alert.grade or "red") < grade
    ]
    case.standing = [alert for alert in case.standing if alert not in lower]
    end = partial(ended, scene, look.key, successor=by)
    return [partial(end, alert, sequence=next_sequence(scene.offset)) for alert in lower]


def ended(
    scene: Scene, key: str, alert: Standing, *, successor: Standing | None, sequence: int
) -> Output:
    """An alert's end: superseded by its `successor`, of a higher grade, or withdrawn: its ground was taken away."""
    if successor is None:
        state, why = (
            "withdrawn",
            "Withdrawn: what it stood on was retracted, corrected or unlinked.",
        )
    else:
        state, why = "superseded", f"A higher grade was raised: {successor.grade}."
    document = {
        **_head(scene, key, alert, state),
        "headline": why,
        "at": iso(scene.at),
        "superseded_by": successor and successor.alert_id,
        "cause": "retraction" if successor is None else "record",
        **_provenance(scene, sequence),
    }
    return Output(key, orjson.dumps(document), scene.offset, alert.shadow)


def score_writer(scene: Scene) -> ScoreWriter:
    """Writes scores told at a scene: (offset of the record, family, units, sequence, insufficient data) -> message.

    For read models, which keep the greatest position a family. Written by hand, as most records have a score to tell:
    keys and codes are letters, digits and a few signs by their patterns, so that nothing needs to be escaped.
    """
    lines = scene.compiled.lines
    begin = f'","la":"{scene.la}","at":"{iso(scene.at)}","score_units":'
    position = f'"position":{{"partition":{scene.partition},"offset":'

    def write(offset: int, key: str, score: int, sequence: int, insufficient: bool) -> Output:  # noqa: FBT001
        rests = "true" if insufficient else "false"
        text = (
            f'{{"family":"{key}{begin}{score},"band":"{BANDS[bisect_right(lines, score)]}",'
            f'"insufficient_data":{rests},{position}{offset},"sequence":{sequence}}}}}'
        )
        return Output(key, text.encode(), offset)

    return write


def unscored_output(scene: Scene, key: str, reason: str, sequence: int) -> Output:
    """The kernel failed on this family: its fact is kept, and somebody must look."""
    document = {
        "family": key,
        "la": scene.la,
        "at": iso(scene.at),
        "score_units": None,
        "band": None,
        "insufficient_data": True,
        "error": reason,
        "position": {"partition": scene.partition, "offset": scene.offset, "sequence": sequence},
    }
    return Output(key, orjson.dumps(document), scene.offset)
