"""What a carrier switch must satisfy before it is queued. Pure: facts in, a verdict out.

A refusal has a stable reason for programs and a text that tells a person what to do. Some rules a person may set aside with
``force`` and a reason, since only they know what the card does not tell: ``no_inventory``, ``test_profile``, ``unknown_class``,
``provisioning_profile``, ``no_fallback``, and ``device_busy`` where the end of a switch is not known. Not so ``device_busy``
while one is under way, ``policy`` (the card would refuse) and ``daily_cap`` (it stops what presses again and again).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from simway_protocol.messages import KEEP_ENABLED, Profile

from simway_flask_app.twin import profile_of

DAY_US = 24 * 3600 * 1_000_000
SWITCHES_PER_DAY_DEFAULT = 10


class Facts(NamedTuple):
    """What is known of a device when a switch is asked for.

    ``profiles``: None before the first inventory. ``open_switch``: command id of a switch that is under way, or empty;
    ``unknown_switch``: of one whose end is UNKNOWN.
    ``switch_times_us``: when the switches of the last 24 hours were accepted, rolled back ones too, oldest first.
    """

    target: str
    profiles: Sequence[Profile] | None = None
    active_iccid: str = ""
    open_switch: str = ""
    unknown_switch: str = ""
    switch_times_us: Sequence[int] = ()


class Refusal(NamedTuple):
    """Why not. ``retry_after_s``: 0 where waiting does not help."""

    reason: str
    text: str
    forcible: bool = False
    retry_after_s: int = 0


class Verdict(NamedTuple):
    """``refusal`` is None when the switch may go on; ``overridden``: reasons that force set aside."""

    refusal: Refusal | None
    overridden: tuple[str, ...] = ()


def judge(facts: Facts, *, forced: bool, switches_per_day: int, now_us: int) -> Verdict:
    """The first refusal that stands. ``switches_per_day``: 0 for no cap."""
    overridden = []
    for refusal in _refusals(facts, switches_per_day, now_us):
        if not (forced and refusal.forcible):
            return Verdict(refusal)
        overridden.append(refusal.reason)
    return Verdict(None, tuple(overridden))


def has_fallback(facts: Facts) -> bool:
    """True when the device finds a profile to go back to even if both the target and the present one fail it."""
    tried = (facts.target, facts.active_iccid)
    return any(item.iccid not in tried and item.profile_class == "operational" for item in facts.profiles or ())


def _refusals(facts: Facts, switches_per_day: int, now_us: int) -> Iterator[Refusal]:
    """Those that nobody can set aside come first: a person who forces must not be told of them only then."""
    if facts.open_switch:
        yield Refusal(
            "device_busy",
            f"Switch {facts.open_switch} of this device is not over. Wait for its end, or cancel it before it is executed.",
        )
    yield from _policy(facts)
    if switches_per_day and len(facts.switch_times_us) >= switches_per_day:
        yield _capped(facts, switches_per_day, now_us)
    if facts.unknown_switch:
        yield Refusal(
            "device_busy",
            f"What became of switch {facts.unknown_switch} of this device is not known: it may still be under way. Queue an "
            'audit first ({"kind": "audit"}), which tells, or send "force": true with a "reason".',
            forcible=True,
        )
    if facts.profiles is None:
        yield Refusal(
            "no_inventory",
            "The device has not told what its SIM holds, so nobody knows whether it has a profile to fall back to. "
            'Queue an audit first ({"kind": "audit"}), or send "force": true with a "reason".',
            forcible=True,
        )
        return
    yield from _class_of_target(facts)
    if not has_fallback(facts):
        yield Refusal(
            "no_fallback",
            "Besides the profile to switch to and the active one, the SIM has no operational profile: if this switch and the way "
            'back fail, the device is out of reach. Put another profile on the SIM, or send "force": true with a "reason".',
            forcible=True,
        )


def _policy(facts: Facts) -> Iterator[Refusal]:
    active = profile_of(facts.profiles or (), facts.active_iccid)
    if active is not None and KEEP_ENABLED in active.rules:
        yield Refusal(
            "policy",
            f"The active profile {active.iccid} may not be disabled, say its own policy rules, and the SIM obeys them: force "
            "does not help. Ask its provider to lift the rule, then read the SIM anew by an audit.",
        )

    target = profile_of(facts.profiles or (), facts.target)
    if target is not None and KEEP_ENABLED in target.rules:
        yield Refusal(
            "policy",
            f"Once enabled, profile {target.iccid} may not be disabled, say its own policy rules: there would be no way back, "
            "and force does not help. Ask its provider to lift the rule, then read the SIM anew by an audit.",
        )


def _capped(facts: Facts, switches_per_day: int, now_us: int) -> Refusal:
    free_us = facts.switch_times_us[len(facts.switch_times_us) - switches_per_day] + DAY_US
    wait_s = max(1, -((now_us - free_us) // 1_000_000))
    return Refusal(
        "daily_cap",
        f"The device has had {len(facts.switch_times_us)} switches in 24 hours, rolled back ones too; {switches_per_day} are "
        f"allowed (SWITCHES_PER_DAY). The next may come in {wait_s} s. Find out first why it takes so many.",
        retry_after_s=wait_s,
    )


_NOT_OPERATIONAL = {
    "test": (
        "test_profile",
        "Profile {iccid} is of the test class: its keys are public, and no carrier serves it. Choose an operational "
        'profile, or send "force": true with a "reason".',
    ),
    "provisioning": (
        "provisioning_profile",
        "Profile {iccid} is of the provisioning class: it reaches the provider's download server, and mostly nothing "
        'else. Choose an operational profile, or send "force": true with a "reason".',
    ),
    "unknown": (
        "unknown_class",
        "The SIM says of profile {iccid} neither that it is operational nor any other class that is known here. "
        'Choose another profile, or send "force": true with a "reason".',
    ),
}
"""Reason and text, by the class of the target (SGP.22, 5.7.15)."""


def _class_of_target(facts: Facts) -> Iterator[Refusal]:
    target = profile_of(facts.profiles or (), facts.target)
    if target is not None and target.profile_class in _NOT_OPERATIONAL:
        reason, text = _NOT_OPERATIONAL[target.profile_class]
        yield Refusal(reason, text.format(iccid=facts.target), forcible=True)
