"""What a network does to datagrams: drops, delays, duplicates and reorders them, by a seeded random source. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Weather:
    """``drop``, ``duplicate`` and ``late`` are probabilities; a late datagram takes up to ``late_s`` more: others overtake it."""

    drop: float = 0.0
    duplicate: float = 0.0
    late: float = 0.0
    delay_s: float = 0.0
    late_s: float = 0.0


CALM = Weather(drop=0.005, duplicate=0.005, late=0.01, delay_s=0.002, late_s=0.02)
CUT = Weather(drop=1.0)


def storm(rng: random.Random) -> Weather:
    """Bad weather of some kind: up to a third is lost, up to a third comes twice."""
    return Weather(
        drop=rng.uniform(0.05, 0.35), duplicate=rng.uniform(0.05, 0.35), late=rng.uniform(0.1, 0.5),
        delay_s=rng.uniform(0.0, 0.2), late_s=rng.uniform(0.05, 0.6),
    )  # fmt: skip


def fates(weather: Weather, rng: random.Random) -> list[float]:
    """After how many seconds each copy of a datagram arrives; none: it was dropped."""
    if rng.random() < weather.drop:
        return []
    copies = 2 if rng.random() < weather.duplicate else 1
    return [_delay(weather, rng) for _ in range(copies)]


def _delay(weather: Weather, rng: random.Random) -> float:
    late_s = rng.uniform(0.0, weather.late_s) if rng.random() < weather.late else 0.0
    return rng.uniform(0.0, weather.delay_s) + late_s
