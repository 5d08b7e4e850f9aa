"""The client library, imported when it is first needed and without types: those that checkers ship are of its past."""

import importlib
from collections.abc import Mapping
from typing import Any


def client(module: str = "kafka") -> Any:
    """A module of the library."""
    return importlib.import_module(module)


def make(kind: str, options: Mapping[str, Any]) -> Any:
    """A producer, consumer or admin client.

    One that cannot reach its brokers raises while it is made and leaves a thread and sockets behind (3.0.12): with a
    broker that is away for long they would pile up, so they are ended here. Why it cannot, it does not say: we ask.
    """
    connections: list[Any] = []

    def connection(**told: Any) -> Any:
        connections.append(client("kafka.net.compat").KafkaNetClient(**told))
        return connections[-1]

    try:
        return getattr(client(), kind)(**options, kafka_client=connection)
    except BaseException as error:
        for each in connections:
            each.close()
        if isinstance(error, client("kafka.errors").KafkaTimeoutError):
            from adapters.kafka.probing import reason

            raise reason(options) from error
        raise
