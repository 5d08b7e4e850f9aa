"""The runners that follow Kafka: the same projections and reactions, by partition, in as many workers as are wanted."""

from streams.partitioned.reactions import KafkaReactions
from streams.partitioned.view import stays_on_the_log
from streams.partitioned.views import KafkaViews

__all__ = ["KafkaReactions", "KafkaViews", "stays_on_the_log"]
