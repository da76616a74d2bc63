"""Use case: what belongs on a SIM, as a person says it. The errors are those of ``commands``."""

from __future__ import annotations

from simway_flask_app.commands import UnknownProfile
from simway_flask_app.store.oversight import Twin
from simway_flask_app.store.port import WebStore
from simway_flask_app.twin import profile_of


def set_desired(store: WebStore, device: str, *, iccid: str = "", eid: str = "", actor: str, now_us: int) -> Twin:
    """Says which profile shall be active, and which card belongs there.

    What is left empty is taken from the last report, and the profiles reported are accepted. This switches nothing: it is what
    alarms are judged by.
    """
    inventory = store.device(device).inventory
    if iccid and inventory is not None and profile_of(inventory.profiles, iccid) is None:
        raise UnknownProfile(f"the SIM has no profile {iccid}; its inventory lists what it has")
    return store.set_desired(device, iccid=iccid, eid=eid, actor=actor, now_us=now_us)
