"""Whether phases and agents form a graph that can run: names, dependencies, no circles."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from graphlib import CycleError, TopologicalSorter
from typing import NamedTuple

from domain.blueprints.problems import Path, Problem

MAX_AGENTS = 1_000
"""Agents of one blueprint; a graph beyond that belongs in several projects."""
_MAX_CYCLES = 10


class Vertex(NamedTuple):
    """An agent, as far as the graph is concerned."""

    name: str
    phase: int
    path: Path
    depends_on: Sequence[str]


def closest(name: str, known: Iterable[str], what: str) -> str:
    """The fix for a name that nobody has: the one that was probably meant, or the ones there are."""
    choices = sorted(set(known))
    if alike := get_close_matches(name, choices, n=1, cutoff=0.5):
        return f"did you mean '{alike[0]}'?"
    if not choices:
        return f"no {what} is declared"
    more = ", ..." if len(choices) > 8 else ""
    return f"known {what}s: {', '.join(choices[:8])}{more}"


def graph_problems(phases: Sequence[str], agents: Sequence[Vertex]) -> Iterator[Problem]:
    """Everything that keeps these phases and agents from being run in order."""
    if not phases:
        yield Problem("the blueprint has no phases", "add at least one phase with an agent", ("phases",))
    yield from _repeated("phase", [(name, ("phases", index, "name")) for index, name in enumerate(phases)])
    for index, name in enumerate(phases):
        if all(agent.phase != index for agent in agents):
            path = ("phases", index, "agents")
            yield Problem(f"phase '{name}' has no agents", "add an agent, or remove the phase", path)
    if len(agents) > MAX_AGENTS:
        fix = f"{MAX_AGENTS} are allowed; split the work into several projects"
        yield Problem(f"the blueprint has {len(agents)} agents", fix, ("phases",))
    yield from _repeated("agent", [(agent.name, (*agent.path, "name")) for agent in agents])
    yield from _dependency_problems(phases, agents)


def ancestors(name: str, depends_on: Mapping[str, Sequence[str]]) -> frozenset[str]:
    """Everything that must be completed before this agent, however far back."""
    found: set[str] = set()
    ahead = list(depends_on[name])
    while ahead:
        if (found_now := ahead.pop()) not in found:
            found.add(found_now)
            ahead.extend(depends_on[found_now])
    return frozenset(found)


def _repeated(what: str, named: Iterable[tuple[str, Path]]) -> Iterator[Problem]:
    seen: set[str] = set()
    for name, path in named:
        if name in seen:
            yield Problem(f"two {what}s are called '{name}'", f"give each {what} a name of its own", path)
        seen.add(name)


def _dependency_problems(phases: Sequence[str], agents: Sequence[Vertex]) -> Iterator[Problem]:
    by_name = {agent.name: agent for agent in agents}
    edges: dict[str, list[str]] = {name: [] for name in by_name}
    for agent in agents:
        for index, wanted in enumerate(agent.depends_on):
            path = (*agent.path, "depends_on", index)
            other = by_name.get(wanted)
            if other is None:
                others = (name for name in by_name if name != agent.name)
                message = f"agent '{agent.name}' depends on '{wanted}', which does not exist"
                yield Problem(message, closest(wanted, others, "agent"), path)
            elif other.phase > agent.phase:
                yield Problem(
                    f"agent '{agent.name}' of phase '{phases[agent.phase]}' depends on '{wanted}' "
                    f"of the later phase '{phases[other.phase]}'",
                    f"move '{agent.name}' to phase '{phases[other.phase]}', or remove the dependency",
                    path,
                )
            elif wanted in agent.depends_on[:index]:
                yield Problem(f"agent '{agent.name}' names '{wanted}' twice", "name it once", path)
            else:
                edges[agent.name].append(wanted)
    yield from _cycles(by_name, edges)


def _cycles(agents: Mapping[str, Vertex], edges: dict[str, list[str]]) -> Iterator[Problem]:
    for _ in range(_MAX_CYCLES):
        try:
            TopologicalSorter(edges).prepare()
        except CycleError as error:
            # graphlib lists each node before the one that depends on it; people read the other way round.
            circle: list[str] = error.args[1][::-1]
            start = min(circle)
            turn = circle.index(start)
            circle = [*circle[turn:-1], *circle[:turn], start]
            yield Problem(
                f"agents wait for each other: {' -> '.join(circle)}",
                f"remove one of these dependencies, for instance '{circle[1]}' from '{circle[0]}'",
                (*agents[start].path, "depends_on"),
            )
            edges[start].remove(circle[1])
        else:
            return
