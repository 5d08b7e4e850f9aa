"""What `toybox doctor` finds of providers' health: open circuits, and jobs that wait for nothing else."""

from projections.llm_jobs import LlmJobs, jobs_cut_off
from projections.projector import reading
from projections.provider_health import ProviderHealths, provider_healths
from toybox.findings import Finding, Level
from toybox.system import System

MOST_TOLD = 200
"""Providers that are looked at."""


async def examine_circuits(system: System) -> Finding:
    """A job that waits for a circuit is an alarm: nothing but a probe, or an operator, lets it go on."""
    async with reading(system.pool, ProviderHealths, LlmJobs) as seen:
        page = await provider_healths(seen.connection, limit=MOST_TOLD)
        waiting = await jobs_cut_off(seen.connection)
    told = [
        f"{row.view.name}{f'/{each.model}' if each.model else ''} {each.state.replace('_', ' ')} since"
        f" {each.opened_at:%Y-%m-%d %H:%M} UTC ({each.cause})"
        for row in page.items
        for each in row.view.circuits
    ]
    if not told:
        return Finding("circuits", "ok", "all closed")
    level: Level = "problem" if waiting else "warning"
    jobs = f"{waiting} queued jobs have nowhere else to go" if waiting else "no job waits for it"
    fix = "toybox providers health says why, and when a job may probe it; toybox providers close PROVIDER ends it"
    return Finding("circuits", level, f"{'; '.join(told)}; {jobs}", fix)
