"""The live feed: one tail of the log for the process, its events encoded once and shared by everybody who listens."""

from api.feed.listening import Listener
from api.feed.selecting import Selection
from api.feed.stream import FeedResponse
from api.feed.tail import Tail

__all__ = ["FeedResponse", "Listener", "Selection", "Tail"]
