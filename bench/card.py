"""Commands that the virtual SIM answers a second: behind a real pcscd, and in process."""

from __future__ import annotations

import time
from pathlib import Path

from simway_protocol.sim import apdu, files, numbering
from simway_protocol.sim.card import Card
from simway_testing import cards
from simway_virtual_sim.faults import NO_FAULTS

from bench.figures import Figure, progress, publish

AIM_PCSCD_HZ = 1_000
WARM_UP = 200
_ROUND = (
    apdu.select_file(files.MF)._replace(p2=0x0C, le=None).encode(),
    apdu.select_file(files.EF_ICCID)._replace(p2=0x0C, le=None).encode(),
    apdu.read_binary(numbering.ICCID_BYTES).encode(),
)


def measure(directory: Path, *, scale: float) -> list[Figure]:
    """One figure for each way to the card; ``scale`` 1 is the full length."""
    figures = []
    for kind in cards.KINDS[:2]:
        place = directory / kind.name.replace(" ", "-")
        place.mkdir(parents=True)
        card = kind.power_on(place, NO_FAULTS)
        try:
            progress(kind.name)
            figures.append(_speed(card, kind.name, int(6_000 * scale)))
        finally:
            card.close()
    return figures


def _speed(card: Card, name: str, commands: int) -> Figure:
    for turn in range(WARM_UP):
        card.transmit(_ROUND[turn % len(_ROUND)])
    begin = time.perf_counter()
    for turn in range(commands):
        card.transmit(_ROUND[turn % len(_ROUND)])
    per_s = commands / (time.perf_counter() - begin)
    aim = AIM_PCSCD_HZ if "pcscd" in name else None
    figure = f"card_{'pcscd' if aim else 'in_process'}_apdu_per_s"
    return publish(Figure(figure, per_s, "APDU/s", f"aim {aim}" if aim else "", per_s / aim if aim else None))
