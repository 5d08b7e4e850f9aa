"""The dispatcher: takes jobs from the queue, admits them, calls their models, records what came of it."""

from streams.dispatcher.attempt import Models, Spending
from streams.dispatcher.worker import Dispatcher

__all__ = ["Dispatcher", "Models", "Spending"]
