"""What every test gets: a clean environment, no network unless it asks, markers from the fixtures it uses."""

import gc
import logging
import os
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

settings.register_profile("fast", max_examples=20)
"""What `make test-fast` asks for; tests that name their own number keep it."""
settings.register_profile("thorough", max_examples=2_000)
"""For one test at a time: `pytest --hypothesis-profile=thorough tests/domain/test_budget_invariant.py`."""

gc.set_threshold(50_000, 20, 50)
"""Tests are imported and collected before `pytest_collection_finish` below: hardly anything of that is garbage."""

*_PROCESSORS, _ = structlog.get_config()["processors"]
structlog.configure(
    processors=[*_PROCESSORS, structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)],
    wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
)
"""Every exception that is logged with all variables of all frames, drawn by Rich, takes half a second."""

pytest_plugins = ["tests.support.postgres", "tests.support.kafka"]

SERVICES = ("postgres", "kafka")
LOCAL = ["127.0.0.1", "::1", "localhost"]
SETTINGS = ("TOYBOX_", "OPENAI_", "ANTHROPIC_", "OPENROUTER_", "PG", "KAFKA_", "REDIS_", "XDG_")
CHOSEN_BY_THE_TESTER = "TOYBOX_TEST_"


def fixtures_and_parameters(item: pytest.Item) -> list[str]:
    """The names of a test's fixtures, and its parameters: a contract suite runs on `memory` and on `postgres`."""
    parameters = (
        item.callspec.params.values() if isinstance(item, pytest.Function) and hasattr(item, "callspec") else ()
    )
    return [*getattr(item, "fixturenames", ()), *(value for value in parameters if isinstance(value, str))]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with the services that its fixtures reach; only those may open a connection, to this machine.

    First of all hooks: pytest's own deselects by marker.
    """
    for item in items:
        used = fixtures_and_parameters(item)
        for service in (*SERVICES, "loopback"):
            if any(name == service or name.startswith(f"{service}_") for name in used):
                item.add_marker(service)
        if any(item.get_closest_marker(name) for name in (*SERVICES, "loopback", "process")):
            item.add_marker(pytest.mark.allow_hosts(LOCAL))


def pytest_collection_finish() -> None:
    """Keep the garbage collector off modules and tests: a tenth of the fast run's time."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def loopback() -> str:
    """Ask for this to start or reach a server on this machine; the address to bind to."""
    return LOCAL[0]


@pytest.fixture(scope="session")
def empty_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home directory that nobody has ever used."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, empty_home: Path) -> None:
    """No setting, key or home of the person who runs the tests reaches a test."""
    for name in list(os.environ):
        proxy = name.upper().endswith("_PROXY")
        if proxy or (name.startswith(SETTINGS) and not name.startswith(CHOSEN_BY_THE_TESTER)):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(empty_home))
