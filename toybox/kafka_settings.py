"""Settings of Kafka, and the one place that makes of them what every client of it is told."""

from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, StringConstraints, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from adapters.kafka.connecting import Cluster, SaslMechanism, SecurityProtocol
from domain.errors import Refused

Security = Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"]
_PROTOCOLS: Final[dict[Security, SecurityProtocol]] = {
    "plaintext": "PLAINTEXT",
    "ssl": "SSL",
    "sasl_plaintext": "SASL_PLAINTEXT",
    "sasl_ssl": "SASL_SSL",
}


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


def _addresses(value: str) -> str:
    """Each host:port, without blanks between them."""
    each = [one.strip() for one in value.split(",")]
    for one in each:
        host, _, port = one.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65_536 or "/" in host:
            raise ValueError(f"{one!r} is not host:port (several are separated by commas, without a scheme)")
    return ",".join(each)


class KafkaSettings(BaseSettings):
    """How Kafka is reached and what toybox calls its own there. Without `kafka` nothing is relayed."""

    model_config = SettingsConfigDict(env_prefix="TOYBOX_", extra="ignore", frozen=True, env_ignore_empty=True)

    kafka: Annotated[str, AfterValidator(_addresses)] | None = None
    """Brokers: host:port, several with commas."""
    kafka_prefix: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,98}[a-z0-9])?$")] = "toybox"
    """What the names of all topics begin with; keeps several installations on one cluster apart."""
    kafka_replication: Annotated[int, Field(ge=1, le=15)] = 1
    """Copies of each partition; 3 where there are three brokers."""
    kafka_security: Annotated[Security, BeforeValidator(_lower)] = "plaintext"
    kafka_sasl_mechanism: Annotated[SaslMechanism, BeforeValidator(_upper)] | None = None
    kafka_username: str | None = None
    kafka_password: SecretStr | None = None
    kafka_ca_file: Path | None = None
    """PEM: whom to believe that it is a broker; by default what the machine believes."""
    kafka_cert_file: Path | None = None
    """PEM: who we are, for brokers that ask for certificates."""
    kafka_key_file: Path | None = None
    kafka_compression: Literal["none", "gzip"] = "gzip"
    """Of what the relay writes. Every client can read these without more libraries."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.kafka is None:
            return self
        said = f"TOYBOX_KAFKA_SECURITY is {self.kafka_security}"
        sasl = {
            "TOYBOX_KAFKA_SASL_MECHANISM": self.kafka_sasl_mechanism,
            "TOYBOX_KAFKA_USERNAME": self.kafka_username,
            "TOYBOX_KAFKA_PASSWORD": self.kafka_password,
        }
        tls = {
            "TOYBOX_KAFKA_CA_FILE": self.kafka_ca_file,
            "TOYBOX_KAFKA_CERT_FILE": self.kafka_cert_file,
            "TOYBOX_KAFKA_KEY_FILE": self.kafka_key_file,
        }
        if self.kafka_security.startswith("sasl_"):
            if missing := [name for name, value in sasl.items() if value is None]:
                raise ValueError(f"{said}, which needs {' and '.join(missing)} as well: set what is missing")
        elif given := [name for name, value in sasl.items() if value is not None]:
            raise ValueError(f"{said}, which uses no {given[0]}: set TOYBOX_KAFKA_SECURITY=sasl_ssl, or unset that")
        given = [name for name, value in tls.items() if value is not None]
        if given and not self.kafka_security.endswith("ssl"):
            raise ValueError(f"{said}, which uses no {given[0]}: set TOYBOX_KAFKA_SECURITY=ssl or sasl_ssl")
        if (self.kafka_cert_file is None) != (self.kafka_key_file is None):
            raise ValueError("TOYBOX_KAFKA_CERT_FILE and TOYBOX_KAFKA_KEY_FILE belong together: set both, or neither")
        return self

    def cluster(self) -> Cluster:
        """What producers, consumers and admins are told; Refused where there is no Kafka, or a file is not there."""
        if self.kafka is None:
            raise Refused(
                "no Kafka is named: give its brokers as --kafka HOST:PORT, or set TOYBOX_KAFKA", code="no_kafka"
            )
        return Cluster(
            servers=self.kafka,
            security=_PROTOCOLS[self.kafka_security],
            mechanism=self.kafka_sasl_mechanism,
            username=self.kafka_username,
            password=self.kafka_password.get_secret_value() if self.kafka_password else None,
            ca_file=_readable("TOYBOX_KAFKA_CA_FILE", self.kafka_ca_file),
            certificate_file=_readable("TOYBOX_KAFKA_CERT_FILE", self.kafka_cert_file),
            key_file=_readable("TOYBOX_KAFKA_KEY_FILE", self.kafka_key_file),
        )


def _readable(name: str, file: Path | None) -> Path | None:
    try:
        if file is not None:
            file.open("rb").close()
    except OSError as error:
        raise Refused(
            f"{name} names {file}, which cannot be read ({error.strerror}): correct it", code="kafka_file_unreadable"
        ) from error
    return file
