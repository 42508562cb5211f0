"""What happens to households: one shock, told by several agencies, each in its own time.

Every function takes the family and the moment (seconds), sends what agencies would send, may lead
to a contact with social care, and leaves the family shaken. Shares without a source are chosen so
that the totals of `rates` come out.
"""

from __future__ import annotations

from collections.abc import Callable

from ehps.simulate import rates
from ehps.simulate.messages import iso
from ehps.simulate.rates import DAY, HOUR, MINUTE
from ehps.simulate.scene import Dice, Scene, health_delay, next_monday, police_delay
from ehps.simulate.services import CHILD_IN_NEED, Services

PROVISION_DELAY = 3 * DAY
SUSPENSION_REASONS = (
    *(("DB", 0.50), ("PP", 0.14), ("VA", 0.14), ("VP", 0.05), ("PA", 0.05), ("OW", 0.03)),
    *(("DA", 0.03), ("BU", 0.02), ("DM", 0.02), ("RA", 0.01), ("MT", 0.01)),
)
GRADES = ("green", "amber", "red")
CONCERN_SOURCES = (
    *(
        ("2A", 0.28),
        ("3B", 0.05),
        ("3A", 0.07),
        ("3C", 0.03),
        ("3D", 0.05),
        ("4", 0.05),
        ("5B", 0.10),
    ),
    *(("5D", 0.05), ("1A", 0.09), ("1B", 0.04), ("8", 0.10), ("7", 0.05), ("9", 0.04)),
)
SETTING = '{"setting":"emergency_department"}'


