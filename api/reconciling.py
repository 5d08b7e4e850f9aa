"""Late usage on its way to its attempt: priced as on the day of the request, compared with what is known already."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date
from decimal import Decimal
from uuid import UUID

from api.bodies import checked
from api.rerating import folded
from commands.llm_jobs import ReportUsage
from domain.costs import Cost, CostLine
from domain.errors import NotFound, Refused
from domain.ids import attempt_id, cost_id
from domain.llm_jobs import LlmJob
from domain.log import LogReader, StoredEvent
from domain.pricing import Catalogue, Usage, lines_of, reported_line, total
from domain.pricing.counted import Counted
from domain.values import money_text


@dataclass(frozen=True, slots=True)
class LateBill:
    """What somebody says that an attempt used, and what that costs."""

    job_id: UUID
    attempt: int
    attempt_id: UUID
    command: ReportUsage
    usage: Usage
    lines: list[CostLine]
    amount: Decimal
    known: Cost | None

    @property
    def is_new(self) -> bool:
        """Whether anything waits for it."""
        return self.known is None or self.known.estimated

    def difference(self) -> str | None:
        """In which words it contradicts what was counted; None where it says the same."""
        if self.known is None or self.known.estimated:
            return None
        said = list[str]()
        if (usage := self.known.usage) is not None:
            for name in ("input_tokens", "output_tokens", "cached_tokens"):
                ours, theirs = getattr(usage, name), getattr(self.usage, name)
                if ours != theirs:
                    said.append(f"{name.replace('_', ' ')} {ours} here, {theirs} there")
            if usage.tier != self.usage.tier:
                said.append(f"tier {usage.tier} here, {self.usage.tier} there")
        if self.known.amount != self.amount:
            said.append(f"{money_text(self.known.amount)} USD here, {money_text(self.amount)} USD there")
        return "; ".join(said) or None


async def late_bill(reader: LogReader, catalogue: Catalogue, job_id: UUID, number: int, counted: Counted) -> LateBill:
    """The bill for late usage; NotFound for an attempt that was never sent, PriceUnknown where it has no price."""
    history = await reader.read_stream(job_id)
    if not history or history[0].type != LlmJob.Queued.TYPE:
        raise NotFound(f"there is no job {job_id}")
    admitted = next((each for each in history if _admits(each, number)), None)
    if admitted is None:
        raise NotFound(f"attempt {number} of job {job_id} was never admitted: nothing was sent for it")
    queued, facts, attempt = history[0].payload(), admitted.payload(), attempt_id(job_id, number)
    known = folded(await reader.read_stream(cost_id(attempt)))
    provider = known.provider if known else facts["provider"]
    day: date = known.price_day if known else admitted.recorded_at.astimezone(UTC).date()
    usage = counted.usage(known.model if known else facts["model"])
    lines = reported_line(usage, provider) or lines_of(usage, lambda model: catalogue.quote(provider, model, day))
    kept = [CostLine(**asdict(line)) for line in lines]
    command = checked(
        ReportUsage,
        job_id=job_id,
        project_id=history[0].project_id,
        phase=queued["phase"],
        agent_id=queued["agent_id"],
        attempt=number,
        usage=usage,
        lines=kept,
        amount=total(lines),
        priced_on=day,
    )
    return LateBill(job_id, number, attempt, command, usage, kept, total(lines), known)


def _admits(stored: StoredEvent, number: int) -> bool:
    return stored.type == LlmJob.Admitted.TYPE and stored.payload()["attempt"] == number


async def number_of(reader: LogReader, job_id: UUID, attempt: UUID) -> int:
    """The number of an attempt within its job."""
    for stored in await reader.read_stream(job_id):
        if stored.type == LlmJob.Admitted.TYPE and UUID(stored.payload()["attempt_id"]) == attempt:
            return int(stored.payload()["attempt"])
    raise NotFound(f"job {job_id} has no attempt {attempt}")


def only(found: Sequence[tuple[UUID, UUID]], response_id: str) -> tuple[UUID, UUID] | None:
    """The one attempt that was answered under an id; Refused when several were."""
    if len(found) > 1:
        raise Refused(
            f"{len(found)} attempts were answered as {response_id}: name the attempt_id of one", code="ambiguous"
        )
    return found[0] if found else None
