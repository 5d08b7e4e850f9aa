"""Journals outlive a kill -9: what was cut off is ignored, incarnations add up, progress is counted while they grow."""

from pathlib import Path
from uuid import UUID

import pytest

from commands.sequencer import Answer
from faults.crew.journals import Journal, Progress, Work, counter_id, read_journals
from faults.crew.writers import WriterOrder, invent, to_do

ONE, TWO, THREE = Work("k1", 1, 5), Work("k2", 1, 7, also=2), Work("k3", 2, 1)


def answer(first: int, last: int) -> Answer:
    return Answer(UUID(int=first), last, first, {counter_id(1): first})


@pytest.fixture
def two_incarnations(tmp_path: Path) -> Path:
    with Journal(tmp_path / "writer-0.001.journal") as journal:
        journal.sent(ONE)
        journal.sent(TWO)
        journal.answered(ONE, answer(3, 3))
    with Journal(tmp_path / "writer-0.002.journal") as journal:
        journal.sent(TWO)
        journal.answered(TWO, answer(4, 5))
        journal.sent(THREE)
    with Journal(tmp_path / "writer-1.001.journal") as journal:
        journal.sent(Work("other", 1, 1))
    return tmp_path


def test_incarnations_add_up(two_incarnations: Path) -> None:
    story = read_journals(two_incarnations, "writer-0.*.journal")
    assert list(story.sent.values()) == [ONE, TWO, THREE]
    assert story.unanswered == [THREE]
    assert [(each.first, each.last) for each in story.answered["k2"]] == [(4, 5)]
    assert set(read_journals(two_incarnations).sent) == {"k1", "k2", "k3", "other"}


def test_a_line_that_a_kill_cut_off_is_ignored(two_incarnations: Path) -> None:
    with (two_incarnations / "writer-0.002.journal").open("ab") as file:
        file.write(b'A{"key":"k3","told":{"fir')
    assert read_journals(two_incarnations, "writer-0.*.journal").unanswered == [THREE]


def test_a_journal_is_never_written_over(two_incarnations: Path) -> None:
    with pytest.raises(FileExistsError), Journal(two_incarnations / "writer-0.001.journal"):
        pass


def test_progress_counts_answers_while_the_files_grow(two_incarnations: Path) -> None:
    progress = Progress(two_incarnations)
    assert progress.look() == progress.look() == 2
    grown = two_incarnations / "writer-1.001.journal"
    with grown.open("ab") as file:
        file.write(b'A{"key":"AAA"}\nA{"key"')
        file.flush()
        assert progress.look() == 3
        file.write(b':"x"}\n')
    assert progress.look() == 4


def test_a_writer_first_asks_for_what_it_was_not_answered_then_does_its_share(two_incarnations: Path) -> None:
    order = WriterOrder(
        conninfo="",
        store="postgres",
        folder=str(two_incarnations),
        number=0,
        incarnation=3,
        commands=5,
        callers=1,
        hot=2,
        cold=3,
        seed=1,
    )
    first, *fresh = to_do(order)
    assert first == THREE
    assert [each.key for each in fresh] == ["writer-0.003-1", "writer-0.003-2"]


def test_invented_work_is_the_same_for_the_same_seed_and_spreads_over_all_counters() -> None:
    order = WriterOrder("", "postgres", "", 0, 1, 0, 1, hot=2, cold=3, seed=1)
    some = [work for work, _ in zip(invent(order), range(300), strict=False)]
    assert some == [work for work, _ in zip(invent(order), range(300), strict=False)]
    assert {work.counter for work in some} == set(range(5))
    assert {len(work.effect) for work in some} == {1, 2}
    assert all(work.also != work.counter for work in some)
