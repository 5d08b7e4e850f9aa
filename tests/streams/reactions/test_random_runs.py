"""Runs over graphs made at random: looking only where something changed misses nothing that a full look finds."""

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest

from commands.agents import ResetAgent
from commands.projects import (
    CheckPhase,
    MarkReadyAgents,
    PauseProject,
    ResetProject,
    ResumeProject,
    StartProject,
    phases,
)
from domain.errors import Refused
from domain.ids import agent_id
from tests.commands.projects_stage import Sketch, an_agent, build, statuses, the_project
from tests.streams.reactions.driver import Driver
from tests.support.examples import seeds
from tests.support.story import Story


def graph(dice: Random) -> Sketch:
    """Up to three phases of up to five agents, each waiting for some of those before it."""
    sketch: dict[str, dict[str, Sequence[str]]] = {}
    before: list[str] = []
    for phase in ("one", "two", "three")[: dice.randint(1, 3)]:
        sketch[phase] = {}
        for number in range(dice.randint(1, 5)):
            name = f"{phase}-{number}"
            sketch[phase][name] = dice.sample(before, min(len(before), dice.choice([0, 1, 1, 2, 3])))
            before.append(name)
    return sketch


async def nothing_is_left(driver: Driver) -> None:
    """A full look finds no agent that could be made ready or passed over, and no phase that is through."""
    for look in (MarkReadyAgents(project_id=driver.project), CheckPhase(project_id=driver.project)):
        await driver.story.when(look)
        driver.story.then_refused(Refused, code="not_due")


@pytest.mark.parametrize("seed", seeds(40, fast=8))
@pytest.mark.parametrize("first_look", [1, phases.FIRST_LOOK])
async def test_a_run_is_never_stuck_and_never_leaves_an_agent_behind(
    story: Story, seed: int, first_look: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(phases, "FIRST_LOOK", first_look)  # how few agents are looked at first, must not matter
    dice = Random(seed)
    sketch = graph(dice)
    policies: dict[str, Any] = {
        name: {"on_failure": dice.choice(["skip", "block"]), "retries": 0} for of in sketch.values() for name in of
    }
    driver = Driver(story)
    await build(story, sketch, **policies)
    await driver.do(StartProject(project_id=driver.project))
    for _ in range(60):
        await nothing_is_left(driver)
        status = the_project(story).status
        if status != "running":
            assert not any(an_agent(story, name).is_open for name in policies)
            if status == "completed" or dice.random() < 0.3:
                break
            await driver.do(ResetProject(project_id=driver.project, what="failed"))
            await driver.do(StartProject(project_id=driver.project))
            continue
        running = [name for name, each in statuses(story).items() if each == "running"]
        assert running, "a project that runs has an agent at work"
        chosen = dice.choice(running)
        match dice.choices(range(4), (60, 20, 10, 10))[0]:
            case 0:
                await driver.answer(chosen)
            case 1:
                await driver.fail(chosen)
            case 2:
                await driver.do(PauseProject(project_id=driver.project))
                await driver.answer(chosen)
                await driver.do(ResumeProject(project_id=driver.project))
            case _:
                ran = [name for name, each in statuses(story).items() if each in ("completed", "running")]
                await driver.do(ResetAgent(agent_id=agent_id(driver.project, dice.choice(ran))))
