"""The world itself: weeks pass, families drift and are shaken, agencies tell what they saw."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import date, timedelta
from functools import partial
from typing import Any

import numpy as np
import orjson

from ehps.simulate import rates
from ehps.simulate.attendance import Attendance
from ehps.simulate.faults import Faults
from ehps.simulate.messages import EPOCH, Draft, Message, Outbox, iso_day, parse_start, token
from ehps.simulate.population import link_data, make_population
from ehps.simulate.rates import DAY, HOUR, MINUTE, WEEK
from ehps.simulate.scene import Dice, Scene, health_delay
from ehps.simulate.services import Services
from ehps.simulate.shocks import Shocks
from ehps.simulate.terms import is_school_day, require_covered

FAMILIES_MAX = 1_000_000
WEEKS_MAX = 1_040
STOCK_DAYS = 330
"""Episodes open on the first day began at most this long before."""
REVIEWS = (
    ("antenatal", -60),
    ("new_birth", 12),
    ("6_8_week", 49),
    ("12_month", 360),
    ("2_year", 790),
)
"""The five mandated health-visitor reviews, in days from birth."""
DISABILITIES = ("LD", "AUT", "BEH", "COMM", "MOB", "HEAR", "CON")
NOBODY = 2**62


class World:
    """A simulated authority. The same arguments give the same bytes.

    Args:
        families: 1 to `FAMILIES_MAX`; one has 1.8 children on average and sends about 30 messages a
        year.
        weeks: 1 to `WEEKS_MAX`.
        seed: 0 or more.
        start: the first day.
        la: the authority's ONS code, such as E06000023.
        malformed: share of messages to send broken on purpose, 0 to 1; nothing else depends on it.
    """

    def __init__(
        self, families: int, weeks: int, seed: int, start: date, la: str, malformed: float = 0.0
    ) -> None:
        """Check the arguments; nothing is generated yet.

        Raises:
            ValueError: an argument is out of range, or beyond the packaged school calendar.
        """
        if not (
            1 <= families <= FAMILIES_MAX
            and 1 <= weeks <= WEEKS_MAX
            and seed >= 0
            and 0 <= malformed <= 1
        ):
            raise ValueError(
                f"families 1-{FAMILIES_MAX}, weeks 1-{WEEKS_MAX}, seed from 0, malformed 0-1; "
                f"got {families}, {weeks}, {seed}, {malformed}"
            )
        self.families, self.weeks, self.seed, self.start, self.la, self.malformed = (
            families,
            weeks,
            seed,
            start,
            la,
            malformed,
        )
        # In every id of the world, so that two worlds in one authority share no family, person or record.
        self.name = token("world", la, seed, families, weeks, start, size=2)
        self.start_s = parse_start(start)
        self.end_s = self.start_s + weeks * WEEK
        require_covered(start, start + timedelta(weeks=weeks))
        self._truth: list[dict[str, Any]] | None = None

    def simulate(self) -> Iterator[Message]:
        """Messages in order of `known`; what is known after the last week is not sent."""
        run = _Run(self)
        waiting: dict[int, list[tuple[int, int, Message]]] = {}
        count = 0
        for week in range(-1, self.weeks):
            for message in run.week(week):
                slot = max((message.known - self.start_s) // WEEK, week)
                if slot < self.weeks:
                    count += 1
                    waiting.setdefault(slot, []).append((message.known, count, message))
            for _, _, message in sorted(waiting.pop(week, ())):
                yield message
        self._truth = run.truth()

    def truth(self) -> list[dict[str, Any]]:
        """What is so, family by family: risk at the end, and outcomes with their dates.

        Generates the world once more unless `simulate` has run to its end.
        """
        while self._truth is None:
            deque(self.simulate(), maxlen=0)
        return self._truth

    def truth_json(self) -> bytes:
        """The truth as one JSON object, for a file beside the events."""
        return orjson.dumps(
            {
                "simulated": True,
                "la": self.la,
                "seed": self.seed,
                "start": self.start.isoformat(),
                "weeks": self.weeks,
                "families": self.truth(),
            }
        )


def simulate(
    families: int, weeks: int, seed: int, start: date, la: str, malformed: float = 0.0
) -> Iterator[Message]:
    """The messages of a `World`."""
    return World(families, weeks, seed, start, la, malformed).simulate()


class _Run:
    """One pass through a world."""

    def __init__(self, world: World) -> None:
        streams = [
            np.random.Generator(np.random.PCG64(s))
            for s in np.random.SeedSequence(world.seed).spawn(6)
        ]
        people, chance, self._rng, marks, faults, broken = streams
        self._world = world
        self._population = make_population(
            world.families, world.weeks, world.start, world.name, people
        )
        children, families = len(self._population.children), world.families
        self._scene = Scene(
            population=self._population,
            dice=Dice(chance),
            out=Outbox(world.name),
            drift=self._rng.normal(0.0, rates.DRIFT_SPREAD, families),
            pressure=np.zeros(families),
            tier=np.zeros(families, np.int64),
            known_until=np.zeros(families, np.int64),
            off_until=np.zeros(children, np.int64),
            on_roll=np.zeros(children, np.int64),
            factors=[{} for _ in range(families)],
        )
        self._services = Services(self._scene)
        self._shocks = Shocks(self._scene, self._services)
        self._attendance = Attendance(self._scene, marks)
        self._faults = Faults(world.la, faults, broken, world.malformed)
        self._linked_from: dict[str, int] = {}
        table = rates.SHOCKS_A_YEAR
        self._rates = (
            np.array([rate for rate, _ in table.values()])[:, None] * WEEK / (365.25 * DAY)
        )
        self._slopes = np.array([slope for _, slope in table.values()])[:, None]
        self._names = list(table)

    def week(self, week: int) -> Iterator[Message]:
        """Messages that come from one week; -1 brings links and open episodes."""
        begin = self._world.start_s + week * WEEK
        drafts: list[Draft] = []
        if week < 0:
            self._open_episodes()
            drafts = [*self._links(), *self._loaded(self._scene.out.take())]
            self._expect()
        else:
            for day in range(begin // DAY, begin // DAY + 7):
                self._day(day, drafts)
            self._shake(begin)
            self._services.run_until(begin + WEEK)
            drafts.extend(self._scene.out.take())
        return self._faults.apply(drafts, self._linked_from)

    # The beginning.

    def _links(self) -> Iterator[Draft]:
        """Who belongs to which family: most told the day before the start, a few late or never."""
        population, start = self._population, self._world.start_s
        for family in range(population.families):
            yield from self._link(population.households[family], family, "household", None, start)
            for adult in population.adults[family]:
                yield from self._link(adult, family, "adult", None, start)
            for child in range(int(population.first[family]), int(population.first[family + 1])):
                birth = int(population.birth[child])
                # Expected children are linked some 180 days before birth, before anyone speaks of
                # them.
                moment = max(start, (birth - 180) * DAY)
                yield from self._link(population.children[child], family, "child", birth, moment)

    def _link(
        self, subject: str, family: int, role: str, birth: int | None, moment: int
    ) -> Iterator[Draft]:
        dice, kind = self._scene.dice, "normal"
        confidence = dice.between(80, 95) / 100 if dice.chance(rates.WEAK_LINK) else 1.0
        recorded = moment - dice.between(3 * HOUR, DAY)
        if dice.chance(rates.UNLINKED):
            self._linked_from[subject] = NOBODY
            if dice.chance(rates.UNLINKED_FOR_EVER):
                return
            recorded = moment + dice.between(14 * DAY, 120 * DAY)
            self._linked_from[subject], kind = recorded + HOUR, "late-link"
        recorded -= recorded % MINUTE
        data = link_data(f"f-{self._world.name}-{family}", role, birth, confidence)
        record = f"link-{subject[-16:]}"
        yield Draft(
            "links",
            "link.person.v1",
            record,
            subject,
            recorded,
            recorded,
            recorded + HOUR,
            data,
            kind=kind,
        )

    def _open_episodes(self) -> None:
        """Families open on the first day, the worse off more often, with their history."""
        scene, services, start = self._scene, self._services, self._world.start_s
        dice = scene.dice
        openers = (
            services.start_early_help,
            services.start_plan,
            services.start_protection,
            services.start_looked_after,
        )
        for family in range(self._population.families):
            left = dice.unit()
            weight = scene.intensity(family) ** 0.9
            for share, opener in zip(rates.STOCK_SHARES, openers, strict=True):
                left -= share * weight
                if left < 0:
                    opener(family, start - dice.between(5 * DAY, STOCK_DAYS * DAY))
                    break
        for birth, child in zip(self._population.birth, self._population.children, strict=True):
            if dice.chance(rates.DISABLED) and birth * DAY < start - STOCK_DAYS * DAY:
                moment, code = start - dice.between(DAY, STOCK_DAYS * DAY), dice.pick(DISABILITIES)
                data = f'{{"codes":["{code}"]}}'
                scene.out.put("social-care.disability.v1", child, moment, moment + DAY, data)
        services.run_until(start)

    def _loaded(self, drafts: list[Draft]) -> Iterator[Draft]:
        """What happened before the start is known in the first hours of the first day."""
        start = self._world.start_s
        for place, draft in enumerate(sorted(drafts, key=lambda d: d.time)):
            yield draft._replace(
                known=max(draft.known, start + HOUR + place * 7200 // max(len(drafts), 1))
            )

    def _expect(self) -> None:
        """Put on the agenda what age brings: school years and health-visitor reviews."""
        population, services, start = self._population, self._services, self._world.start_s
        for child in range(len(population.children)):
            family = int(population.family_of[child])
            entry, secondary, leaving = (
                int(a[child]) for a in (population.entry, population.secondary, population.leaving)
            )
            first = max(entry * DAY, start)
            if first < leaving * DAY:
                services.plan(first, family, partial(self._enrol, child), always=True)
                services.plan(
                    leaving * DAY, family, partial(self._leave_school, child), always=True
                )
            if secondary * DAY > start:
                services.plan(
                    secondary * DAY, family, partial(self._change_school, child), always=True
                )
            for review, after in REVIEWS:
                moment = (int(population.birth[child]) + after) * DAY + 11 * HOUR
                if moment >= start:
                    services.plan(moment, family, partial(self._review, child, review), always=True)
        services.run_until(start)

    # What age brings.

    def _enrol(self, child: int, _family: int, moment: int) -> None:
        self._scene.on_roll[child] = 1
        self._roll(child, moment, "on_roll")

    def _leave_school(self, child: int, _family: int, moment: int) -> None:
        self._scene.on_roll[child] = 0
        self._roll(child, moment, "off_roll")

    def _change_school(self, child: int, _family: int, moment: int) -> None:
        self._roll(child, moment - DAY, "off_roll")
        self._roll(child, moment, "on_roll")

    def _roll(self, child: int, moment: int, status: str) -> None:
        population = self._population
        secondary = moment // DAY >= population.secondary[child]
        kind, schools = ("secondary", 9) if secondary else ("primary", 40)
        school = f"{kind}-{int(population.family_of[child]) % schools}"
        data = f'{{"status":"{status}","school":"{school}"}}'
        self._scene.out.put(
            "education.enrolment.v1", population.children[child], moment, moment + 5 * HOUR, data
        )

    def _review(self, child: int, review: str, family: int, moment: int) -> None:
        scene, dice = self._scene, self._scene.dice
        missed = min(0.09 * scene.intensity(family) ** 0.6, 0.6)
        outcome = dice.weighted(
            (("missed", missed), ("declined", 0.02), ("completed", 0.98 - missed))
        )
        data = f'{{"review":"{review}","outcome":"{outcome}"}}'
        # An antenatal review is about the mother: the child is not born yet.
        subject = scene.adult(family) if review == "antenatal" else self._population.children[child]
        scene.out.put("health.visitor_review.v1", subject, moment, health_delay(dice, moment), data)

    # A week.

    def _day(self, day: int, drafts: list[Draft]) -> None:
        self._services.run_until(day * DAY + HOUR)
        if is_school_day(date.fromordinal(EPOCH + day)):
            drafts.extend(self._attendance.day(day))

    def _shake(self, begin: int) -> None:
        """Let risk drift, draw the week's shocks of all families, let them happen in order."""
        scene, world = self._scene, self._world
        self._drift()
        log_intensity = np.minimum(
            self._population.log_risk + scene.drift, np.log(rates.INTENSITY_MAX)
        )
        bias = np.where((scene.tier > 0) | (scene.known_until > begin), rates.KNOWN_BIAS, 1.0)
        expected = self._rates * np.exp(self._slopes * log_intensity) * bias
        kinds, families = np.nonzero(self._rng.poisson(expected))
        moments = begin + (self._rng.random(len(kinds)) * WEEK).astype(np.int64)
        for place in np.argsort(moments, kind="stable").tolist():
            moment = int(moments[place]) // MINUTE * MINUTE
            if moment < world.end_s:
                self._services.run_until(moment)
                self._shocks.by_name[self._names[int(kinds[place])]](int(families[place]), moment)

    def _drift(self) -> None:
        scene, kept = self._scene, rates.DRIFT_KEPT_A_WEEK
        target = np.where(scene.tier > 0, rates.HELP_EFFECT, 0.0)
        noise = rates.DRIFT_SPREAD * np.sqrt(1 - kept**2)
        scene.drift *= kept
        scene.drift += (1 - kept) * target + self._rng.normal(0.0, noise, len(scene.drift))
        # Half of what a shock does to attendance is gone after six weeks.
        scene.pressure *= 0.89

    # The end.

    def truth(self) -> list[dict[str, Any]]:
        """One row a family."""
        population, scene, services = self._population, self._scene, self._services
        la, name = self._world.la, self._world.name
        return [
            {
                "family": f"f-{name}-{family}",
                "key": f"{la}:f-{name}-{family}",
                "la": self._world.la,
                "decile": int(population.decile[family]),
                "children": int(population.first[family + 1] - population.first[family]),
                "adults": len(population.adults[family]),
                "latent_risk": round(float(population.log_risk[family] + scene.drift[family]), 6),
                "lasting_risk": round(float(population.log_risk[family]), 6),
                "tier": int(scene.tier[family]),
                "first_section47": self._date(services.first_section47[family]),
                "first_plan": self._date(services.first_plan[family]),
                "first_looked_after": self._date(services.first_looked_after[family]),
            }
            for family in range(population.families)
        ]

    def _date(self, moment: int | None) -> str | None:
        return None if moment is None or moment >= self._world.end_s else iso_day(moment // DAY)
