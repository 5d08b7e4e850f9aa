"""What `toybox doctor` finds of webhooks: those that are told nothing any more, what was given up, what is shut."""

from collections.abc import Sequence

from domain.posting import DeliveryStanding
from domain.webhooks import Webhook
from streams.webhooks.subscription import Subscription
from toybox.findings import Finding
from toybox.system import System

SHOWN = 3


async def examine_webhooks(system: System) -> list[Finding]:
    """By the log and what lies beside it; nothing is sent."""
    door = system.webhooks
    known = await door.deliveries.webhooks()
    histories = await system.store.read_streams(known)
    found = [each.webhook for history in histories.values() if (each := Subscription.of(history))]
    there = [each for each in found if each.status != "removed"]
    if not there:
        return [Finding("webhooks", "ok", "none")]
    standings = await door.deliveries.standings()
    secrets = await door.secrets.reveal([each.secret_id for each in there])
    findings: list[Finding] = []
    if shut := [each for each in there if isinstance(secrets[each.secret_id], str)]:
        said = f"the secrets of {len(shut)} cannot be opened: {_named(shut)}"
        findings.append(Finding("webhooks", "problem", said, str(secrets[shut[0].secret_id])))
    if disabled := [each for each in there if each.status == "disabled"]:
        fix = "toybox webhooks show says why; toybox webhooks test tries it; then toybox webhooks resume"
        findings.append(Finding("webhooks", "problem", f"disabled: {_named(disabled)}", fix))
    letters = {each.id: standing.dead_letters for each in there if (standing := standings.get(each.id))}
    if dead := [each for each in there if letters.get(each.id)]:
        said = f"{sum(letters.values())} deliveries were given up: {_named(dead)}"
        fix = "toybox webhooks dead-letters says why; with --requeue they are tried once more"
        findings.append(Finding("webhooks", "warning", said, fix))
    failing = [each for each in there if each.status == "active" and _fails(standings.get(each.id))]
    if failing:
        fix = "toybox webhooks deliveries says what they answer"
        findings.append(Finding("webhooks", "warning", f"nothing arrives at {_named(failing)}", fix))
    return findings or [Finding("webhooks", "ok", f"{len(there)}, each is told or waits for news")]


def _fails(standing: DeliveryStanding | None) -> bool:
    return standing is not None and standing.failing_since is not None


def _named(webhooks: Sequence[Webhook]) -> str:
    shown = ", ".join(f"{str(each.id)[:8]} ({each.origin})" for each in webhooks[:SHOWN])
    return f"{shown} and {len(webhooks) - SHOWN} more" if len(webhooks) > SHOWN else shown
