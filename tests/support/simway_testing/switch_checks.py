"""What must be true after any switch, whatever went wrong: one carrier, one switch, one truth at both ends, a cause that fits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from simway_modem_client.switch import BOOTS_MAX

from simway_testing.switch_run import NEVER, Ended

BY_COVERAGE = {
    "good": set(),
    "none": {"no_coverage"},
    "no_data": {"no_data"},
    "denied": {"registration_denied"},
    "flapping": {"no_coverage", "not_reachable", "not_confirmed"},
    "slow": {"no_coverage", "not_reachable", "not_confirmed"},
    "lossy": {"not_reachable", "not_confirmed"},
}
"""Why a switch to such a carrier may be undone."""
LATE = {"not_reachable", "not_confirmed"}
NEVER_REASONS = {"no_coverage", "no_data", "registration_denied"}
BACK_BY_FAULT = {
    "slow": LATE,
    "no_reset": {"card_stale"},
    "pulled": LATE | {"card_unreadable"},
    "pulled_early": LATE | {"card_unreadable"},
    "pulled_for_long": LATE | {"card_unreadable"},
}
FAILED_BY_FAULT = {
    "card_cut_before_write": {"answer_lost"},
    "pulled": {"answer_lost", "card_error"},
    "pulled_early": {"answer_lost", "card_error"},
    "pulled_for_long": {"answer_lost", "card_error"},
}
"""Why a switch may fail before the card did anything."""
RADIO_SAYS = {
    "no_coverage": lambda seen: seen["state"] in ("searching", "off"),
    "registration_denied": lambda seen: seen["state"] == "denied",
    "no_data": lambda seen: seen["state"] in ("home", "roaming") and not seen["data"],
    "not_reachable": lambda seen: seen["data"],
}
TRIES_SHOW = {
    "cat_busy": lambda tries: tries[0]["result"] == "cat_busy" and tries[-1]["result"] == "ok",
    "cat_busy_for_ever": lambda tries: not tries[-1]["refresh"] and tries[-1]["result"] == "ok",
    "iccid_refused": lambda tries: tries[0]["result"] == "not_found" and tries[-1]["by"] == "aid",
    "refresh_refused": lambda tries: tries[0]["result"] == "undefined" and not tries[-1]["refresh"],
}
"""What the evidence of a fault looks like, where no power cut took it."""


def complaints(ended: Ended) -> list[str]:
    """What is not as it must be; nothing when all is well."""
    return [*_carriers(ended), *_agreement(ended), *_reason(ended), *_evidence(ended)]


def _carriers(ended: Ended) -> Iterator[str]:
    if "" in ended.enabled:
        yield "at one time no profile was enabled"
    if ended.enabled.count(ended.target) > 1:
        yield f"switched {ended.enabled.count(ended.target)} times for one command"
    if len(ended.enabled) > 3 + 3 * ended.plan.previous_dies:
        yield f"the card went through {len(ended.enabled) - 1} changes"


def _agreement(ended: Ended) -> Iterator[str]:
    told = ended.journal
    device = (told.outcome, told.closed) if told is not None else ("nothing", "")
    agreed = {
        "VERIFIED": ("executed", "closed"), "ROLLED_BACK": ("rolled_back", "rolled_back"), "FAILED": ("failed", ""),
    }.get(ended.state.state)  # fmt: skip
    if agreed is None or device != agreed:
        yield f"the server says {ended.state.state} ({ended.state.reason}), the device {device}"
    if (ended.active == ended.target) != (ended.state.state == "VERIFIED"):
        yield f"{ended.state.state}, and the card is on {'the target' if ended.active == ended.target else 'another profile'}"
    if ended.active != ended.inventory_active:
        yield f"the server believes that {ended.inventory_active} is active, and it is {ended.active}"
    if ended.journal_is_open:
        yield "the journal is still open"


def _reason(ended: Ended) -> Iterator[str]:
    plan, state, reason = ended.plan, ended.state.state, ended.state.reason
    if state == "VERIFIED":
        if plan.coverage in NEVER:
            yield f"verified over a carrier with coverage {plan.coverage}"
        return
    cuts = len(ended.where) - ended.where.count("platform killed")
    if state == "ROLLED_BACK":
        allowed = BY_COVERAGE[plan.coverage] | BACK_BY_FAULT.get(plan.fault, set())
        allowed |= LATE if "platform killed" in ended.where and BY_COVERAGE[plan.coverage] - NEVER_REASONS else set()
        allowed |= {"booted_too_often"} if cuts > BOOTS_MAX else set()
    else:
        allowed = FAILED_BY_FAULT.get(plan.fault, set()) | ({"interrupted"} if cuts else set())
    if reason not in allowed:
        yield f"{state} because of {reason!r}, which nothing that happened explains"


def _evidence(ended: Ended) -> Iterator[str]:
    state, reason, told = ended.state.state, ended.state.reason, _told(ended)
    if state == "FAILED":
        if told and told.get("iccid_after", ended.active) != ended.active:
            yield f"failed, and the evidence says the card is on {told['iccid_after']}"
        return
    needed = {"iccid_before", "iccid_after", "imsi_before", "imsi_after", "proof", "timings_ms", "apdus", "registration"}
    needed |= {"cause"} if state == "ROLLED_BACK" else set()
    needed -= {"registration"} if reason in ("booted_too_often", "card_unreadable", "card_stale") else set()
    if missing := needed - set(told):
        yield f"{state} without {', '.join(sorted(missing))}"
        return
    if (told["iccid_before"], told["iccid_after"], told["proof"]) != (ended.previous, ended.active, "bearer"):
        yield f"the evidence is of another switch: {told['iccid_before']} to {told['iccid_after']}, {told['proof']}"
    if state == "VERIFIED":
        yield from _verified(ended, told)
    else:
        yield from _over_the_fallback(ended, told)
        if told["cause"] != reason or not RADIO_SAYS.get(reason, lambda _seen: True)(told.get("registration")):
            yield f"undone because of {reason}, and the evidence says {told['cause']}, {told.get('registration')}"
        if "return" not in told["timings_ms"]:
            yield "it is not told how long going back took"
    if not ended.where and ended.plan.fault in TRIES_SHOW and not TRIES_SHOW[ended.plan.fault](_of_target(told)):
        yield f"the tries do not show the fault: {told['tries']}"


def _over_the_fallback(ended: Ended, told: dict[str, Any]) -> Iterator[str]:
    """Where the previous carrier died the fallback carries the device, and it is told why."""
    if not ended.plan.previous_dies:
        return
    tried = [(way["iccid"], way["cause"]) for way in told.get("ways_back", [])]
    if ended.active != ended.fallback or (ended.previous, "no_coverage") not in tried:
        yield f"the previous carrier is dead, and the device is on {ended.active} after {tried}"


def _verified(ended: Ended, told: dict[str, Any]) -> Iterator[str]:
    seen = told["registration"]
    if not (seen["state"] == "home" and seen["data"] and seen["plmn"] == ended.target_plmn and "rsrp_dbm" in seen):
        yield f"verified, and the radio says {seen}"
    if missing := {"attach", "registration", "total"} - set(told["timings_ms"]):
        yield f"it is not told how long {', '.join(sorted(missing))} took"
    if not told["imsi_after"].startswith(ended.target_plmn):
        yield f"verified with the IMSI {told['imsi_after']}"
    if told.get("cause"):
        yield f"verified, and a cause is told: {told['cause']}"


def _told(ended: Ended) -> dict[str, Any]:
    """The evidence of the last RESULT."""
    return next((line.evidence for line in reversed(ended.history) if "timings_ms" in line.evidence), {})


def _of_target(told: dict[str, Any]) -> list[dict[str, Any]]:
    """The tries up to the one that did it: those after it were to go back."""
    tries = told.get("tries", [])
    done = next((at for at, entry in enumerate(tries) if entry["result"] == "ok"), len(tries) - 1)
    return list(tries[: done + 1])
