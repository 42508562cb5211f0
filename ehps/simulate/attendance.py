"""Daily absence exceptions, the firehose: one event per pupil and day not marked present."""

from __future__ import annotations

from bisect import bisect

import numpy as np

from ehps.simulate import rates
from ehps.simulate.messages import Draft, iso_day
from ehps.simulate.population import Floats
from ehps.simulate.rates import DAY, HOUR, MINUTE
from ehps.simulate.scene import Scene

PUPIL_SPREAD = 0.50
FAMILY_SHARE = 0.33
SECONDARY_LIFT = 0.25
"""Log absence: spread of pupils, share of the family's risk, secondary above primary (chosen)."""
DAY_LIFT = 1.0 / (rates.FULL_DAY_SHARE + (1 - rates.FULL_DAY_SHARE) / 2)
"""Days with an absence for each full day's worth of missed sessions."""
PRESENT_AM, PRESENT_PM = "/", "\\\\"
"""Present marks as JSON text: the afternoon's is a backslash."""
_CODES = tuple(code for code, _ in rates.ABSENCE_CODES)
_CUMULATED = tuple(np.cumsum([share for _, share in rates.ABSENCE_CODES])[:-1].tolist())


class Attendance:
    """Marks of all pupils, a day at a time."""

    def __init__(self, scene: Scene, rng: np.random.Generator) -> None:
        """Draws each pupil's own level of absence."""
        self._scene, self._rng = scene, rng
        population = scene.population
        self._own = rng.normal(0.0, PUPIL_SPREAD, len(population.children))
        self._away = np.zeros(len(population.children))
        self._ids = [
            f"att-{scene.out.prefix}-{child:x}-" for child in range(len(population.children))
        ]

    def _levels(self, day: int) -> Floats:
        """Share of days with an absence, for every child."""
        scene, population = self._scene, self._scene.population
        family = FAMILY_SHARE * (population.log_risk + scene.drift) + scene.pressure
        school = np.where(day >= population.secondary, SECONDARY_LIFT, -SECONDARY_LIFT)
        levels = np.exp(self._own + family[population.family_of] + school)
        pupils = scene.on_roll == 1
        # The average is England's; who lies above and below it is the world's.
        mean = float(levels[pupils].mean()) if pupils.any() else 1.0
        season = 1.0 + 0.22 * np.cos((day - 365.25 * 53) % 365.25 / 365.25 * 2 * np.pi)
        return np.asarray(np.minimum(rates.ABSENCE_MEAN * DAY_LIFT * season * levels / mean, 0.92))

    def day(self, day: int) -> list[Draft]:
        """All exceptions of one school day (since 1970), and later explanations of codes N."""
        scene, rng = self._scene, self._rng
        off = scene.off_until
        present = (scene.on_roll == 1) & ~((off < 0) & (-off > day))
        suspended = present & (off > day)
        chance = (1 - rates.ABSENCE_RUN) * self._levels(day) + rates.ABSENCE_RUN * self._away
        draw = rng.random(len(off))
        away = present & ((draw < chance) | suspended)
        late = present & ~away & (draw > 1 - rates.LATE_MARKS)
        self._away = away.astype(np.float64)
        found = np.flatnonzero(away | late)
        numbers = rng.random((4, len(found))).tolist()
        drafts: list[Draft] = []
        flags = zip(
            found.tolist(), late[found].tolist(), suspended[found].tolist(), *numbers, strict=True
        )
        for child, is_late, is_suspended, code_draw, half_draw, time_draw, fate_draw in flags:
            am, pm = _marks(
                late=is_late, suspended=is_suspended, code_draw=code_draw, half_draw=half_draw
            )
            self._write(drafts, child, day, (am, pm), time_draw, fate_draw)
        return drafts

    def _write(
        self,
        out: list[Draft],
        child: int,
        day: int,
        marks: tuple[str, str],
        time: float,
        fate: float,
    ) -> None:
        started = day * DAY + 9 * HOUR
        recorded = started + 6 * HOUR + int(time * 60) * MINUTE
        text, subject = iso_day(day), self._scene.population.children[child]
        record = self._ids[child] + text
        data = f'{{"date":"{text}","am":"{marks[0]}","pm":"{marks[1]}"}}'
        draft = Draft(
            "education",
            "education.attendance.v1",
            record,
            subject,
            started,
            recorded,
            recorded + HOUR + int(fate * 60) * MINUTE,
            data,
        )
        out.append(draft)
        if "N" in marks and fate < rates.N_EXPLAINED:
            # Schools must settle a code N within five days: the same record comes again with what
            # was found out.
            again = recorded + (1 + int(time * 5)) * DAY
            data = data.replace('"N"', '"I"')
            out.append(
                draft._replace(recorded=again, known=again + HOUR, data=data, kind="correction")
            )


def _marks(*, late: bool, suspended: bool, code_draw: float, half_draw: float) -> tuple[str, str]:
    """Morning and afternoon codes (School attendance codes, August 2024)."""
    if late:
        return "L", PRESENT_PM
    code = "E" if suspended else _CODES[bisect(_CUMULATED, code_draw)]
    if suspended or half_draw < rates.FULL_DAY_SHARE:
        return code, code
    return (code, PRESENT_PM) if half_draw < (1 + rates.FULL_DAY_SHARE) / 2 else (PRESENT_AM, code)
