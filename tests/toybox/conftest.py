"""A data directory for each test of the program, or one running server for all tests of a module."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postgres import server_folder
from tests.toybox.programs import Toybox


@pytest.fixture
def toybox(data_home: Path) -> Toybox:
    """The program with nothing done yet."""
    return Toybox(data_home)


@pytest.fixture(scope="module")
def served() -> Iterator[Toybox]:
    """The program with a server that runs, shared by the tests of a module."""
    with server_folder() as folder:
        program = Toybox(folder)
        with program.up():
            yield program
