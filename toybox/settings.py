"""Every setting in one place: environment variables with the prefix TOYBOX_, read once at the start and passed down."""

import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from adapters.llm.recording import Responses
from adapters.postgres.embedded import default_data_dir
from adapters.webhooks.addresses import networks
from toybox.kafka_settings import KafkaSettings

Role = Literal["api", "projector", "worker", "relay"]
ALL_ROLES: tuple[Role, ...] = ("api", "projector", "worker", "relay")
"""`relay` has nothing to do where no Kafka is named."""
SECRETS = ("TOYBOX_KAFKA_PASSWORD", "TOYBOX_MASTER_KEY")
PROVIDER_KEYS = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY", "openrouter": "OPENROUTER_API_KEY"}
"""Where the keys of the vendors' own services are looked for, as their SDKs do."""


class Settings(KafkaSettings):
    """How this process runs. `toybox doctor` shows them, without secrets."""

    data_dir: Path = Field(default_factory=lambda: default_data_dir(os.environ))
    """Where the embedded database, objects, the master key and the owner's key lie."""
    database_url: SecretStr | None = None
    """A PostgreSQL to use instead of the embedded one: postgresql://user@host/name."""
    master_key: SecretStr | None = None
    """Base64 of the 32 bytes that wrap every other key, instead of the file master.key in the data directory."""
    allow_data_loss: bool = False
    """Start although the database may lose what it confirmed (fsync or synchronous_commit off)."""
    host: str = "127.0.0.1"
    """Address to listen on; other machines see toybox only when this says so."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8420
    """0 takes any free port."""
    probe_port: Annotated[int, Field(ge=0, le=65535)] | None = None
    """Where a process without the role api answers /health, /ready and /metrics; by default nowhere."""
    run_dir: Path | None = None
    """Where a server leaves its address, for servers on one database that share a data directory."""
    cors_origins: Annotated[list[str], NoDecode] = Field(default_factory=list[str])
    """Origins of dashboards that may call the API from a browser, separated by commas."""
    rate_limit: Annotated[int, Field(ge=0)] = 1000
    """Requests a second that one access key may send to one server; 0: as many as it likes."""
    webhooks_allow_private: Annotated[list[str], NoDecode] = Field(default_factory=list[str])
    """Private networks that webhooks may reach, also without encryption: 10.1.0.0/16, 127.0.0.0/8; by default none."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "text"] = "auto"
    """auto: text on a terminal, JSON elsewhere."""
    worker_slots: Annotated[int, Field(ge=1, le=1000)] = 16
    """Model calls at once in one worker."""
    worker_name: str | None = None
    """Name of this worker in leases and events; by default host and process id. A process that follows Kafka and has a
    name comes back to its partitions after a short absence: no two that run may share it. `{hostname}` is replaced."""
    model_responses: str = "live"
    """live; record:FOLDER keeps what vendors answer, as plain text; replay:FOLDER gives it again, for tests of agents
    that cost nothing and need neither key nor network."""
    pool_size: Annotated[int, Field(ge=2, le=200)] = 10
    """Database connections for reads and read models."""
    queue_limit: Annotated[int, Field(ge=1)] = 10_000
    """Commands that may wait before new ones are answered 503."""
    follow: Literal["postgres", "kafka"] = "postgres"
    """What projectors and workers follow: the log itself, or what the relay made of it."""
    url: str | None = None
    """A running server for the command line to talk to, instead of the one of the data directory."""
    key: SecretStr | None = None
    """The access key for it; by default the owner's, from the data directory."""
    editor: str = Field(default="vi", validation_alias=AliasChoices("TOYBOX_EDITOR", "VISUAL", "EDITOR"))
    """What opens a text that somebody wants to change at a checkpoint."""

    @field_validator("data_dir", "run_dir")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return value and value.expanduser().absolute()

    @field_validator("cors_origins", "webhooks_allow_private", mode="before")
    @classmethod
    def _separated(cls, value: object) -> object:
        return [each for each in re.split(r"[\s,]+", value) if each] if isinstance(value, str) else value

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: list[str]) -> list[str]:
        if wrong := [each for each in value if not re.fullmatch(r"https?://[\w.\[\]:-]+", each)]:
            raise ValueError(f"{wrong[0]} is no origin: write https://dashboards.example, several with commas between")
        return value

    @field_validator("model_responses")
    @classmethod
    def _known_source(cls, value: str) -> str:
        Responses.parse(value)
        return value

    @field_validator("webhooks_allow_private")
    @classmethod
    def _networks(cls, value: list[str]) -> list[str]:
        return [str(each) for each in networks(value)]

    @field_validator("worker_name")
    @classmethod
    def _with_hostname(cls, value: str | None) -> str | None:
        """Replicas of a container have the same environment, and a name of their own as host."""
        return value and value.replace("{hostname}", socket.gethostname())

    @property
    def address_dir(self) -> Path:
        """Where it is said which server runs: one at a time for each of these."""
        return self.run_dir or self.data_dir

    @classmethod
    def with_options(cls, **given: object) -> Self:
        """Settings from the environment, overruled by whatever was given on the command line."""
        return cls(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]

    def overruled_by(self, **given: object) -> Self:
        """The same, but for what a command was given; checked as a whole once more."""
        chosen = {name: value for name, value in given.items() if value is not None}
        return self.with_options(**self.model_dump(exclude_unset=True) | chosen)


def environment() -> Mapping[str, str]:
    """The variables of this process, for those who must find secrets in them and may not read them elsewhere."""
    return os.environ


def secrets_in(environ: Mapping[str, str]) -> list[str]:
    """Secrets that this process knows, so that logs can be kept clean of them."""
    return [environ[name] for name in (*PROVIDER_KEYS.values(), *SECRETS) if environ.get(name)]
