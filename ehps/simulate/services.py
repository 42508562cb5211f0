"""Early help and children's social care: contacts, referrals, assessments, plans, and how they end.

A small event-driven machine. Every step is a row of a heap ordered by time; a step of an episode
that has ended since is dropped because its episode number no longer is the family's.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

from ehps.simulate import rates
from ehps.simulate.rates import DAY, HOUR
from ehps.simulate.scene import Scene, overnight

NONE, EARLY_HELP, CHILD_IN_NEED, CHILD_PROTECTION, LOOKED_AFTER = range(5)
ANY_EPISODE = -1
"""Episode number of a step that happens whatever the family's tier."""

FACTOR_MEMORY = 365 * DAY
HIDDEN_FACTORS = (
    ("3B", 0.10),
    ("4B", 0.14),
    ("2B", 0.06),
    ("1B", 0.06),
    ("16A", 0.10),
    ("17A", 0.12),
    ("4A", 0.08),
)
"""Found by an assessment though no agency had told it."""
NEEDS = (
    ("N1", 0.57),
    ("N5", 0.14),
    ("N4", 0.09),
    ("N2", 0.08),
    ("N3", 0.04),
    ("N6", 0.03),
    ("N8", 0.02),
    ("N9", 0.03),
)
CATEGORIES = (("NEG", 0.48), ("EMO", 0.38), ("PHY", 0.08), ("SAB", 0.04), ("MUL", 0.02))


