"""Every rate of the simulated world, in one place.

Levels are England's, scaled to an authority of 60,000 children in about 34,000 families (DfE
children in need census 2022-25, ADCS Safeguarding Pressures 7 and 8, DfE pupil attendance 2023-24,
DfE suspensions 2023/24). What no source gives is chosen, and says so. `A_YEAR` rates are per family
and year unless a comment says otherwise.
"""

from __future__ import annotations

from typing import Final

MINUTE: Final = 60
HOUR: Final = 3600
DAY: Final = 86_400
WEEK: Final = 7 * DAY

# Families. 1.79 children a family gives 60,000 children in about 34,000 families.
CHILDREN_SHARES: Final = (0.44, 0.38, 0.13, 0.05)
TWO_ADULTS_SHARE: Final = 0.66
DECILE_STEP: Final = 1.33
"""Each decile of deprivation multiplies social-care contact by this (Nuffield Foundation)."""
RISK_SPREAD: Final = 0.70
"""Standard deviation of lasting log risk beside deprivation (chosen: a best AUC near 0.8)."""
DRIFT_SPREAD: Final = 0.55
DRIFT_KEPT_A_WEEK: Final = 0.97
"""Moving part of log risk: stationary deviation, share kept a week (half-life 23 weeks; chosen)."""
HELP_EFFECT: Final = -0.7
"""While early help or a plan is open, the moving part is drawn towards this (chosen)."""
INTENSITY_MAX: Final = 15.0
"""Bound of a family's multiplier on every rate."""
KNOWN_BIAS: Final = 1.4
"""Families known to services in the last year are reported this much more (chosen)."""

# Shared household shocks a year, and how steeply each rises with risk (exponent of the intensity).
SHOCKS_A_YEAR: Final[dict[str, tuple[float, float]]] = {
    "domestic_abuse": (0.040, 1.0),
    "police_concern": (0.058, 1.0),
    "money": (0.15, 0.8),
    "parent_crisis": (0.045, 0.9),
    "substance": (0.02, 1.0),
    "child_crisis": (0.05, 0.7),
    "exploitation": (0.014, 1.1),
    "illness": (0.03, 0.3),
    "early_years": (0.09, 0.9),
    # 11.3 suspensions per 100 pupils, 1.32 pupils a family, some of them from the shocks above.
    "school_trouble": (0.27, 0.9),
    "school_change": (0.012, 0.6),
    # Everyday contact with services, with little meaning of its own.
    "emergency": (0.22, 0.35),
    "missed_appointment": (0.20, 0.6),
    "clinic": (0.55, 0.1),
    "concern": (0.17, 1.0),
    "self_referral": (0.011, 0.8),
}
REPEATED: Final = 0.28
"""Of incidents that the police attend, the share followed by another within ten weeks (chosen)."""

# Social care. Shares of contacts and referrals: children in need census 2022-23 to 2024-25.
REFERRAL_NFA: Final = 0.071
IN_NEED_SHARE: Final = 0.68
"""Of referrals that are assessed, 63 of 92.9 are found in need."""
REFERRAL_BY_SEVERITY: Final = (0.16, 0.29, 0.60)
EARLY_HELP_BY_SEVERITY: Final = (0.065, 0.06, 0.02)
NO_ACTION_SHARE: Final = 0.52
"""Of contacts that lead nowhere, the share closed without action; the rest get advice (chosen)."""
SECTION47_BY_SEVERITY: Final = (0.18, 0.31, 0.60)
CONFERENCE_SHARE: Final = 0.33
PLAN_SHARE: Final = 0.87
LOOKED_AFTER_SHARE: Final = 0.045
"""Of section 47 enquiries, the share looked after next, without a conference (chosen)."""
STOCK_SHARES: Final = (0.035, 0.032, 0.005, 0.006)
"""Families open on the first day: early help, child in need, child protection, looked after."""
DISABLED: Final = 0.01
"""Children with a disability recorded by social care on the first day (chosen)."""

# Attendance.
ABSENCE_MEAN: Final = 0.067
"""Sessions missed of sessions possible (autumn 2023/24)."""
FULL_DAY_SHARE: Final = 0.80
LATE_MARKS: Final = 0.02
"""School days on which a pupil arrives late and is present (chosen)."""
ABSENCE_RUN: Final = 0.40
"""How much of yesterday's absence carries into today: illness comes in runs (chosen)."""
ABSENCE_CODES: Final = (
    ("I", 0.60),
    ("M", 0.06),
    ("C", 0.04),
    ("N", 0.025),
    ("G", 0.085),
    ("U", 0.04),
    ("O", 0.15),
)

# Faults, as shares of messages; the last two of persons.
DUPLICATE: Final = 0.01
LATE: Final = 0.02
RETRACTED: Final = 0.003
MOVED: Final = 0.003
"""Records whose date is corrected later; codes N found to be I bring corrections to about 1 %."""
N_EXPLAINED: Final = 0.55
UNLINKED: Final = 0.005
UNLINKED_FOR_EVER: Final = 0.5
"""Of unlinked persons, the share that never gets a link."""
WEAK_LINK: Final = 0.03
