"""Brokers that want certificates, names and passwords: who has them gets in, what is wrong is told with its setting."""

import gc
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from adapters.kafka.connecting import Cluster
from adapters.kafka.topics import KafkaTopics
from commands.budgets import ChangeBudgetLimit, OpenBudget
from commands.handling import Caller
from domain.errors import Refused
from domain.ids import Scope, budget_id
from domain.relaying import BrokerAway
from tests.streams.relaying import Stage, open_store, running, until, write
from tests.support.kafka_broker import free_ports
from tests.support.kafka_security import PASSWORD, USER, SecuredKafka
from tests.support.story import OWNER
from toybox.relaying import relay_of
from toybox.settings import Settings
from toybox.system import running as process

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <:ResourceWarning")
LOGIN = {"kafka_username": USER, "kafka_password": SecretStr(PASSWORD)}


@pytest.fixture(autouse=True)
def dropped_sockets(request: pytest.FixtureRequest) -> Iterator[None]:
    """kafka-python drops a socket unclosed when a broker turns it away: found here, so that no other test finds it."""
    yield
    if request.node.get_closest_marker("allow_hosts"):
        gc.collect()


def settings(**given: Any) -> Settings:
    """Settings with these, of Kafka, and nothing from anywhere else."""
    return Settings(**given)


def ways(kafka: SecuredKafka) -> dict[str, dict[str, Any]]:
    """Every way to be let in."""
    mine = {"kafka_cert_file": kafka.cert_file, "kafka_key_file": kafka.key_file}
    tls = {"kafka_ca_file": kafka.ca_file}
    return {
        "ssl": {"kafka": kafka.ssl, "kafka_security": "ssl", **tls, **mine},
        "scram": {
            "kafka": kafka.sasl_ssl, "kafka_security": "sasl_ssl", "kafka_sasl_mechanism": "SCRAM-SHA-512",
            **tls, **LOGIN,
        },
        "plain": {
            "kafka": kafka.sasl_plaintext, "kafka_security": "sasl_plaintext", "kafka_sasl_mechanism": "PLAIN",
            **LOGIN,
        },
    }  # fmt: skip


@pytest.mark.parametrize("way", ["ssl", "scram", "plain"])
async def test_the_relay_works_through_every_door(way: str, kafka_secured: SecuredKafka, database: str) -> None:
    given = settings(**ways(kafka_secured)[way], kafka_prefix=f"secured-{way}")
    async with open_store(database) as store:
        relay = relay_of(given, store, database)
        async with running(relay):
            await write(store, 60)
            await until(lambda: relay.state.position == 60)
        stage = Stage(database, store, kafka_secured.broker.address, given.kafka_prefix)
        assert not await stage.complaints()
        assert (await relay.look()).position == 60


@pytest.mark.parametrize("way", ["ssl", "scram", "plain"])
async def test_a_worker_on_kafka_reads_through_every_door(
    way: str, kafka_secured: SecuredKafka, database: str, data_home: Path
) -> None:
    given = settings(
        **ways(kafka_secured)[way],
        kafka_prefix=f"followed-{way}",
        follow="kafka",
        database_url=SecretStr(database),
        data_dir=data_home / "toybox",
    )
    async with process(given, roles=["api", "projector", "relay"], environ={}) as system:
        opening = OpenBudget(scope=Scope(kind="global"), limit=Decimal(1))
        await system.commands.send(opening, Caller(OWNER, "http", "a budget"))
        await until(lambda: system.duties["views"].phase == "following")
        changing = ChangeBudgetLimit(budget_id=budget_id(opening.scope), limit=Decimal(2))
        await system.commands.send(changing, Caller(OWNER, "http", "more of it"))
        await system.follower.wait_for(["budget_states"], await system.store.head(), 60)


async def refusal(secured: SecuredKafka, way: str, **wrong: Any) -> BrokerAway:
    """What is said when these settings take the place of the right ones."""
    cluster = settings(**{**ways(secured)[way], **wrong}).cluster()
    impatient: Cluster = replace(cluster, client={"bootstrap_timeout_ms": 1500})
    with pytest.raises(BrokerAway) as told:
        await KafkaTopics(impatient).describe(["toybox.events"])
    assert PASSWORD not in str(told.value)
    return told.value


@pytest.mark.parametrize("way", ["scram", "plain"])
async def test_a_wrong_password_is_told(way: str, kafka_secured: SecuredKafka) -> None:
    said = await refusal(kafka_secured, way, kafka_password=SecretStr("battery-staple"))
    assert said.code == "kafka_login_refused"
    assert "TOYBOX_KAFKA_PASSWORD" in str(said)
    assert "battery-staple" not in str(said)


async def test_an_unknown_user_is_told(kafka_secured: SecuredKafka) -> None:
    assert "TOYBOX_KAFKA_USERNAME" in str(await refusal(kafka_secured, "scram", kafka_username="somebody"))


