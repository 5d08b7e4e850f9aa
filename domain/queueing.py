"""Whose job is next: weighted turns of projects within priorities, with ageing, past whatever has no slot. No I/O.

Jobs that are alike in project, priority, provider, model and key wait in one *lane*, the oldest first. The lanes of one
project, or of one key without a project, are one *share* of the installation. Whoever gives out turns compares the
heads of lanes:

1. by their lifted priority: `min(9, priority + waited / ageing)`, where a lane has waited since its head became ready,
   or since a job of its share and priority was last given out, whichever is later. A flood that is being served is not
   lifted however old its jobs are; a lane that nobody serves is lifted by one priority every `ageing` seconds, and one
   job of it goes. So nothing starves, and nobody waits behind another's flood because it is old.
2. by the virtual time of their share, the lowest first: seconds of calls it has used, those that are under way
   included and counted as one second at least, divided by its weight. That is start-time fair queueing (Goyal, Vin and
   Cheng, 1996) over the actual length of calls, as stride scheduling charges it (Waldspurger and Weihl, 1995): a share
   that was idle begins at the virtual time of the last job that was given out, so it saves up no credit.
3. by calls under way for each unit of weight, by priority, by age.

A lane whose provider, model, project or key has no free slot is passed over.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

MOST_URGENT: Final = 9
SHORTEST_CALL: Final = 1.0
"""Seconds that a call counts for while it is under way, however short it has been so far."""
Key = tuple[int, float, float, int, float]


@dataclass(slots=True)
class Share:
    """What one project, or one key without a project, has had of the installation."""

    weight: int = 1
    virtual: float = 0.0
    """Weighted seconds of its calls."""
    in_flight: int = 0

    def take(self, turns: int = 1) -> None:
        """It has so many calls more under way; fewer, when they are given back."""
        self.virtual += turns * SHORTEST_CALL / self.weight
        self.in_flight += turns


@dataclass(slots=True)
class Lane:
    """Jobs that are alike, the oldest first."""

    lane: UUID
    share: UUID
    priority: int
    age: float
    """Seconds since the head became ready."""
    waited: float
    """Seconds without a turn for the share at this priority: not longer than the head is ready."""
    occupies: tuple[str, ...] = ()
    """What a call of it takes a slot of."""


class Turns:
    """Gives out turns one by one; each changes who is next."""

    def __init__(
        self,
        lanes: Iterable[Lane],
        shares: Mapping[UUID, Share],
        room: MutableMapping[str, int],
        *,
        ageing: float,
    ) -> None:
        self._shares = shares
        self._room = room
        self._ageing = ageing
        self._lanes = {each.lane: each for each in lanes}
        self._unserved = {(each.share, each.priority) for each in self._lanes.values()}
        self._order = [(self._key(each), each.lane) for each in self._lanes.values()]
        heapq.heapify(self._order)

    def take(self, turns: int) -> list[UUID]:
        """The lanes that the next turns go to; fewer when all others are empty or have no slot."""
        taken: list[UUID] = []
        while self._order and len(taken) < turns:
            key, lane = self._order[0]
            found = self._lanes.get(lane)
            if found is None or not self._has_room(found):
                heapq.heappop(self._order)  # room never comes back, but for what `close` gives back
            elif (now := self._key(found)) != key:  # keys only grow: whoever is first with its present key is first
                heapq.heapreplace(self._order, (now, lane))
            else:
                taken.append(lane)
                self._count(found, 1)
                self._unserved.discard((found.share, found.priority))
        return taken

    def close(self, empty: Mapping[UUID, int]) -> None:
        """These lanes had so many jobs fewer than they were given turns for; the turns go to others."""
        for lane, missing in empty.items():
            self._count(self._lanes.pop(lane), -missing)
        self._order = [(self._key(each), each.lane) for each in self._lanes.values()]
        heapq.heapify(self._order)

    def _count(self, lane: Lane, turns: int) -> None:
        self._shares[lane.share].take(turns)
        for each in lane.occupies:
            if each in self._room:
                self._room[each] -= turns

    def _has_room(self, lane: Lane) -> bool:
        return all(self._room.get(each, 1) > 0 for each in lane.occupies)

    def _key(self, lane: Lane) -> Key:
        share = self._shares[lane.share]
        return (
            -self._lifted(lane),
            share.virtual,
            share.in_flight / share.weight,
            -lane.priority,
            -lane.age,
        )

    def _lifted(self, lane: Lane) -> int:
        if (lane.share, lane.priority) not in self._unserved:
            return lane.priority
        return min(MOST_URGENT, lane.priority + int(lane.waited / self._ageing))


def shares_of(
    calls: Iterable[tuple[UUID, float, int]], spent: Mapping[UUID, float], weights: Mapping[UUID, int], floor: float
) -> dict[UUID, Share]:
    """How shares stand: what they have spent, and their calls under way.

    A share without any begins at the floor at least. A call is its share, its seconds so far, and the weight with which
    it was given out.
    """
    known = list(calls)
    busy = {share for share, _, _ in known}
    shares = {
        share: Share(weight, max(spent.get(share, 0.0), 0.0 if share in busy else floor))
        for share, weight in weights.items()
    }
    for share, seconds, weight in known:
        if found := shares.get(share):
            found.virtual += max(seconds, SHORTEST_CALL) / weight
            found.in_flight += 1
    return shares


def room_of(limits: Mapping[str, int], occupied: Iterable[Iterable[str]]) -> dict[str, int]:
    """How many slots of each limited resource are free, where calls under way occupy these."""
    used = Counter(each for resources in occupied for each in resources)
    return {name: max(0, most - used[name]) for name, most in limits.items()}
