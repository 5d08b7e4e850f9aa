"""A slice of the commit cutter: whatever happens to the reply to COMMIT, a command takes effect exactly once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.commit_cutter import Campaign, cut_commits
from tests.support.postgres import server_folder

pytestmark = pytest.mark.process


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose path leaves room for a socket's name."""
    with server_folder() as folder:
        yield folder


async def test_a_cut_commit_takes_effect_once_and_is_answered_so(database: str, short_folder: Path) -> None:
    outcome = await cut_commits(Campaign(cuts=60, seed=5), database, short_folder)
    assert outcome.cuts == {"before": 20, "after": 20, "late": 20}
    assert outcome.verdict.clean, "\n".join(outcome.verdict.lines())
    assert outcome.verdict.repeated >= outcome.committed_unheard


async def test_a_store_that_forgets_command_ids_is_caught(database: str, short_folder: Path) -> None:
    outcome = await cut_commits(Campaign(cuts=9, seed=5, store="forgetful"), database, short_folder)
    assert outcome.verdict.counts["doubled"] >= outcome.committed_unheard
