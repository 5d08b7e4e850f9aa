"""Topics on a real broker: made once, never changed, and every wrong setting is said with its remedy."""

import pytest

from adapters.kafka.connecting import Cluster
from adapters.kafka.topics import KafkaTopics
from domain.relaying import BrokerAway, TopicFacts
from streams.topics import Topics, check, fatal, init
from tests.support.kafka_broker import free_ports


async def test_all_topics_are_made_once_and_are_then_as_they_should_be(kafka_server: str, kafka_prefix: str) -> None:
    admin, topics = KafkaTopics(Cluster(kafka_server)), Topics.named(kafka_prefix)
    assert len(await check(admin, topics, replication=1)) == 6
    assert await init(admin, topics, replication=1) == [each.name for each in topics]
    assert await init(admin, topics, replication=1) == []
    assert await check(admin, topics, replication=1) == []
    there = await admin.describe([topics.events.name, topics.projects.name])
    assert there[topics.events.name].partitions == 12
    assert there[topics.events.name].settings["cleanup.policy"] == "delete"
    assert there[topics.projects.name].settings["cleanup.policy"] == "compact"
    assert len({each.id for each in there.values()}) == 2


async def test_wrong_topics_are_found_and_left_as_they_are(kafka_server: str, kafka_prefix: str) -> None:
    admin, topics = KafkaTopics(Cluster(kafka_server)), Topics.named(kafka_prefix)
    wanted = topics.events.facts(1).settings
    compacted = {**wanted, "cleanup.policy": "compact"}
    passing = {**topics.costs.facts(1).settings, "retention.ms": "604800000"}
    tight = {**topics.dead_letters.facts(1).settings, "max.message.bytes": "1000"}
    await admin.create(
        [
            TopicFacts(topics.events.name, 3, 1, compacted),
            TopicFacts(topics.costs.name, 12, 1, passing),
            TopicFacts(topics.dead_letters.name, 1, 1, tight),
        ]
    )
    await init(admin, topics, replication=1)
    found = await check(admin, topics, replication=1)
    said = {(each.topic, each.setting): each for each in found}
    assert set(said) == {
        (topics.events.name, "partitions"),
        (topics.events.name, "cleanup.policy"),
        (topics.costs.name, "retention.ms"),
        (topics.dead_letters.name, "max.message.bytes"),
    }
    assert [each.fatal for each in found] == [True, True, True, False]
    assert len(fatal(found)) == 3
    assert str(said[topics.events.name, "partitions"]).startswith(f"{topics.events.name}: partitions is 3, not 12: ")
    assert "retention.ms=-1" in said[topics.costs.name, "retention.ms"].remedy


async def test_too_few_brokers_for_the_replication_are_said_so(kafka_server: str, kafka_prefix: str) -> None:
    admin, topics = KafkaTopics(Cluster(kafka_server)), Topics.named(kafka_prefix)
    with pytest.raises(BrokerAway, match="too few brokers for 3 replicas"):
        await init(admin, topics, replication=3)
    await init(admin, topics, replication=1)
    lacking = await check(admin, topics, replication=3)
    assert {each.setting for each in lacking} == {"replication", "min.insync.replicas"}
    assert not fatal(lacking)


async def test_a_broker_that_is_away_is_said_so(loopback: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(f"{loopback}:{free_ports(1)[0]}", client={"bootstrap_timeout_ms": 300})
    with pytest.raises(BrokerAway, match="Kafka is away"):
        await KafkaTopics(cluster).describe(["toybox.events"])
