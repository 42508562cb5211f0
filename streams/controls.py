"""Controls and the clock: what operators put in force, and the heartbeats that are each authority's log time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ehps.errors import EhpsError
from ehps.library import Library
from schemas.control import Control, Heartbeat
from schemas.validate import Rejection, validate_control
from streams import metrics
from streams.intake import dead_letter
from streams.kafka import Sender
from streams.logs import logger
from streams.logwriter import NO_TIME, LogWriter
from streams.patience import Clock, utc_now
from streams.ports import Certain, Lookups, Stretch
from streams.registry import HISTORY, LIVE
from streams.segments import Record

JUMP_MAX = timedelta(minutes=10)
"""A live heartbeat may differ this much from the broker's time, unless an operator signs the jump."""
RESTATED_EVERY = timedelta(hours=1)
"""So often, with a heartbeat, what is in force is told again: a partition that missed it has it then."""
AHEAD_MIN = timedelta(minutes=5)
"""A control takes effect this much after the broker has it, so that every partition has it before."""


class Controls:
    """Controls and operators' heartbeats, onto every partition of the log.

    Whether one comes in time is told by the broker's time of its record, so that a repeat after a crash
    is judged as it was before.
    """

    def __init__(
        self,
        registry: Lookups,
        sender: Sender,
        log: LogWriter,
        library: Library,
        certain: Certain,
        clock: Clock = utc_now,
    ) -> None:
        """Each is confirmed on every partition before the next; `library` is what they may name."""
        self._registry, self._sender, self._log = registry, sender, log
        self._library, self._certain, self._clock = library, certain, clock

    def take(self, stretch: Stretch, records: list[Record]) -> None:
        """One batch."""
        now = self._clock()
        for record in records:
            appended = datetime.fromtimestamp(record.timestamp_ms / 1000, UTC)
            verdict = validate_control(record.value)
            if not isinstance(verdict, Rejection):
                verdict = self._put(verdict.control, verdict.heartbeat, appended) or verdict
            if isinstance(verdict, Rejection):
                dead_letter(self._sender, record, verdict, now, "control")
        self._sender.confirm()
        self._registry.learn(stretch)

    def _put(
        self, control: Control | None, heartbeat: Heartbeat | None, appended: datetime
    ) -> Rejection | None:
        if control is not None:
            return self._not_held(control) or self._put_control(control, appended)
        if heartbeat is not None:
            return self._put_heartbeat(heartbeat, appended)
        return None

    def _not_held(self, control: Control) -> Rejection | None:
        """A scorer without the content would stop: it is refused before that."""
        try:
            self._library.resolve(control.kernel, control.release, control.rules, control.policy)
        except EhpsError:
            hint = (
                "what `ehps content list` shows; give every worker the files first (EHPS_CONTENT)"
            )
            return Rejection("unknown_content", "control", "content that is not held here", hint)
        return None

    def _put_control(self, control: Control, appended: datetime) -> Rejection | None:
        first = control.id == f"first-{control.la}"
        if not first and control.effective < appended + AHEAD_MIN:
            hint = f"a time at least {AHEAD_MIN.seconds // 60} minutes after it is sent"
            return Rejection("wrong_value", "control.effective", "a time too soon", hint)
        self._log.control(control)
        self._registry.note_control(control.la, control.id, control.model_dump_json().encode())
        if control.la not in self._registry.authorities():
            self._log.broker_time(control.la)  # says on the log that its clock is live
            begins = max(appended, control.effective)
            self._log.beat(Heartbeat(la=control.la, time=begins, sources={}))
            self._registry.set_authority(control.la, LIVE)
        return None

    def _put_heartbeat(self, heartbeat: Heartbeat, appended: datetime) -> Rejection | None:
        modes = self._registry.served()
        self._certain({heartbeat.la} - modes.keys())
        if heartbeat.la not in modes:
            hint = "the ONS code of an authority that has a control"
            return Rejection(
                "unknown_authority", "heartbeat.la", "an authority without control", hint
            )
        jumps = abs(heartbeat.time - appended) > JUMP_MAX and not heartbeat.jump_signed_by
        if jumps and modes[heartbeat.la] != HISTORY:
            hint = "the present time, or jump_signed_by"
            return Rejection("wrong_value", "heartbeat.time", "more than ten minutes off", hint)
        self._log.beat(heartbeat)
        return None


class Pulse:
    """The live clock: a heartbeat for every authority that is live, with its sources' last signs of life."""

    def __init__(self, registry: Lookups, log: LogWriter, clock: Clock = utc_now) -> None:
        """Run by one process only: the owner of the control topic's partition."""
        self._registry, self._log, self._clock = registry, log, clock
        self._restated: dict[str, datetime] = {}

    def beat(self) -> None:
        """One heartbeat for each live authority; none while this clock is far from the broker's."""
        now, modes = self._clock(), self._registry.authorities()
        for la, mode in modes.items():
            metrics.LIVE.labels(la).set(mode == LIVE)
        live = [la for la, mode in modes.items() if mode == LIVE]
        if not live or self._refused(live[0], now):
            return
        for la in live:
            if now - self._restated.get(la, NO_TIME) >= RESTATED_EVERY:
                self._restate(la, now)
            signs = {
                source: datetime.fromtimestamp(at, UTC)
                for source, at in self._registry.signs(la).items()
            }
            self._log.beat(Heartbeat(la=la, time=now, sources=signs))
            logger().debug("pulse.beat", la=la)

    def _restate(self, la: str, now: datetime) -> None:
        """What is in force, and what will be, once more to every partition: one that holds it sees so by the ids."""
        held = self._registry.controls(la)
        controls = sorted(
            map(Control.model_validate_json, held.values()), key=lambda c: c.effective
        )
        begun = [control for control in controls if control.effective <= now]
        self._registry.forget_controls(la, [control.id for control in begun[:-1]])
        for control in controls[max(0, len(begun) - 1) :]:
            self._log.control(control)
        self._restated[la] = now

    def _refused(self, la: str, now: datetime) -> bool:
        """One wrong clock must not age every family."""
        there = self._log.broker_time(la)
        off_s = 0.0 if there is None else (now - there).total_seconds()
        if abs(off_s) <= JUMP_MAX.total_seconds():
            return False
        logger().error("pulse.refused", off_s=round(off_s))
        metrics.OUTAGES.labels("pulse", "WrongClock").inc()
        return True
