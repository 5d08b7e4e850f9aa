"""Real Kafka for the tests: one broker for the session, names of their own for each test, a broker to be broken."""

import os
import secrets
import shutil
from collections.abc import Iterator

import pytest

from domain.relaying import BrokerAway
from tests.support.kafka_broker import KafkaBroker, a_broker, broker_folder
from tests.support.kafka_security import SecuredKafka


@pytest.fixture(scope="session")
def kafka_server() -> Iterator[str]:
    """The broker that TOYBOX_TEST_KAFKA names, else one of the session's own."""
    if named := os.environ.get("TOYBOX_TEST_KAFKA"):
        _require_answer(named)
        yield named
        return
    broker = KafkaBroker(broker_folder())
    try:
        yield broker.start().address
    finally:
        broker.stop()
        shutil.rmtree(broker.folder, ignore_errors=True)


@pytest.fixture
def kafka_prefix(kafka_server: str) -> str:
    """What the topics of this test are called: its own, so that tests share a broker and see nothing of each other."""
    return f"test-{secrets.token_hex(6)}"


@pytest.fixture(scope="module")
def kafka_to_break() -> Iterator[KafkaBroker]:
    """A broker of this module's own, to be stopped, killed and wiped; it runs when a test begins."""
    with a_broker() as broker:
        yield broker


@pytest.fixture(scope="module")
def kafka_secured() -> Iterator[SecuredKafka]:
    """A broker of this module's own that wants certificates or passwords."""
    folder = broker_folder()
    secured = SecuredKafka.start(folder)
    try:
        yield secured
    finally:
        secured.broker.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _require_answer(address: str) -> None:
    from adapters.kafka.client import client, make
    from adapters.kafka.connecting import Cluster

    try:
        make("KafkaAdminClient", Cluster(address).options(client_id="tests")).close()
    except (client("kafka.errors").KafkaError, BrokerAway, OSError, ValueError) as error:
        raise RuntimeError(
            f"TOYBOX_TEST_KAFKA names a broker that does not answer ({error!r}): "
            f"start it, correct the address, or unset the variable to let the tests start one."
        ) from error
