"""The judge of the campaigns finds every kind of fault when it is planted, and nothing where there is none."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from domain.log import StoredEvent, leaf
from faults.crew.journals import Acknowledged, Story, Work
from faults.crew.sending import insist
from faults.crew.verdict import FAULTS, Remembered, Shown, Verdict, judge
from tests.commands.counter import OpenCounter
from tests.support.story import Story as Told

WORK = [Work("a", 0, 1), Work("b", 1, 2, also=0), Work("c", 0, 3)]


class Scene:
    """A short true story: three commands on two counters, one reader, everybody told and shown what is."""

    def __init__(self, log: list[StoredEvent], story: Story) -> None:
        self.log, self.story = log, story
        self.remembered: dict[object, tuple[int | None, int | None]] = {}
        for event in log:
            first, _ = self.remembered.get(event.command_id, (event.position, None))
            self.remembered[event.command_id] = (first, event.position)
        self.shown: list[Shown] = [(event.position, leaf(event).hex()) for event in log]

    def judged(self) -> Verdict:
        remembered: Remembered = self.remembered  # pyright: ignore[reportAssignmentType]
        return judge(self.log, remembered, self.story, {"reader": self.shown})


@pytest.fixture
async def scene(story: Told) -> Scene:
    await story.given(*(OpenCounter(counter_id=each.command.counter_id) for each in WORK[:2]))
    told = Story({each.key: each for each in WORK}, {})
    for work in WORK:
        answer = await insist(story.commands, work)
        versions = {str(stream): version for stream, version in answer.versions.items()}
        assert answer.first is not None
        told.answered[work.key] = [Acknowledged(answer.first, answer.position, versions, answer.repeated)]
    return Scene(list(story.events), told)


def _append(scene: Scene, **changed: object) -> None:
    """One more event like the last, shown to the reader."""
    last = scene.log[-1]
    event = replace(last, position=last.position + 1, version=last.version + 1, **changed)
    scene.log.append(event)
    scene.shown.append((event.position, leaf(event).hex()))


def a_reader_skips_one(scene: Scene) -> None:
    del scene.shown[2]


def a_reader_is_shown_another_event(scene: Scene) -> None:
    scene.shown[2] = (scene.shown[2][0], scene.shown[1][1])


def a_reader_is_shown_one_that_a_crash_took_back(scene: Scene) -> None:
    scene.shown.append((scene.log[-1].position + 1, "00" * 32))


def a_reader_is_shown_one_twice(scene: Scene) -> None:
    scene.shown.append(scene.shown[-1])


def a_position_is_left_out(scene: Scene) -> None:
    _append(scene)
    scene.log[-1] = replace(scene.log[-1], position=scene.log[-1].position + 1)


def a_version_is_left_out(scene: Scene) -> None:
    scene.log[-1] = replace(scene.log[-1], version=scene.log[-1].version + 1)


def the_clock_runs_back(scene: Scene) -> None:
    scene.log[-1] = replace(scene.log[-1], recorded_at=scene.log[-1].recorded_at - timedelta(microseconds=1))


def nobody_was_answered(scene: Scene) -> None:
    del scene.story.answered["c"]


def an_acknowledged_event_is_gone(scene: Scene) -> None:
    scene.log.pop()
    scene.shown.pop()


def the_wrong_position_was_told(scene: Scene) -> None:
    scene.story.answered["a"] = [replace(scene.story.answered["a"][0], first=1, last=1)]


def the_wrong_version_was_told(scene: Scene) -> None:
    told = scene.story.answered["a"][0]
    scene.story.answered["a"] = [replace(told, versions=dict.fromkeys(told.versions, 9))]


def a_command_happened_twice(scene: Scene) -> None:
    _append(scene)


def half_a_command_happened(scene: Scene) -> None:
    scene.story.sent["c"] = replace(scene.story.sent["c"], also=1)


def an_event_of_an_unknown_command(scene: Scene) -> None:
    del scene.remembered[scene.log[-1].command_id]


PLANTED: list[tuple[Callable[[Scene], None], str]] = [
    (a_reader_skips_one, "missed"),
    (a_reader_is_shown_another_event, "changed"),
    (a_reader_is_shown_one_that_a_crash_took_back, "changed"),
    (a_reader_is_shown_one_twice, "unordered"),
    (a_position_is_left_out, "gaps"),
    (a_version_is_left_out, "version gaps"),
    (the_clock_runs_back, "backwards"),
    (nobody_was_answered, "unanswered"),
    (an_acknowledged_event_is_gone, "lost"),
    (the_wrong_position_was_told, "lost"),
    (the_wrong_version_was_told, "lost"),
    (a_command_happened_twice, "doubled"),
    (half_a_command_happened, "doubled"),
    (an_event_of_an_unknown_command, "strangers"),
]


def test_a_true_story_is_clean(scene: Scene) -> None:
    verdict = scene.judged()
    assert verdict.clean, "\n".join(verdict.lines())
    assert (verdict.events, verdict.commands) == (6, 3)


@pytest.mark.parametrize(("plant", "fault"), PLANTED, ids=lambda each: getattr(each, "__name__", each))
def test_what_is_planted_is_found(scene: Scene, plant: Callable[[Scene], None], fault: str) -> None:
    plant(scene)
    assert scene.judged().counts[fault] > 0


def test_every_fault_has_been_planted() -> None:
    assert {fault for _, fault in PLANTED} == set(FAULTS)
