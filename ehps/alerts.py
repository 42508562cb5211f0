"""Alerts and scores written out: a draft of the policy, with everything a professional needs to decide on it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import orjson

from ehps.authority import coverage, is_heard
from ehps.calendar import local_day, local_day_of
from ehps.catalogue import BY_CODE, KINDS
from ehps.explain import (
    BANDS,
    band_of,
    contributions,
    fact_view,
    iso,
    lines,
    people_view,
    rule_names,
)
from ehps.facts import VOID, Facts
from ehps.kernel import UNIT, Features
from ehps.policy import (
    COMBINATION,
    STEP_DOWN,
    STEP_UP,
    Draft,
    Setting,
    alert_id,
    rule_named,
    withheld,
)
from ehps.state import STANDING_MAX, Family, Standing
from ehps.stepdown import expected_sources, tier

PROTECTIVE = [kind.code for kind in KINDS if "protective" in kind.tags]
NEW_DAYS = 28
"""Facts this young are listed as what changed."""


class Output(NamedTuple):
    """A message to send, keyed by family: what the record at `offset` made EHPS say. Alerts in shadow have a topic of their own."""

    key: str
    value: bytes
    offset: int
    shadow: bool = False


def raise_alert(
    where: Setting,
    key: str,
    family: Family,
    facts: Facts,
    row: Features,
    index: int,
    draft: Draft,
    sequence: int,
    cause: str,
    notes: tuple[str, ...] = (),
) -> list[Output]:
    """Write the alert out, remember that it stands, and supersede a lower grade that stood."""
    content, day = where.content, local_day_of(where.at)
    name = alert_id(key, where, draft.rule, sequence)
    sources = expected_sources(family, facts, row, index, day)
    enough = content.policy.insufficient_data
    insufficient = coverage(where.authority, sources, day, enough.days) < enough.coverage
    new = _recent(facts, day)
    open_tier = tier(int(row.spells[index]))
    confidence = min((p.confidence for p in family.members().values()), default=1.0)
    kept_back = withheld(where, key, draft)
    document = {
        "alert_id": name,
        "kind": draft.kind,
        "state": "raised",
        "family": key,
        "la": where.la,
        "grade": draft.grade,
        "rule": draft.rule,
        "headline": headline(where, draft, new, row, index),
        "response": draft.response,
        "route": route(where, draft, open_tier),
        "raised_at": iso(where.at),
        "due": None if draft.due is None else iso(draft.due),
        "band": BANDS[band_of(lines(where.compiled), int(row.score[index]))],
        "score_units": int(row.score[index]),
        "unit": UNIT,
        "contributions": contributions(where.compiled, family, facts, row, index, where.at),
        "combinations": rule_names(where.compiled, int(row.rules[index])),
        "new_facts": [fact_view(family, fact) for fact in new[::-1][:NEW_DAYS]],
        "protective": [fact_view(family, fact) for fact in _protective(facts, day)],
        "people": people_view(family, where.at),
        "open_tier": open_tier,
        "last_decision": family.decided,
        "sources_heard": sorted(
            s for s in where.authority.sources if is_heard(where.authority, s, day, content)
        ),
        "sources_silent": sorted(
            s for s in sources if not is_heard(where.authority, s, day, content)
        ),
        "insufficient_data": insufficient,
        "bound_reached": family.over,
        "link_confidence": confidence,
        "notes": [*notes, *_notes(where, confidence, insufficient, family.over)],
        "superseded_by": None,
        "cause": cause,
        "withheld": kept_back,
        **_provenance(where, sequence),
    }
    results = [Output(key, orjson.dumps(document), where.offset, kept_back or _in_shadow(where))]
    if draft.kind == STEP_UP:
        results += _supersede(where, key, family, draft, name, sequence)
    family.standing = [
        *family.standing,
        Standing(name, draft.kind, draft.rule, draft.grade, where.at),
    ][-STANDING_MAX:]
    return results


def _recent(facts: Facts, day: int) -> Facts:
    age = day - local_day(facts["occurred"].astype(np.int64))
    recent: Facts = facts[(facts["flags"] & VOID == 0) & (age >= -1) & (age <= NEW_DAYS)]
    return recent


def _protective(facts: Facts, day: int) -> Facts:
    age = day - local_day(facts["occurred"].astype(np.int64))
    helpful: Facts = facts[
        np.isin(facts["kind"], PROTECTIVE) & (facts["flags"] & VOID == 0) & (age <= 182)
    ]
    return helpful[::-1][:10]


def headline(where: Setting, draft: Draft, new: Facts, row: Features, index: int) -> str:
    """One plain sentence: what, and why now."""
    if draft.kind == STEP_DOWN:
        return f"Review for stepping down: below the line for {where.content.policy.step_down.quiet_days} quiet days."
    labels = list(
        dict.fromkeys(
            BY_CODE[int(f["kind"])].label for f in new[::-1] if where.compiled.cap[f["kind"]] > 0
        )
    )
    since = f" New in {NEW_DAYS} days: {'; '.join(labels[:3])}." if labels else ""
    if draft.kind == COMBINATION:
        rule = rule_named(where.content, draft.rule)
        return f"Combination {draft.rule}: {rule.title if rule else draft.rule}.{since}"
    return f"Step up to {draft.grade}.{since}"


def route(where: Setting, draft: Draft, open_tier: str) -> str:
    """Who should see it: the lead professional where the family is open, the emergency team for red out of hours."""
    routes = where.content.policy.routes
    if draft.grade == "red" and not where.content.working.is_working(where.at):
        return f"{routes['red_out_of_hours']}; then {routes[open_tier]}"
    return routes[open_tier]


def _notes(where: Setting, confidence: float, insufficient: bool, over: bool) -> list[str]:
    policy, notes = where.content.policy, [where.content.release.notice]
    if confidence < policy.weak_link_below:
        notes.append(
            "Verify the link between these people and this family: it is below the confidence the policy asks for."
        )
    if insufficient:
        notes.append("Insufficient data: not every source that this family should have was heard.")
    if over:
        notes.append("This family has more facts than are kept: the oldest no longer count.")
    return notes


def _in_shadow(where: Setting) -> bool:
    return (where.authority.control or {}).get("stage") == "shadow"


def _provenance(where: Setting, sequence: int) -> dict[str, Any]:
    release, rules, policy = where.content.hashes
    return {
        "stage": (where.authority.control or {}).get("stage"),
        "release": release,
        "rules": rules,
        "policy": policy,
        "release_name": where.content.release.name,
        "position": {"partition": where.partition, "offset": where.offset, "sequence": sequence},
    }


def _supersede(
    where: Setting, key: str, family: Family, draft: Draft, name: str, sequence: int
) -> list[Output]:
    grade = BANDS.index(draft.grade or "blue")
    lower = [
        a for a in family.standing if a.kind == STEP_UP and BANDS.index(a.grade or "red") < grade
    ]
    family.standing = [a for a in family.standing if a not in lower]
    return [
        ended(
            where,
            key,
            alert,
            "superseded",
            f"A higher grade was raised: {draft.grade}.",
            name,
            sequence,
        )
        for alert in lower
    ]


def ended(
    where: Setting,
    key: str,
    alert: Standing,
    state: str,
    why: str,
    successor: str | None,
    sequence: int,
) -> Output:
    """An alert's end: `superseded` by a higher grade, or `withdrawn` because its ground was taken away."""
    document = {
        "alert_id": alert.alert_id,
        "kind": alert.kind,
        "state": state,
        "family": key,
        "la": where.la,
        "grade": alert.grade,
        "rule": alert.rule,
        "headline": why,
        "raised_at": iso(alert.at),
        "at": iso(where.at),
        "superseded_by": successor,
        "cause": "record" if state == "superseded" else "retraction",
        **_provenance(where, sequence),
    }
    return Output(key, orjson.dumps(document), where.offset, _in_shadow(where))


def score_output(where: Setting, key: str, score: int, insufficient: bool, sequence: int) -> Output:
    """The family's new score, for read models that keep the greatest position a family."""
    return Output(
        key,
        orjson.dumps(
            {
                "family": key,
                "la": where.la,
                "at": iso(where.at),
                "score_units": score,
                "band": BANDS[band_of(lines(where.compiled), score)],
                "insufficient_data": insufficient,
                "position": {
                    "partition": where.partition,
                    "offset": where.offset,
                    "sequence": sequence,
                },
            }
        ),
        where.offset,
    )


def unscored_output(where: Setting, key: str, reason: str, sequence: int) -> Output:
    """The kernel failed on this family: its fact is kept, and somebody must look."""
    return Output(
        key,
        orjson.dumps(
            {
                "family": key,
                "la": where.la,
                "at": iso(where.at),
                "score_units": None,
                "band": None,
                "insufficient_data": True,
                "error": reason,
                "position": {
                    "partition": where.partition,
                    "offset": where.offset,
                    "sequence": sequence,
                },
            }
        ),
        where.offset,
    )
