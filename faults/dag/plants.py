"""Dispatchers with a bug that the campaign must find, or its clean runs prove nothing."""

from collections.abc import Mapping
from decimal import Decimal

from commands.llm_jobs import AdmitLlmJob
from commands.models import LanguageModel, ModelReply, ModelRequest
from domain.pricing import Quote
from streams.dispatcher import AttemptRun, Dispatcher


class _SendsTwice(AttemptRun):
    """Asks again under the same attempt id, as an SDK with its own retries would."""

    async def _answer(self, model: LanguageModel, request: ModelRequest) -> ModelReply:
        await super()._answer(model, request)
        return await super()._answer(model, request)


class _ForgetsTheAdmission(AttemptRun):
    """Asks before any budget holds anything, and tells the log afterwards."""

    async def run(self) -> float:
        if self.job.status == "queued":
            await self._call(await self._prepare(), 0)
        return 0.5


class _HoldsNothing(AttemptRun):
    """Believes that every call is free until its bill comes."""

    async def _admission(self, request: ModelRequest, bound: Decimal, least: Decimal, quote: Quote) -> AdmitLlmJob:
        return await super()._admission(request, bound * 0, least * 0, quote)


class _Twice(Dispatcher):
    """See `_SendsTwice`."""

    ATTEMPT = _SendsTwice


class _Unadmitted(Dispatcher):
    """See `_ForgetsTheAdmission`."""

    ATTEMPT = _ForgetsTheAdmission


class _Free(Dispatcher):
    """See `_HoldsNothing`."""

    ATTEMPT = _HoldsNothing


PLANTS: Mapping[str, type[Dispatcher]] = {
    "": Dispatcher,
    "sends-twice": _Twice,
    "forgets-the-admission": _Unadmitted,
    "holds-nothing": _Free,
}
"""By name; the first has no bug."""
EXPOSED_BY: Mapping[str, str] = {
    "sends-twice": "asked twice",
    "forgets-the-admission": "not admitted",
    "holds-nothing": "overdrawn",
}
"""The finding that each must lead to."""