class Services:
    """What services do about families, and the true outcomes."""

    def __init__(self, scene: Scene) -> None:
        """Nobody open."""
        self.scene = scene
        families = scene.population.families
        self.first_section47: list[int | None] = [None] * families
        self.first_plan: list[int | None] = [None] * families
        self.first_looked_after: list[int | None] = [None] * families
        self._episode = [0] * families
        self._agenda: list[tuple[int, int, int, int, Callable[[int, int], None]]] = []
        self._count = 0

    def plan(
        self, moment: int, family: int, step: Callable[[int, int], None], *, always: bool = False
    ) -> None:
        """Put `step(family, moment)` on the agenda, void once this episode ends unless `always`."""
        self._count += 1
        episode = ANY_EPISODE if always else self._episode[family]
        heapq.heappush(self._agenda, (moment, self._count, family, episode, step))

    def run_until(self, moment: int) -> None:
        """Take every step due by `moment`, in order of time."""
        while self._agenda and self._agenda[0][0] <= moment:
            due, _, family, episode, step = heapq.heappop(self._agenda)
            if episode in (ANY_EPISODE, self._episode[family]):
                step(family, due)

    # The front door.

    def contact(
        self,
        family: int,
        moment: int,
        source: str,
        severity: int,
        subject: str | None = None,
        incident: str = "",
    ) -> None:
        """Someone contacts children's social care. `severity` is 0-2."""
        scene, dice = self.scene, self.scene.dice
        person = subject or scene.any_child(family, moment)
        scene.known_until[family] = moment + 365 * DAY
        outcome = self._outcome(family, severity)
        self._tell(
            "contact", person, moment, f'{{"source":"{source}","outcome":"{outcome}"}}', incident
        )
        if outcome == "child_in_need_referral":
            self._refer(family, moment + dice.between(HOUR, DAY), source, severity, person)
        elif outcome == "early_help_referral":
            self.plan(
                moment + dice.between(2 * DAY, 21 * DAY), family, self.start_early_help, always=True
            )
        elif (
            scene.tier[family] in (CHILD_IN_NEED, CHILD_PROTECTION)
            and severity == 2
            and dice.chance(0.35)
        ):
            self._section47(family, moment + dice.between(HOUR, 3 * DAY), severity)

    def _outcome(self, family: int, severity: int) -> str:
        scene, dice = self.scene, self.scene.dice
        if scene.tier[family] < CHILD_IN_NEED:
            # Workers see part of a family's risk: the worse off are referred more often at equal
            # severity.
            referred = rates.REFERRAL_BY_SEVERITY[severity] * min(
                0.7 + 0.12 * scene.intensity(family), 1.5
            )
            left = dice.unit()
            if left < referred:
                return "child_in_need_referral"
            if (
                left < referred + rates.EARLY_HELP_BY_SEVERITY[severity]
                and scene.tier[family] == NONE
            ):
                return "early_help_referral"
        return (
            "no_further_action" if dice.chance(rates.NO_ACTION_SHARE) else "information_and_advice"
        )

    def _refer(self, family: int, moment: int, source: str, severity: int, person: str) -> None:
        scene, dice = self.scene, self.scene.dice
        closed = dice.chance(rates.REFERRAL_NFA)
        need = dice.weighted(NEEDS)
        flag = "true" if closed else "false"
        self._tell(
            "referral",
            person,
            moment,
            f'{{"source":"{source}","need":"{need}","no_further_action":{flag}}}',
        )
        if closed:
            return
        if scene.tier[family] == EARLY_HELP:
            self._early_help_ended(family, moment, "step_up")
        self._enter(family, CHILD_IN_NEED, moment)
        self.plan(moment + dice.between(15 * DAY, 50 * DAY), family, self._assess, always=True)
        if dice.chance(rates.SECTION47_BY_SEVERITY[severity]):
            self._section47(family, moment + dice.between(HOUR, 12 * DAY), severity)

    # The statutory ladder.

    def _section47(self, family: int, moment: int, severity: int) -> None:
        def enquire(family: int, moment: int) -> None:
            scene, dice = self.scene, self.scene.dice
            self.first_section47[family] = self.first_section47[family] or moment
            self._tell("section47", scene.any_child(family, moment), moment, "{}")
            if dice.chance(rates.LOOKED_AFTER_SHARE):
                if severity == 2:
                    self._protect(family, moment + dice.between(HOUR, DAY))
                self.plan(
                    moment + dice.between(DAY, 10 * DAY),
                    family,
                    self.start_looked_after,
                    always=True,
                )
            elif dice.chance(rates.CONFERENCE_SHARE):
                self.plan(
                    moment + dice.between(9 * DAY, 16 * DAY), family, self._conference, always=True
                )

        self.plan(moment, family, enquire, always=True)

    def _protect(self, family: int, moment: int) -> None:
        scene = self.scene
        child = scene.any_child(family, moment)
        scene.out.put("police.protection.v1", child, moment, moment + 4 * HOUR, "{}")
        scene.out.put(
            "health.cpis_access.v1",
            child,
            moment + HOUR,
            moment + 2 * HOUR,
            '{"setting":"emergency_department"}',
        )

    def _conference(self, family: int, moment: int) -> None:
        scene, dice = self.scene, self.scene.dice
        if scene.tier[family] >= CHILD_PROTECTION:
            return
        self._tell("conference", scene.any_child(family, moment), moment, "{}")
        if dice.chance(rates.PLAN_SHARE):
            self.start_protection(family, moment + 2 * HOUR)

    def start_protection(self, family: int, moment: int) -> None:
        """A child protection plan: median nine months."""
        dice = self.scene.dice
        self.first_plan[family] = self.first_plan[family] or moment
        data = f'{{"plan":"child_protection","category":"{dice.weighted(CATEGORIES)}"}}'
        self._tell("plan_started", self.scene.any_child(family, moment), moment, data)
        self._enter(family, CHILD_PROTECTION, moment)
        self.plan(moment + int(dice.spread(260.0, 0.4) * DAY), family, self._end_protection)

    def _end_protection(self, family: int, moment: int) -> None:
        dice = self.scene.dice
        child = self.scene.any_child(family, moment)
        self._tell("plan_ended", child, moment, '{"plan":"child_protection"}')
        if dice.chance(0.12):
            self.start_looked_after(family, moment + HOUR)
        elif dice.chance(0.8):
            self.start_plan(family, moment + HOUR)
        else:
            self._close(family, moment + HOUR, "RC7")

    def start_looked_after(self, family: int, moment: int) -> None:
        """A child becomes looked after: median fifteen months."""
        dice = self.scene.dice
        if self.scene.tier[family] == LOOKED_AFTER:
            return
        self.first_looked_after[family] = self.first_looked_after[family] or moment
        status = dice.weighted((("C1", 0.45), ("V2", 0.35), ("C2", 0.20)))
        child = self.scene.any_child(family, moment)
        self._tell(
            "looked_after", child, moment, f'{{"status":"started","legal_status":"{status}"}}'
        )
        self._enter(family, LOOKED_AFTER, moment)
        self.plan(moment + int(dice.spread(450.0, 0.6) * DAY), family, self._end_looked_after)

    def _end_looked_after(self, family: int, moment: int) -> None:
        self._tell(
            "looked_after", self.scene.any_child(family, moment), moment, '{"status":"ended"}'
        )
        self._close(family, moment + HOUR, "RC7")

    def _assess(self, family: int, moment: int) -> None:
        scene, dice = self.scene, self.scene.dice
        if scene.tier[family] < CHILD_IN_NEED:
            return
        child = scene.any_child(family, moment)
        listed = ",".join(f'"{code}"' for code in self._found(family, moment))
        seen = "true" if dice.chance(0.93) else "false"
        self._tell("assessment", child, moment, f'{{"factors":[{listed}],"child_seen":{seen}}}')
        if scene.tier[family] > CHILD_IN_NEED:
            return
        if dice.chance(rates.IN_NEED_SHARE):
            self.start_plan(family, moment + dice.between(HOUR, 3 * DAY))
        else:
            self._close(family, moment + HOUR, dice.weighted((("RC8", 0.7), ("RC9", 0.3))))

    def _found(self, family: int, moment: int) -> list[str]:
        scene = self.scene
        told = {
            code for code, when in scene.factors[family].items() if when > moment - FACTOR_MEMORY
        }
        found = told | {code for code, share in HIDDEN_FACTORS if scene.dice.chance(share)}
        return sorted(found) or ["20"]

    def start_plan(self, family: int, moment: int) -> None:
        """A child in need plan: median seven months."""
        dice = self.scene.dice
        self._tell(
            "plan_started", self.scene.any_child(family, moment), moment, '{"plan":"child_in_need"}'
        )
        self._enter(family, CHILD_IN_NEED, moment)
        self.plan(moment + int(dice.spread(210.0, 0.6) * DAY), family, self._end_plan)

    def _end_plan(self, family: int, moment: int) -> None:
        child = self.scene.any_child(family, moment)
        self._tell("plan_ended", child, moment, '{"plan":"child_in_need"}')
        self._close(family, moment + HOUR, self.scene.dice.weighted((("RC7", 0.65), ("RC9", 0.35))))

    def _close(self, family: int, moment: int, reason: str) -> None:
        dice = self.scene.dice
        self._tell(
            "closure", self.scene.any_child(family, moment), moment, f'{{"reason":"{reason}"}}'
        )
        self._leave(family, moment)
        if reason == "RC9" and dice.chance(0.8):
            self.plan(
                moment + dice.between(DAY, 21 * DAY), family, self.start_early_help, always=True
            )

    # Early help.

    def self_refer(self, family: int, moment: int) -> None:
        """A family asks for help itself."""
        if self.scene.tier[family] == NONE:
            self.start_early_help(family, moment, asked=True)

    def start_early_help(self, family: int, moment: int, *, asked: bool = False) -> None:
        """An early-help episode: median seven months; a quarter stay open half a year too long."""
        scene, dice = self.scene, self.scene.dice
        if scene.tier[family] != NONE:
            return
        flag = "true" if asked else "false"
        self._tell(
            "started",
            scene.any_child(family, moment),
            moment,
            f'{{"self_referred":{flag}}}',
            source="early-help",
        )
        self._enter(family, EARLY_HELP, moment)
        length = int(dice.spread(210.0, 0.5) * DAY) + (180 * DAY if dice.chance(0.25) else 0)
        self.plan(moment + length, family, self._end_early_help)
        self.plan(moment + dice.between(35 * DAY, 70 * DAY), family, self._progress)

    def _progress(self, family: int, moment: int) -> None:
        scene, dice = self.scene, self.scene.dice
        met = dice.unit() > 0.45 + 0.3 * float(scene.drift[family])
        flag = "true" if met else "false"
        self._tell(
            "progress",
            scene.any_child(family, moment),
            moment,
            f'{{"goals_met":{flag}}}',
            source="early-help",
        )
        self.plan(moment + dice.between(42 * DAY, 84 * DAY), family, self._progress)

    def _end_early_help(self, family: int, moment: int) -> None:
        dice = self.scene.dice
        poor = min(max(0.3 + 0.25 * float(self.scene.drift[family]), 0.08), 0.8)
        bad = "disengaged" if dice.chance(0.5) else "unmet"
        good = "moved" if dice.chance(0.04) else "outcomes_met"
        self._early_help_ended(family, moment, bad if dice.chance(poor) else good)
        self._leave(family, moment)

    def _early_help_ended(self, family: int, moment: int, reason: str) -> None:
        child = self.scene.any_child(family, moment)
        self._tell("ended", child, moment, f'{{"reason":"{reason}"}}', source="early-help")

    # Shared.

    def _enter(self, family: int, tier: int, moment: int) -> None:
        self._episode[family] += 1
        self.scene.tier[family] = tier
        if tier >= CHILD_IN_NEED:
            self.plan(moment + self.scene.dice.between(3 * DAY, 20 * DAY), family, self._visit)

    def _leave(self, family: int, moment: int) -> None:
        self._episode[family] += 1
        self.scene.tier[family] = NONE
        self.scene.known_until[family] = moment + 365 * DAY

    def _visit(self, family: int, moment: int) -> None:
        scene, dice = self.scene, self.scene.dice
        seen = "true" if dice.chance(0.87) else "false"
        self._tell("visit", scene.any_child(family, moment), moment, f'{{"child_seen":{seen}}}')
        # Protection plans are visited every ten working days, others about monthly.
        often = scene.tier[family] == CHILD_PROTECTION
        self.plan(
            moment + (dice.between(9, 17) if often else dice.between(20, 42)) * DAY,
            family,
            self._visit,
        )

    def _tell(
        self,
        what: str,
        subject: str,
        moment: int,
        data: str,
        incident: str = "",
        source: str = "social-care",
    ) -> None:
        known = overnight(self.scene.dice, moment)
        self.scene.out.put(
            f"{source}.{what}.v1",
            subject,
            moment,
            known,
            data,
            recorded=moment + 30 * 60,
            incident=incident,
        )
