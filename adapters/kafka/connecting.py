"""How to reach a Kafka cluster: addresses, TLS and SASL, as kafka-python wants to be told."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where the brokers are and how to be let in."""

    servers: str
    """host:port, several with commas."""
    security: SecurityProtocol = "PLAINTEXT"
    mechanism: SaslMechanism | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    """Whom to believe; by default what the machine believes."""
    certificate_file: Path | None = None
    key_file: Path | None = None
    client: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """More settings of the client, for brokers that need them."""

    def options(self, *, client_id: str) -> dict[str, Any]:
        """Settings that producers, consumers and admins share."""
        told: dict[str, Any] = {
            "bootstrap_servers": self.servers.split(","),
            "client_id": client_id,
            "security_protocol": self.security,
            "request_timeout_ms": 10_000,
            "retry_backoff_ms": 10,
            "reconnect_backoff_max_ms": 1000,
            "bootstrap_timeout_ms": 10_000,
        }
        chosen = {
            "sasl_mechanism": self.mechanism,
            "sasl_plain_username": self.username,
            "sasl_plain_password": self.password,
            "ssl_cafile": self.ca_file and str(self.ca_file),
            "ssl_certfile": self.certificate_file and str(self.certificate_file),
            "ssl_keyfile": self.key_file and str(self.key_file),
        }
        return told | {name: value for name, value in chosen.items() if value is not None} | dict(self.client)
