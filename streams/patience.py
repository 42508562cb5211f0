"""What passes by itself is waited for: a broker or Redis away, a failed delivery, another owner's commit."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from schemas.envelope import SENT_UTC
from streams import metrics, redisclient
from streams.errors import BrokerUnavailable, Conflict, DeliveryFailed, LookupsLost
from streams.logs import logger
from streams.throttle import ThrottleStalled

_PASSING = (DeliveryFailed, Conflict, BrokerUnavailable, LookupsLost, ThrottleStalled)
OUTAGE_S_MAX = 600.0
"""After this long without success the process ends, and whoever supervises it decides."""
BACK_OFF_S = (0.2, 5.0)


def passes(error: BaseException) -> bool:
    """Whether it is worth trying again: everything else ends the process."""
    return isinstance(error, _PASSING) or redisclient.passes(error)


Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The process's clock: the shell has one, the core has none."""
    return datetime.now(SENT_UTC)


class Flag(Protocol):
    """`threading.Event`: set to stop."""

    def is_set(self) -> bool:
        """Whether to stop."""

    def wait(self, timeout: float) -> bool:
        """Wait for it, `timeout` seconds at most."""


class Patience:
    """Does work again and again, waiting longer after each failure that passes."""

    def __init__(
        self,
        name: str,
        clock: Callable[[], float] = time.monotonic,
        told: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`name` for the log; `clock` in seconds, monotonic; `told` hears of what is waited out."""
        self._name, self._clock, self._told = name, clock, told
        self._failing_since: float | None = None
        self._delay = BACK_OFF_S[0]

    def attempt(self, work: Callable[[], None], stop: Flag) -> bool:
        """Do it once. False: it failed, and was waited for.

        Raises:
            Exception: what does not pass, or has not passed for `OUTAGE_S_MAX`.
        """
        try:
            work()
        except Exception as error:
            if not passes(error):
                raise
            self._failing_since = self._failing_since or self._clock()
            if self._clock() - self._failing_since > OUTAGE_S_MAX:
                raise
            reason = redisclient.reason_of(error)
            logger().warning(f"{self._name}.again", reason=reason, wait_s=self._delay)
            metrics.OUTAGES.labels(self._name, reason).inc()
            self._told(reason)
            stop.wait(self._delay)
            self._delay = min(self._delay * 2, BACK_OFF_S[1])
            return False
        self._failing_since, self._delay = None, BACK_OFF_S[0]
        return True
