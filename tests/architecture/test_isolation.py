"""What the test suite itself promises: no network unless asked for, nothing of the tester's settings, real markers."""

import asyncio
import os
import socket
from pathlib import Path

import pytest
from pytest_socket import SocketBlockedError, SocketConnectBlockedError

ELSEWHERE = ("192.0.2.1", 9)
"""An address that the standards keep for documentation: nobody answers there."""


@pytest.mark.filterwarnings("ignore:A test tried to use socket")
def test_a_test_that_asks_for_nothing_has_no_network() -> None:
    with pytest.raises(SocketBlockedError):
        socket.socket()
    with pytest.raises(SocketBlockedError):
        socket.getaddrinfo("localhost", 80)


async def test_a_test_without_network_has_an_event_loop() -> None:
    assert await asyncio.sleep(0, "awake") == "awake"


@pytest.mark.filterwarnings("ignore:A test tried to use socket")
def test_loopback_reaches_this_machine_and_no_other(loopback: str) -> None:
    with socket.create_server((loopback, 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert client.getpeername() == server.getsockname()
    with socket.socket() as client, pytest.raises(SocketConnectBlockedError):
        client.connect(ELSEWHERE)


def test_no_setting_and_no_home_of_the_tester_is_seen(empty_home: Path) -> None:
    seen = [name for name in os.environ if name.startswith(("TOYBOX_", "OPENAI_", "ANTHROPIC_", "OPENROUTER_", "PG"))]
    assert all(name.startswith("TOYBOX_TEST_") for name in seen)
    assert Path.home() == empty_home


@pytest.mark.parametrize("service", ["memory", "kafka"])
def test_a_parameter_that_names_a_service_marks_its_test(request: pytest.FixtureRequest, service: str) -> None:
    assert (request.node.get_closest_marker("kafka") is not None) == (service == "kafka")


def test_a_fixture_of_loopback_marks_its_test(request: pytest.FixtureRequest, loopback: str) -> None:
    assert request.node.get_closest_marker("loopback")
