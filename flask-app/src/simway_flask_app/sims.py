"""Use case: what belongs on a SIM, as a person says it. The errors are those of ``commands``."""

from __future__ import annotations

from simway_flask_app.commands import BadRequest, UnknownProfile
from simway_flask_app.store.oversight import Twin
from simway_flask_app.store.port import WebStore
from simway_flask_app.twin import profile_of


def set_desired(
    store: WebStore, device: str, *, iccid: str = "", fallback_iccid: str = "", eid: str = "", actor: str, now_us: int
) -> Twin:
    """Says which profile shall be active, which one a switch may count on as fallback, and which card belongs there.

    What is left empty is taken from the last report (no fallback: none), and the profiles reported are accepted. This switches
    nothing: it is what alarms are judged by.
    """
    inventory = store.device(device).inventory
    for wanted in (iccid, fallback_iccid):
        if wanted and inventory is not None and profile_of(inventory.profiles, wanted) is None:
            raise UnknownProfile(f"the SIM has no profile {wanted}; its inventory lists what it has")
    if fallback_iccid:
        fallback = profile_of(inventory.profiles, fallback_iccid) if inventory is not None else None
        if fallback is None:
            raise UnknownProfile("the device has not told what its SIM holds: queue an audit, then name its fallback")
        if fallback.profile_class != "operational":
            raise BadRequest(f"profile {fallback_iccid} is of class {fallback.profile_class}: a fallback must be operational")
    return store.set_desired(device, iccid=iccid, fallback_iccid=fallback_iccid, eid=eid, actor=actor, now_us=now_us)
