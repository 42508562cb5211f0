"""Why: a family's score at a moment with everything behind it, as one document."""

from __future__ import annotations

from typing import Any

from ehps.authority import coverage, in_force, is_heard
from ehps.calendar import local_day_of
from ehps.catalogue import COUNTED_DAYS
from ehps.compiled import UNIT, compile_content
from ehps.library import Library
from ehps.policy import Scene, row_of
from ehps.state import Authority, Family, Partition
from ehps.stepdown import expected_sources, tier
from ehps.views import BANDS, Chronology, band_of, iso, people_view, points, rule_names
from schemas.links import authority_of


def explain(
    key: str, state: bytes, partition: bytes, library: Library, moment: int | None = None
) -> dict[str, Any]:
    """Explain a family.

    Args:
        key: authority:family.
        state, partition: bytes of the family's and its partition's state.
        library: holds the content in force.
        moment: log time, seconds; default: that of its authority.

    Raises:
        InvariantBroken: the authority has no control in force.
    """
    family, la = Family(state), authority_of(key)
    authority = Partition.decode(partition).authorities.get(la, Authority())
    compiled = compile_content(in_force(authority, library))
    at = authority.time if moment is None else moment
    scene = Scene(la, authority, compiled, at, 0, 0)
    content, day = compiled.content, local_day_of(at)
    facts = family.counted(day)
    row = row_of(scene, family, facts)
    sources = expected_sources(family, facts, row, day)
    enough, heard = content.policy.insufficient_data, authority.sources

    def lack(*of: str) -> bool:
        return coverage(authority, of, day, enough.days) < enough.coverage

    return {
        "authority": la,
        "at": iso(at),
        "score_units": row.score,
        "unit": UNIT,
        "points": points(row.score),
        "band": BANDS[band_of(compiled, row.score)],
        "insufficient_data": lack(*sources),
        "sources_lacking": sorted(filter(lack, sources)),
        "contributions": Chronology(compiled, family, facts, at).contributions(row),
        "combinations": rule_names(compiled, row.rules),
        "open_tier": tier(row.spells),
        "people": people_view(family, at),
        "sources_expected": sorted(sources),
        "sources_heard": sorted(s for s in heard if is_heard(authority, s, day, content)),
        "below_since_day": family.below_since,
        "timers": {name: iso(due) for name, due in sorted(family.case.timers.items())},
        "above_on_day": family.above_on,
        "standing_alerts": [alert.alert_id for alert in family.case.standing],
        "last_decision": family.case.decided,
        "bound_reached": family.over,
        "unscored": family.unscored,
        "facts": len(family.held()),
        "horizon_days": max(COUNTED_DAYS),
        "release": content.release.name,
        "notice": content.release.notice,
        "policy": content.policy.name,
    }
