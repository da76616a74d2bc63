"""What changes about a card: in, out, another profile enabled, profiles come and gone, notifications. Pure but for ``look``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from simway_protocol.errors import PeerError
from simway_protocol.messages import Profile
from simway_protocol.sim.card import CardError, CardGone
from simway_protocol.sim.es10b import Notification
from simway_protocol.sim.uicc import Uicc

from simway_modem_client.desk.card import Desk
from simway_modem_client.desk.words import name_of


class View(NamedTuple):
    """A card at one moment. ``trouble``: why there is none to see; then all else is empty."""

    trouble: str = ""
    iccid: str = ""
    eid: str = ""
    profiles: tuple[Profile, ...] = ()
    notifications: tuple[Notification, ...] = ()


class Change(NamedTuple):
    """``kind``: in, out, active, profile, notification, trouble. ``text``: for people. ``iccid``: what it is about, or empty."""

    kind: str
    text: str
    iccid: str = ""


def look(desk: Desk) -> View:
    """The card as it is now, let go of at once."""
    try:
        with desk.sim() as sim, sim.use().dialogue():
            inventory = sim.use().inventory()
            notifications = _notifications(sim.use()) if inventory.eid else ()
            profiles = tuple(info.message() for info in inventory.profiles)
            return View("", inventory.active_iccid, inventory.eid, profiles, notifications)
    except (CardError, PeerError) as error:
        return View(trouble=str(error))


def changes(before: View | None, after: View) -> list[Change]:
    """What to say about ``after``; ``before`` None: all of it."""
    if after.trouble:
        return [] if before is not None and before.trouble == after.trouble else [_gone(before, after)]
    if before is None or before.trouble or before.eid != after.eid or _is_other_sim(before, after):
        return [Change("in", f"card in: {_called(after)}{_of_eid(after)}", after.iccid), *_waiting(after, ())]
    found = []
    if before.iccid != after.iccid:
        found.append(Change("active", f"active profile: {_called(before)} -> {_called(after)}", after.iccid))
    found += _profile_changes(before, after)
    return found + _waiting(after, before.notifications)


def follow(
    look_now: Callable[[], View], wait: Callable[[], bool]
) -> Iterator[Change]:  # the watcher's loop, without card and clock
    """The changes between looks, for as long as ``wait`` (called between two looks) says so."""
    before: View | None = None
    while True:
        after = look_now()
        yield from changes(before, after)
        before = after
        if not wait():
            return


def _gone(before: View | None, after: View) -> Change:
    if before is None or before.trouble:
        return Change("trouble", after.trouble)
    return Change("out", f"card out: {after.trouble}", before.iccid)


def _is_other_sim(before: View, after: View) -> bool:
    return not after.eid and before.iccid != after.iccid


def _profile_changes(before: View, after: View) -> list[Change]:
    old = {profile.iccid: profile for profile in before.profiles}
    new = {profile.iccid: profile for profile in after.profiles}
    found = [Change("profile", f"profile added: {_name(profile)}", iccid) for iccid, profile in new.items() if iccid not in old]
    found += [
        Change("profile", f"profile deleted: {_name(profile)}", iccid) for iccid, profile in old.items() if iccid not in new
    ]
    for iccid, profile in new.items():
        if iccid in old and old[iccid].nickname != profile.nickname:
            found.append(Change("profile", f"profile renamed: {_name(profile)}", iccid))
    return found


def _waiting(view: View, known: tuple[Notification, ...]) -> list[Change]:
    seen = {item.seq for item in known}
    names = {profile.iccid: _name(profile) for profile in view.profiles}
    return [
        Change("notification", f"notification {item.seq}: {_operation(item)} {names.get(item.iccid, item.iccid)}", item.iccid)
        for item in view.notifications
        if item.seq not in seen
    ]


def _operation(item: Notification) -> str:
    return (item.operation.name or "unknown").lower().replace("|", ", ")


def _called(view: View) -> str:
    profile = next((profile for profile in view.profiles if profile.iccid == view.iccid), None)
    return _name(profile) if profile is not None else view.iccid or "no profile"


def _of_eid(view: View) -> str:
    return f", {len(view.profiles)} profiles, EID {view.eid}" if view.eid else ", no eUICC"


def _name(profile: Profile) -> str:
    fields: dict[str, Any] = {name: getattr(profile, name) for name in ("iccid", "nickname", "provider", "name")}
    return name_of(fields)


def _notifications(uicc: Uicc) -> tuple[Notification, ...]:
    try:
        return tuple(uicc.notifications())
    except CardGone:
        raise
    except (CardError, PeerError):
        return ()