async def test_a_mechanism_that_the_broker_does_not_take_is_told_with_those_that_it_does(
    kafka_secured: SecuredKafka,
) -> None:
    said = str(await refusal(kafka_secured, "plain", kafka_sasl_mechanism="scram-sha-256"))
    assert "TOYBOX_KAFKA_SASL_MECHANISM" in said
    assert "SCRAM-SHA-512" in said


@pytest.mark.parametrize("way", ["ssl", "scram"])
async def test_a_certificate_of_an_unknown_authority_is_not_believed(way: str, kafka_secured: SecuredKafka) -> None:
    said = await refusal(kafka_secured, way, kafka_ca_file=kafka_secured.foreign_ca_file)
    assert said.code == "kafka_untrusted"
    assert "TOYBOX_KAFKA_CA_FILE" in str(said)


async def test_a_broker_that_wants_a_certificate_is_told(kafka_secured: SecuredKafka) -> None:
    said = str(await refusal(kafka_secured, "ssl", kafka_cert_file=None, kafka_key_file=None))
    assert "TOYBOX_KAFKA_CERT_FILE" in said


async def test_a_file_that_is_no_certificate_is_told(kafka_secured: SecuredKafka) -> None:
    said = str(await refusal(kafka_secured, "scram", kafka_ca_file=kafka_secured.key_file))
    assert "TOYBOX_KAFKA_CA_FILE" in said


async def test_another_protocol_than_the_brokers_is_told(kafka_secured: SecuredKafka) -> None:
    plain = kafka_secured.broker.address
    assert "TOYBOX_KAFKA_SECURITY" in str(await refusal(kafka_secured, "ssl", kafka=plain))
    assert "TOYBOX_KAFKA_SECURITY" in str(await refusal(kafka_secured, "plain", kafka=plain))
    assert "TOYBOX_KAFKA_SECURITY" in str(await refusal(kafka_secured, "plain", kafka=kafka_secured.ssl))


async def test_a_port_where_nobody_listens_is_told(loopback: str) -> None:
    cluster = settings(kafka=f"{loopback}:{free_ports(1)[0]}").cluster()
    with pytest.raises(BrokerAway, match=r"nobody answers at .* TOYBOX_KAFKA"):
        await KafkaTopics(replace(cluster, client={"bootstrap_timeout_ms": 300})).describe(["toybox.events"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"kafka": "broker"}, "host:port"),
        ({"kafka": "kafka://broker:9092"}, "without a scheme"),
        ({"kafka": "a:1,b:99999"}, "'b:99999'"),
        ({"kafka": "a:1", "kafka_security": "sasl_ssl", "kafka_username": "x"}, "TOYBOX_KAFKA_SASL_MECHANISM and"),
        ({"kafka": "a:1", "kafka_username": "x"}, "TOYBOX_KAFKA_SECURITY=sasl_ssl"),
        ({"kafka": "a:1", "kafka_ca_file": "ca.pem"}, "TOYBOX_KAFKA_SECURITY=ssl"),
        ({"kafka": "a:1", "kafka_security": "ssl", "kafka_cert_file": "x"}, "TOYBOX_KAFKA_KEY_FILE belong together"),
        ({"kafka": "a:1", "kafka_prefix": "My_Topics"}, "pattern"),
        ({"kafka": "a:1", "kafka_replication": 0}, "greater than or equal to 1"),
        ({"follow": "mysql"}, "'postgres' or 'kafka'"),
    ],
)
def test_settings_that_do_not_go_together_are_refused_with_the_fix(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        settings(**given)


def test_a_file_that_is_not_there_is_named_with_its_setting(tmp_path: Path) -> None:
    given = settings(kafka="a:1", kafka_security="ssl", kafka_ca_file=tmp_path / "missing.pem")
    with pytest.raises(Refused, match=r"TOYBOX_KAFKA_CA_FILE names .*missing\.pem"):
        given.cluster()


def test_addresses_lose_their_blanks_and_empty_variables_count_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings(kafka=" a:1 , [::1]:2").cluster().servers == "a:1,[::1]:2"
    for name in ("", "_PREFIX", "_USERNAME", "_PASSWORD", "_CA_FILE", "_REPLICATION"):
        monkeypatch.setenv(f"TOYBOX_KAFKA{name}", "")
    assert settings().kafka is None
    assert settings(kafka="a:1").cluster() == Cluster("a:1")


def test_a_password_is_never_shown() -> None:
    given = settings(kafka="a:1", kafka_security="SASL_SSL", kafka_sasl_mechanism="plain", **LOGIN)
    assert PASSWORD not in f"{given!r} {given.cluster()!r}"
    assert given.cluster().password == PASSWORD