class Shocks:
    """Households' shocks by name; the names are those of `rates.SHOCKS_A_YEAR`."""

    def __init__(self, scene: Scene, services: Services) -> None:
        """Shocks on the families of a scene."""
        self.scene = scene
        self.services = services
        self.by_name: dict[str, Callable[[int, int], None]] = {
            "domestic_abuse": self.domestic_abuse,
            "police_concern": self.police_concern,
            "money": self.money,
            "parent_crisis": self.parent_crisis,
            "substance": self.substance,
            "child_crisis": self.child_crisis,
            "exploitation": self.exploitation,
            "illness": self.illness,
            "early_years": self.early_years,
            "school_trouble": self.school_trouble,
            "school_change": self.school_change,
            "emergency": self.emergency,
            "missed_appointment": self.missed_appointment,
            "clinic": self.clinic,
            "concern": self.concern,
            "self_referral": self.services.self_refer,
        }

    @property
    def _dice(self) -> Dice:
        return self.scene.dice

    def _severity(self, family: int) -> int:
        """0-2; worse in families at higher risk."""
        lift = min(self.scene.intensity(family), 6.0) / 6.0
        return self._dice.weighted(
            ((0, 0.72 - 0.27 * lift), (1, 0.22 + 0.15 * lift), (2, 0.06 + 0.12 * lift))
        )

    def _flag(self, share: float) -> str:
        return "true" if self._dice.chance(share) else "false"

    def domestic_abuse(self, family: int, moment: int) -> None:
        """One incident: a police notice the same day, Encompass next morning, MARAC weeks later."""
        scene, dice = self.scene, self._dice
        severity = self._severity(family)
        child = scene.any_child(family, moment)
        incident = scene.out.number("inc")
        present = self._flag(0.6)
        data = f'{{"grade":"{GRADES[severity]}","child_present":{present},"domestic_abuse":true}}'
        told = police_delay(dice, moment)
        scene.out.put("police.notification.v1", child, moment, told, data, incident=incident)
        pupil = scene.child(family, moment, 4.5, 17.0)
        if pupil and dice.chance(0.85):
            school = (moment // DAY + 1) * DAY + dice.between(7 * HOUR, 8 * HOUR)
            scene.out.put(
                "police.encompass.v1",
                pupil,
                moment,
                school,
                f'{{"child_present":{present}}}',
                incident=incident,
            )
        if dice.chance((0.02, 0.15, 0.65)[severity]):
            self._marac(family, moment + dice.between(6 * DAY, 22 * DAY), severity, incident)
        if severity and dice.chance(0.2):
            scene.out.put(
                "police.arrest.v1",
                scene.adult(family),
                moment + HOUR,
                told,
                '{"who":"parent"}',
                incident=incident,
            )
        if severity == 2 and dice.chance(0.3):
            self._injury(child, moment + 2 * HOUR)
        scene.note(family, "3B", moment)
        if dice.chance((0.42, 0.72, 0.97)[severity]):
            self.services.contact(family, told + HOUR, "6", severity, child, incident)
        if dice.chance(0.05 + 0.06 * severity):
            self._lose_home(family, moment + dice.between(3 * DAY, 40 * DAY))
        scene.shake(family, 0.35 + 0.2 * severity, 0.15 + 0.15 * severity)
        self._again(family, moment, self.domestic_abuse)

    def _marac(self, family: int, moment: int, severity: int, incident: str) -> None:
        risk = "high" if severity == 2 or self._dice.chance(0.3) else "medium"
        known = moment + self._dice.between(DAY, 3 * DAY)
        adult = self.scene.adult(family)
        self.scene.out.put(
            "police.marac.v1", adult, moment, known, f'{{"risk":"{risk}"}}', incident=incident
        )

    def _injury(self, child: str, moment: int) -> None:
        known = health_delay(self._dice, moment)
        self.scene.out.put("health.emergency.v1", child, moment, known, '{"reason":"injury"}')

    def police_concern(self, family: int, moment: int) -> None:
        """Police meet a child for another reason: concern for safety, an arrest at home."""
        scene, dice = self.scene, self._dice
        severity = self._severity(family)
        child = scene.any_child(family, moment)
        told = police_delay(dice, moment)
        present = self._flag(0.7)
        data = f'{{"grade":"{GRADES[severity]}","child_present":{present},"domestic_abuse":false}}'
        incident = scene.out.number("inc") if dice.chance(0.3) else ""
        scene.out.put("police.notification.v1", child, moment, told, data, incident=incident)
        if incident and dice.chance(0.6):
            scene.out.put(
                "police.arrest.v1",
                scene.adult(family),
                moment,
                told,
                '{"who":"parent"}',
                incident=incident,
            )
        if dice.chance((0.35, 0.6, 0.95)[severity]):
            self.services.contact(family, told + HOUR, "6", severity, child, incident)
        scene.note(family, "16A" if severity == 2 else "17A", moment)
        scene.shake(family, 0.1 + 0.15 * severity, 0.1)
        self._again(family, moment, self.police_concern)

    def _again(self, family: int, moment: int, shock: Callable[[int, int], None]) -> None:
        if self._dice.chance(rates.REPEATED):
            later = moment + self._dice.between(4 * DAY, 70 * DAY)
            self.services.plan(later - later % MINUTE, family, shock, always=True)

    def money(self, family: int, moment: int) -> None:
        """Debt: arrears, a sanction, council tax; for some a notice and the loss of the home."""
        scene, dice = self.scene, self._dice
        household = scene.population.households[family]
        weeks = dice.between(2, 14)
        if dice.chance(0.7):
            data = f'{{"weeks":{weeks}}}'
            scene.out.put("housing.arrears.v1", household, moment, next_monday(dice, moment), data)
        if dice.chance(0.3):
            scene.out.put(
                "benefits.sanction.v1", scene.adult(family), moment, next_monday(dice, moment), "{}"
            )
        if dice.chance(0.35):
            later = moment + dice.between(0, 20 * DAY)
            data = '{"kind":"council_tax"}'
            scene.out.put("benefits.arrears.v1", household, later, next_monday(dice, later), data)
        if dice.chance(0.16):
            self._lose_home(family, moment + dice.between(20 * DAY, 90 * DAY))
        scene.shake(family, 0.12, 0.55)

    def _lose_home(self, family: int, moment: int) -> None:
        scene, dice = self.scene, self._dice
        household = scene.population.households[family]
        kind = dice.weighted(
            (
                ("section_21", 0.5),
                ("section_8", 0.3),
                ("possession_order", 0.15),
                ("eviction_warrant", 0.05),
            )
        )
        scene.out.put(
            "housing.notice.v1",
            household,
            moment,
            next_monday(dice, moment),
            f'{{"kind":"{kind}"}}',
        )
        if dice.chance(0.45):
            duty = dice.weighted((("prevention", 0.4), ("relief", 0.4), ("main", 0.2)))
            later = moment + dice.between(7 * DAY, 50 * DAY)
            scene.out.put(
                "housing.homeless.v1",
                household,
                later,
                next_monday(dice, later),
                f'{{"duty":"{duty}"}}',
            )
            what = "temporary_move" if dice.chance(0.5) else "move"
            moved = later + dice.between(2 * DAY, 30 * DAY)
            scene.out.put(f"housing.{what}.v1", household, moved, next_monday(dice, moved), "{}")

    def parent_crisis(self, family: int, moment: int) -> None:
        """A parent's mental health gives way."""
        scene, dice = self.scene, self._dice
        kind = dice.weighted((("crisis", 0.45), ("referral", 0.5), ("self_harm", 0.05)))
        known = health_delay(dice, moment)
        data = f'{{"who":"parent","kind":"{kind}"}}'
        scene.out.put("health.mental_health.v1", scene.adult(family), moment, known, data)
        scene.note(family, "4B", moment)
        if dice.chance(0.3):
            self.services.contact(family, known + HOUR, "3A", 1 if kind != "referral" else 0)
        scene.shake(family, 0.35, 0.5)

    def substance(self, family: int, moment: int) -> None:
        """A parent, sometimes an older child, is referred for alcohol or drugs."""
        scene, dice = self.scene, self._dice
        teen = scene.child(family, moment, 13.0)
        who, person = (
            ("child", teen) if teen and dice.chance(0.15) else ("parent", scene.adult(family))
        )
        known = health_delay(dice, moment)
        scene.out.put("health.substance.v1", person, moment, known, f'{{"who":"{who}"}}')
        scene.note(family, "2B" if who == "parent" else "2A", moment)
        if dice.chance(0.25):
            self.services.contact(family, known + HOUR, "3D", 1)
        scene.shake(family, 0.4, 0.25)

    def child_crisis(self, family: int, moment: int) -> None:
        """A child's mental health gives way: CAMHS, emergency care, absence, trouble at school."""
        scene, dice = self.scene, self._dice
        child = scene.child(family, moment, 10.0)
        if child is None:
            return
        kind = dice.weighted((("referral", 0.6), ("self_harm", 0.3), ("crisis", 0.1)))
        incident = scene.out.number("inc")
        known = health_delay(dice, moment)
        data = f'{{"who":"child","kind":"{kind}"}}'
        scene.out.put("health.mental_health.v1", child, moment, known, data, incident=incident)
        if kind != "referral" and dice.chance(0.7):
            seen = moment + dice.between(HOUR, 6 * HOUR)
            scene.out.put(
                "health.emergency.v1",
                child,
                seen,
                health_delay(dice, seen),
                '{"reason":"mental_health"}',
                incident=incident,
            )
        if dice.chance(0.2):
            self._suspend(family, moment + dice.between(DAY, 30 * DAY))
        if kind != "referral" and dice.chance(0.4):
            self.services.contact(family, known + HOUR, "3E", 1, child)
        scene.note(family, "15A" if kind == "self_harm" else "4A", moment)
        scene.shake(family, 0.2, 0.9)

    def exploitation(self, family: int, moment: int) -> None:
        """A teenager is drawn in: missing again and again, trouble at school, offences."""
        scene, dice = self.scene, self._dice
        child = scene.child(family, moment, 11.0)
        if child is None:
            return
        at = moment
        for _ in range(dice.between(1, 5)):
            back = at + dice.between(5 * HOUR, 60 * HOUR)
            category = "M" if dice.chance(0.8) else "A"
            data = f'{{"category":"{category}","returned":"{iso(back)}"}}'
            told = back + dice.between(2 * HOUR, 20 * HOUR)
            scene.out.put("police.missing.v1", child, at, told, data, recorded=back + HOUR)
            at = back + dice.between(4 * DAY, 25 * DAY)
        if dice.chance(0.5):
            self._suspend(family, moment + dice.between(DAY, 40 * DAY))
        if dice.chance(0.4):
            offence = moment + dice.between(10 * DAY, 70 * DAY)
            self._offence(child, offence)
        if dice.chance(0.4):
            kind = dice.weighted((("cce", 0.55), ("cse", 0.25), ("nrm", 0.20)))
            found = moment + dice.between(14 * DAY, 60 * DAY)
            scene.out.put(
                "police.exploitation.v1",
                child,
                found,
                police_delay(dice, found),
                f'{{"kind":"{kind}"}}',
            )
            scene.note(family, "11A" if kind == "cse" else "24A", moment)
        scene.note(family, "10A", moment)
        if dice.chance(0.75):
            self.services.contact(family, moment + 3 * DAY, "6", self._severity(family), child)
        scene.shake(family, 0.5, 0.8)

    def _offence(self, child: str, moment: int) -> None:
        scene, dice = self.scene, self._dice
        scene.out.put(
            "police.arrest.v1", child, moment, police_delay(dice, moment), '{"who":"child"}'
        )
        decided = moment + dice.between(14 * DAY, 60 * DAY)
        kind = "out_of_court" if dice.chance(0.75) else "order"
        known = decided + dice.between(DAY, 7 * DAY)
        scene.out.put("youth-justice.outcome.v1", child, decided, known, f'{{"kind":"{kind}"}}')

    def illness(self, family: int, moment: int) -> None:
        """A parent is seriously ill; a child may become a carer."""
        scene, dice = self.scene, self._dice
        scene.out.put(
            "health.parental_illness.v1",
            scene.adult(family),
            moment,
            health_delay(dice, moment),
            "{}",
        )
        carer = scene.child(family, moment, 8.0)
        if carer and dice.chance(0.3):
            noticed = moment + dice.between(14 * DAY, 90 * DAY)
            scene.out.put(
                "education.young_carer.v1", carer, noticed, noticed + PROVISION_DELAY, "{}"
            )
            scene.note(family, "7A", moment)
        scene.note(family, "6B", moment)
        scene.shake(family, 0.1, 0.7)

    def early_years(self, family: int, moment: int) -> None:
        """A young child slips from sight: not brought, hurt, seen at night."""
        scene, dice = self.scene, self._dice
        child = scene.child(family, moment, 0.0, 5.0)
        if child is None:
            return
        for _ in range(dice.between(1, 3)):
            at = moment + dice.between(0, 30 * DAY)
            scene.out.put(
                "health.was_not_brought.v1",
                child,
                at,
                health_delay(dice, at),
                '{"service":"paediatrics"}',
            )
        severity = self._severity(family)
        if dice.chance(0.35):
            self._injury(child, moment)
            if dice.chance(0.3):
                scene.out.put("health.cpis_access.v1", child, moment, moment + HOUR, SETTING)
        if dice.chance(0.3):
            self.services.contact(
                family, moment + dice.between(DAY, 5 * DAY), "3B", severity, child
            )
        scene.note(family, "16A", moment)
        scene.shake(family, 0.2)

    def school_trouble(self, family: int, moment: int) -> None:
        """A suspension; seldom an exclusion."""
        self._suspend(family, moment)

    def _suspend(self, family: int, moment: int) -> None:
        scene, dice = self.scene, self._dice
        pupils = [c for c in scene.population.of_age(family, moment, 6.0, 16.5) if scene.on_roll[c]]
        if not pupils:
            return
        # Suspensions peak in years 8 to 10; a younger pupil is suspended one time in four.
        index = dice.pick(pupils)
        child, day = scene.population.children[index], moment // DAY
        if day < scene.population.secondary[index] and dice.chance(0.75):
            return
        at = day * DAY + dice.between(9 * HOUR, 15 * HOUR)
        reason = dice.weighted(SUSPENSION_REASONS)
        if dice.chance(0.012):
            scene.out.put(
                "education.exclusion.v1", child, at, at + 3 * HOUR, f'{{"reasons":["{reason}"]}}'
            )
            days = 20
        else:
            days = dice.weighted(((1, 0.45), (2, 0.28), (3, 0.15), (5, 0.12)))
            data = f'{{"reasons":["{reason}"],"days":{days}}}'
            scene.out.put("education.suspension.v1", child, at, at + 3 * HOUR, data)
        scene.off_until[index] = day + days + 1
        if dice.chance(0.12):
            self.services.contact(family, at + DAY, "2A", 0, child)
        if scene.population.log_risk[family] > 1.5 and dice.chance(0.1):
            self._offence(child, moment + dice.between(0, 20 * DAY))

    def school_change(self, family: int, moment: int) -> None:
        """Out of school for a while: missing education and found again, or taught at home."""
        scene, dice = self.scene, self._dice
        pupils = [c for c in scene.population.of_age(family, moment, 5.0, 16.0) if scene.on_roll[c]]
        if not pupils:
            return
        index = dice.pick(pupils)
        child, away = scene.population.children[index], dice.between(15, 70)
        home = dice.chance(0.4)
        what, first, last = (
            ("home_education", "started", "ended")
            if home
            else ("missing_education", "missing", "found")
        )
        for at, status in ((moment, first), (moment + away * DAY, last)):
            scene.out.put(
                f"education.{what}.v1", child, at, at + PROVISION_DELAY, f'{{"status":"{status}"}}'
            )
        for at, status in ((moment, "off_roll"), (moment + away * DAY, "on_roll")):
            scene.out.put("education.enrolment.v1", child, at, at + DAY, f'{{"status":"{status}"}}')
        # Negative: not suspended but off the roll, so no marks at all.
        scene.off_until[index] = -(moment // DAY + away)

    def emergency(self, family: int, moment: int) -> None:
        """A child in unscheduled care, mostly for what happens to every child."""
        scene, dice = self.scene, self._dice
        child = scene.any_child(family, moment)
        reason = dice.weighted((("injury", 0.45), ("illness", 0.45), ("other", 0.10)))
        known = health_delay(dice, moment)
        scene.out.put("health.emergency.v1", child, moment, known, f'{{"reason":"{reason}"}}')
        if scene.tier[family] > CHILD_IN_NEED:
            scene.out.put("health.cpis_access.v1", child, moment, moment + HOUR, SETTING)

    def missed_appointment(self, family: int, moment: int) -> None:
        """A child was not brought to an appointment."""
        dice = self._dice
        service = dice.pick(("paediatrics", "camhs", "dental", "speech_and_language", "audiology"))
        child = self.scene.any_child(family, moment)
        known = health_delay(dice, moment)
        self.scene.out.put(
            "health.was_not_brought.v1", child, moment, known, f'{{"service":"{service}"}}'
        )

    def clinic(self, family: int, moment: int) -> None:
        """A community health contact beyond the mandated reviews: mostly young children."""
        child = self.scene.child(family, moment, 0.0, 5.0)
        if child is None:
            if self._dice.chance(0.75):
                return
            child = self.scene.any_child(family, moment)
        known = health_delay(self._dice, moment)
        self.scene.out.put(
            "health.contact.v1", child, moment, known, f'{{"child_seen":{self._flag(0.88)}}}'
        )

    def concern(self, family: int, moment: int) -> None:
        """Someone else is worried: a school, a relative, another service."""
        source = self._dice.weighted(CONCERN_SOURCES)
        self.services.contact(family, moment, source, self._severity(family))
