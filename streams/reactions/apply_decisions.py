"""When a checkpoint is decided or has expired, its agent goes on, tries again or has failed."""

from collections.abc import Iterable

from commands.agents import ApplyDecision
from commands.handling import Command
from domain.checkpoints import Checkpoint
from domain.kernel import Event
from domain.log import StoredEvent
from streams.reacting import reaction


@reaction(Checkpoint.Resolved, Checkpoint.Expired)
def apply_decisions(happened: Event, stored: StoredEvent) -> Iterable[Command]:
    """What was decided is read from the checkpoint itself."""
    if isinstance(happened, Checkpoint.Resolved | Checkpoint.Expired):
        yield ApplyDecision(agent_id=happened.agent_id, checkpoint_id=stored.stream_id)
