"""What a load reports, and how several rounds of it become one line of a table."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median


@dataclass(slots=True)
class Figures:
    """One load in one round."""

    done: int
    seconds: float
    p50: float = 0.0
    """Milliseconds; 0 where it was not measured."""
    p99: float = 0.0
    client_cpu: float = 0.0
    """Seconds of processor time of the process that sends."""
    server_cpu: float = 0.0
    notes: dict[str, float] = field(default_factory=dict[str, float])

    @property
    def rate(self) -> float:
        """Done per second."""
        return self.done / self.seconds if self.seconds else 0.0


def figures(latencies: list[float], seconds: float, client_cpu: float, **notes: float) -> Figures:
    """From the seconds that each call took."""
    latencies.sort()

    def at(share: float) -> float:
        return latencies[min(len(latencies) - 1, int(len(latencies) * share))] * 1000 if latencies else 0.0

    return Figures(len(latencies), seconds, at(0.5), at(0.99), client_cpu, notes=notes)


def together(each: Sequence[Figures]) -> Figures:
    """Several processes that ran at the same time: the sum of what they did, the slowest's latency, their fairness."""
    counts = [one.done for one in each]
    return Figures(
        done=sum(counts),
        seconds=max(one.seconds for one in each),
        p50=max(one.p50 for one in each),
        p99=max(one.p99 for one in each),
        client_cpu=sum(one.client_cpu for one in each),
        notes={"fairness": min(counts) / max(counts) if max(counts) else 0.0},
    )


@dataclass(frozen=True, slots=True)
class Line:
    """The median of each figure over all rounds."""

    rate: float
    p50: float
    p99: float
    client_cpu: float
    server_cpu: float
    notes: dict[str, float]


def line(rounds: Sequence[Figures]) -> Line:
    """One line of the table; processor time is per 1,000 done."""

    def per_thousand(seconds: float, one: Figures) -> float:
        return seconds * 1000 / one.done if one.done else 0.0

    names = {name for one in rounds for name in one.notes}
    return Line(
        rate=median(one.rate for one in rounds),
        p50=median(one.p50 for one in rounds),
        p99=median(one.p99 for one in rounds),
        client_cpu=median(per_thousand(one.client_cpu, one) for one in rounds),
        server_cpu=median(per_thousand(one.server_cpu, one) for one in rounds),
        notes={name: median(one.notes[name] for one in rounds if name in one.notes) for name in sorted(names)},
    )
