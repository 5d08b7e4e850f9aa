"""Duties at a broker that one process at a time has: lead, go on until something is in doubt, begin anew, or halt."""

import asyncio
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, NoReturn

import structlog

from domain.errors import ToyboxError, Unavailable
from domain.following import Leadership
from domain.relaying import Outlet

HALT_SECONDS = 10.0
"""How soon a halted duty looks again whether somebody has put things right."""
Phase = Literal["stopped", "standby", "starting", "relaying", "publishing", "waiting", "halted"]


class Halted(ToyboxError):
    """Going on would tear or fork what readers hold for the truth; a person must look at it."""

    code = "halted"


@dataclass(slots=True)
class DutyState:
    """What a duty says of itself, for metrics, readiness and `toybox doctor`. Changed by it alone."""

    phase: Phase = "stopped"
    alarm: str | None = None
    """Why it has halted; a person must act. Cleared by itself once that is done."""
    alarm_code: str | None = None
    last_error: str | None = None
    """The last thing that went wrong and was tried again."""
    obstacle: str | None = None
    """What keeps it from going on at this moment and is tried again; None as soon as it is overcome."""
    obstacle_code: str | None = None

    def goes_on(self, phase: Phase) -> None:
        """Nothing is in the way any more."""
        self.alarm = self.alarm_code = self.obstacle = self.obstacle_code = None
        self.phase = phase

    def halts(self, halt: Halted) -> None:
        """Until a person has acted."""
        self.phase, self.alarm, self.alarm_code = "halted", str(halt), halt.code

    def begins_anew(self, away: Unavailable) -> None:
        """In a moment; what it has halted for before still holds."""
        self.phase = "halted" if self.alarm else "waiting"
        self.last_error = self.obstacle = str(away)
        self.obstacle_code = away.code


class Duty(ABC):
    """Whoever leads does it, with one producer at a time, which is given up whenever anything is in doubt."""

    def __init__(self, name: str, outlet: Outlet, leadership: Leadership, state: DutyState, pause: float = 0.0) -> None:
        self._name = name
        self._outlet = outlet
        self._leadership = leadership
        self._duty = state
        self._least_pause = pause
        self._log = structlog.get_logger(f"toybox.{name}")

    async def run(self) -> None:
        """Lead whenever possible, until cancelled."""
        try:
            while True:
                pause = await self._turn()
                await asyncio.sleep(pause)
        finally:
            await self._outlet.discard()
            self._duty.phase = "stopped"

    @abstractmethod
    async def go_on(self) -> NoReturn:
        """Find out where to go on, and do so; Halted and Unavailable end it."""
        ...

    async def _turn(self) -> float:
        """Lead until something is in doubt; answers how long to wait before the next turn."""
        state = self._duty
        state.phase = "halted" if state.alarm else "standby"
        try:
            async with self._leadership.leading(self._name):
                try:
                    await self.go_on()
                finally:
                    await self._outlet.discard()
        except Halted as halt:
            if state.alarm != str(halt):
                self._log.error("halted", code=halt.code, reason=str(halt))
            state.halts(halt)
            return HALT_SECONDS
        except Unavailable as away:
            state.begins_anew(away)
            self._log.warning("begins anew", reason=str(away))
            return max(away.retry_after, self._least_pause)
