"""Cases that take turns, so that a machine which is busy for a while disturbs them all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What some batches cost."""

    images: int
    """Images in them; for a limit of the device, repetitions."""
    seconds: float
    """Wall time."""
    cpu_seconds: float
    """CPU time of this process, all its threads together."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One thing to be timed."""

    part: str
    """The comparison that it belongs to."""
    name: str
    """Which side of it."""
    backbone: str | None
    """The network, where there is one."""
    work: Callable[[int], Spent]
    """Does so many batches and tells what they cost."""


@dataclass(frozen=True, kw_only=True)
class Round:
    """One turn of one case."""

    part: str
    """As in `Case`."""
    name: str
    """As in `Case`."""
    backbone: str | None
    """As in `Case`."""
    number: int
    """Counted from 1."""
    images: int
    """As in `Spent`."""
    seconds: float
    """As in `Spent`."""
    cpu_seconds: float
    """As in `Spent`."""

    @property
    def per_second(self) -> float:
        """Images a second of wall time."""
        return self.images / self.seconds

    @property
    def per_cpu_second(self) -> float:
        """Images a second of CPU time."""
        return self.images / self.cpu_seconds


def alternate(cases: Sequence[Case], *, rounds: int, seconds: float) -> list[Round]:
    """Run all cases once to warm up, then in turn, each for about `seconds` a round."""
    batches = []
    for case in cases:
        # The first pays for what is done once, such as choosing algorithms.
        case.work(1)
        batches.append(max(2, round(seconds / max(1e-6, case.work(2).seconds / 2))))
    done = []
    for number in range(1, rounds + 1):
        for case, count in zip(cases, batches, strict=True):
            spent = case.work(count)
            done.append(
                Round(part=case.part, name=case.name, backbone=case.backbone, number=number, **vars(spent)),
            )
    return done


def timed(work: Callable[[], int]) -> Spent:
    """Time what returns a number of images."""
    wall, cpu = time.perf_counter(), time.process_time()
    images = work()
    return Spent(images=images, seconds=time.perf_counter() - wall, cpu_seconds=time.process_time() - cpu)


def median_ratio(rounds: Sequence[Round], above: Case, below: Case, *, cpu: bool = False) -> float:
    """Return the median over the rounds of the speed of one case by that of another in the same round."""

    def speeds(case: Case) -> dict[int, float]:
        mine = (row for row in rounds if (row.part, row.name, row.backbone) == (case.part, case.name, case.backbone))
        return {row.number: row.per_cpu_second if cpu else row.per_second for row in mine}

    over, under = speeds(above), speeds(below)
    return statistics.median(over[number] / under[number] for number in over)


def median_speed(rounds: Sequence[Round], case: Case, *, cpu: bool = False) -> float:
    """Return the median speed of a case, in images a second."""
    mine = (row for row in rounds if (row.part, row.name, row.backbone) == (case.part, case.name, case.backbone))
    return statistics.median(row.per_cpu_second if cpu else row.per_second for row in mine)
