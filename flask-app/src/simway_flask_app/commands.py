"""Use cases of commands: what may be asked of a device, checked before anything is queued (design, section 8).

The web maps the errors to statuses: ``UnknownDevice``, ``UnknownCommand`` and ``UnknownProfile`` 404; ``AlreadyEnabled``,
``AmbiguousProvider``, ``NoInventory``, ``DeviceRevoked`` and ``NotCancellable`` 409; ``BadRequest`` 422. ``CommandRefused``, the
word of ``policy`` in the transaction that would queue the command: 409, or 429 where waiting helps.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from functools import partial

from simway_protocol.commands import DEADLINE_DEFAULT_S, DEADLINE_MIN_S
from simway_protocol.messages import Profile
from simway_protocol.sim.numbering import ICCID_WORDS, is_iccid

from simway_flask_app import policy
from simway_flask_app.policy import SWITCHES_PER_DAY_DEFAULT
from simway_flask_app.store.port import Command, Device, DeviceDetail, NewCommand, SimInventory, WebStore

DEADLINE_MAX_S = 24 * 3600
EXPIRES_DEFAULT_S = 3600
EXPIRES_MAX_S = 7 * 24 * 3600
"""Not longer than ``downlink`` is kept: a command that the log forgot could never be delivered."""


class CommandError(Exception):
    """Base of refusals by the rules. ``reason`` is a stable word for programs, the text is for people."""

    reason = "refused"


class BadRequest(CommandError):
    """A number out of its range, or neither or both of ICCID and provider: the caller's fault."""

    reason = "bad_request"


class UnknownProfile(CommandError):
    """The SIM's last inventory shows no such ICCID or provider."""

    reason = "unknown_profile"


class AlreadyEnabled(CommandError):
    """The inventory shows that profile as the active one."""

    reason = "already_enabled"


class AmbiguousProvider(CommandError):
    """Several profiles are of that provider: name the ICCID."""

    reason = "ambiguous_provider"


class NoInventory(CommandError):
    """The device has not told yet what its SIM holds, so a provider cannot be resolved."""

    reason = "no_inventory"


class DeviceRevoked(CommandError):
    """A revoked device is not let in, so no command can reach it."""

    reason = "device_revoked"


def switch_carrier(
    store: WebStore, device: str, *, iccid: str = "", provider: str = "", deadline_s: int | None = None,
    expires_in_s: int | None = None, force_reason: str = "", switches_per_day: int = SWITCHES_PER_DAY_DEFAULT, actor: str,
    now_us: int,
) -> Command:  # fmt: skip
    """Queues a carrier switch to ``iccid`` or to the one profile of ``provider`` (compared without case).

    ``force_reason``: why rules are to be set aside that a person may set aside; empty: none. ``switches_per_day``: 0 for no cap.
    """
    if bool(iccid) == bool(provider):
        raise BadRequest("name either an iccid or a provider")
    detail = store.device(device)
    _require_active(detail.device)
    target = _target(detail, iccid, provider)
    deadline_s = _within(DEADLINE_DEFAULT_S if deadline_s is None else deadline_s, DEADLINE_MIN_S, DEADLINE_MAX_S, "deadline_s")
    wanted = new_command(device, "switch", expires_in_s, actor, now_us)
    wanted = replace(
        wanted,
        deadline_s=deadline_s,
        target_iccid=target,
        provider=provider,
        forced=bool(force_reason),
        force_reason=force_reason,
    )
    judge = partial(policy.judge, forced=wanted.forced, switches_per_day=switches_per_day, now_us=now_us)
    return store.add_command(wanted, now_us=now_us, judge=judge)


def ping(store: WebStore, device: str, *, expires_in_s: int | None = None, actor: str, now_us: int) -> Command:
    """Queues a ping: the device answers, and that is all."""
    _require_active(store.require_device(device))
    return store.add_command(new_command(device, "ping", expires_in_s, actor, now_us), now_us=now_us)


def audit(store: WebStore, device: str, *, expires_in_s: int | None = None, actor: str, now_us: int) -> Command:
    """Queues an audit: the device reports its SIM's inventory and its journal of the last switch."""
    _require_active(store.require_device(device))
    return store.add_command(new_command(device, "audit", expires_in_s, actor, now_us), now_us=now_us)


def cancel(store: WebStore, device: str, command_id: str, *, actor: str, now_us: int) -> Command:
    """Cancels, or asks the device to: done when the state is CANCELLED (200), else asked (202)."""
    return store.request_cancel(device, command_id, actor=actor, now_us=now_us)


def _require_active(device: Device) -> None:
    if device.status != "active":
        raise DeviceRevoked(f"device {device.device} is {device.status}")


def _target(detail: DeviceDetail, iccid: str, provider: str) -> str:
    inventory = detail.inventory
    if inventory is None:
        return _without_inventory(iccid)
    found = _matching(inventory, iccid, provider)
    if not found:
        raise UnknownProfile(f"the SIM has no profile {iccid or provider!r}; its inventory lists what it has")
    if len(found) > 1:
        raise AmbiguousProvider(f"{len(found)} profiles are of {provider!r}: " + ", ".join(profile.iccid for profile in found))
    if found[0].iccid == detail.active_iccid:
        raise AlreadyEnabled(f"profile {found[0].iccid} is the active one")
    return found[0].iccid


def _without_inventory(iccid: str) -> str:
    if not iccid:
        raise NoInventory("the device has not reported its profiles yet: name an iccid, or queue an audit first")
    if not is_iccid(iccid):
        raise BadRequest(f"an ICCID is {ICCID_WORDS}")
    return iccid


def _matching(inventory: SimInventory, iccid: str, provider: str) -> list[Profile]:
    if iccid:
        return [profile for profile in inventory.profiles if profile.iccid == iccid]
    wanted = provider.casefold()
    return [profile for profile in inventory.profiles if profile.provider.casefold() == wanted]


def new_command(device: str, kind: str, expires_in_s: int | None, actor: str, now_us: int) -> NewCommand:
    lasts_s = _within(EXPIRES_DEFAULT_S if expires_in_s is None else expires_in_s, 1, EXPIRES_MAX_S, "expires_in_s")
    return NewCommand(secrets.token_hex(16), device, kind, now_us + lasts_s * 1_000_000, DEADLINE_MIN_S, actor)


def _within(value: int, low: int, high: int, name: str) -> int:
    if not low <= value <= high:
        raise BadRequest(f"{name} must be from {low} to {high}")
    return value
