"""The dispatcher: takes jobs from the queue, admits them, calls their models, records what came of it."""

from streams.dispatcher.attempt import AttemptRun, Models, Spending
from streams.dispatcher.pace import Pace
from streams.dispatcher.worker import Dispatcher

__all__ = ["AttemptRun", "Dispatcher", "Models", "Pace", "Spending"]
