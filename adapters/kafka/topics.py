"""Topics of a Kafka cluster: what there is, with every setting, and making new ones."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from adapters.kafka.client import client, make
from adapters.kafka.connecting import Cluster
from adapters.kafka.lane import Lane
from adapters.kafka.saying import away
from domain.relaying import BrokerAway, TopicFacts

SECONDS = 45.0
"""For one question; a broker that is away is noticed sooner, by the client's own timeouts."""
_UNKNOWN_TOPIC = 3


class KafkaTopics:
    """A connection for each question: they are rare."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def describe(self, names: Collection[str]) -> Mapping[str, TopicFacts]:
        """Those of the topics that exist."""
        return await self._ask(lambda admin: _described(admin, list(names)))

    async def create(self, topics: Sequence[TopicFacts]) -> None:
        """Make them one by one, so that one that somebody else was quicker with does not spoil the others."""
        await self._ask(lambda admin: _create(admin, topics))

    async def _ask(self, question: Any) -> Any:
        def ask() -> Any:
            admin = make("KafkaAdminClient", self._cluster.options(client_id="toybox-topics"))
            try:
                return question(admin)
            finally:
                admin.close()

        lane = Lane("kafka-topics")
        try:
            with away():
                return await lane.run(ask, seconds=SECONDS)
        finally:
            lane.leave()


def _described(admin: Any, names: list[str]) -> dict[str, TopicFacts]:
    there: dict[str, Any] = {}
    for each in admin.describe_topics(names):
        if each["error_code"] == 0:
            there[each["name"]] = each
        elif each["error_code"] != _UNKNOWN_TOPIC:
            raise BrokerAway(f"Kafka cannot describe topic {each['name']}: error {each['error_code']}")
    library = client("kafka.admin")
    asked = [library.ConfigResource(library.ConfigResourceType.TOPIC, name) for name in there]
    settings = admin.describe_configs(asked, config_filter="all")["topic"] if asked else {}
    return {
        name: TopicFacts(
            name=name,
            partitions=len(each["partitions"]),
            replication=min(len(one["replica_nodes"]) for one in each["partitions"]),
            settings={key: held["value"] for key, held in settings[name].items()},
            id=str(each["topic_id"]),
        )
        for name, each in there.items()
    }


def _create(admin: Any, topics: Sequence[TopicFacts]) -> None:
    errors = client("kafka.errors")
    for each in topics:
        asked = {
            "num_partitions": each.partitions,
            "replication_factor": each.replication,
            "configs": dict(each.settings),
        }
        try:
            admin.create_topics({each.name: asked}, wait_for_metadata=True)
        except errors.TopicAlreadyExistsError:
            continue
        except errors.InvalidReplicationFactorError as error:
            raise BrokerAway(
                f"Kafka has too few brokers for {each.replication} replicas of {each.name}: "
                f"start more, or lower the setting for replication",
                code="broker_too_small",
            ) from error
