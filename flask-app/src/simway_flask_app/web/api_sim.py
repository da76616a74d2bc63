"""The endpoints of ``/api/v1`` that watch over SIMs: their twins, alarms, and the audit trail."""

from __future__ import annotations

from threading import Lock

from simway_protocol.sim import report

from simway_flask_app import sim_word, sims
from simway_flask_app.sim_word import SimWord
from simway_flask_app.store import port
from simway_flask_app.store.oversight import Twin
from simway_flask_app.trail import Head
from simway_flask_app.web import present_sim, schemas_sim, times
from simway_flask_app.web.context import ACTOR, Services, services
from simway_flask_app.web.limits import VERIFY_RETRY_S
from simway_flask_app.web.problems import Problem
from simway_flask_app.web.routes import device_id, operations

WORDS_MAX = 50
CLOCK_MARGIN_US = 60_000_000
"""The device's clock may be so far behind ours."""
LATE_US = 600_000_000
"""What a SIM says of a switch may come so long after its end: its first readings go over the new carrier."""
COMMANDS_SEEN = 50
PLATFORM = ""
"""The device of an alarm that is of no device."""
_verifying = Lock()
"""A walk over the whole trail takes a thread and a core: one at a time in this process."""


@operations.add(
    "GET",
    "/devices/<device>/sim",
    tag="sim",
    summary="The twin of a device's SIM",
    replies={200: schemas_sim.SimTwin},
    problems=(404,),
)
def get_sim(device: str) -> schemas_sim.SimTwin:
    """What belongs on the SIM against what it reports, the alarms that follow, and the SIM's own word on its last switch."""
    ports = services()
    return _shown(ports, ports.store.twin(device_id(device)))


@operations.add(
    "PUT",
    "/devices/<device>/sim/desired",
    tag="sim",
    summary="Say what belongs on a SIM",
    replies={200: schemas_sim.SimTwin},
    problems=(400, 404, 413, 415, 422),
    body=schemas_sim.DesiredRequest,
)
def put_desired(device: str, body: schemas_sim.DesiredRequest) -> schemas_sim.SimTwin:
    """Accepts the profiles that the SIM reports now, and what is left out as it is reported now. It switches nothing: alarms are
    judged by it. A VERIFIED switch sets it anew."""
    ports = services()
    twin = sims.set_desired(
        ports.store, device_id(device), iccid=body.iccid or "", eid=body.eid or "", actor=ACTOR, now_us=ports.now_us()
    )  # fmt: skip
    return _shown(ports, twin)


@operations.add(
    "GET",
    "/alarms",
    tag="sim",
    summary="Alarms",
    replies={200: schemas_sim.AlarmsPage},
    problems=(422,),
    query=schemas_sim.AlarmsQuery,
)
def list_alarms(query: schemas_sim.AlarmsQuery) -> schemas_sim.AlarmsPage:
    """The newest first. An alarm ends by itself when what raised it is over; nobody has to acknowledge it."""
    over = {"open": False, "over": True, "all": None}[query.state]
    device = PLATFORM if query.scope == "platform" else query.device
    page = services().store.alarms(device=device, over=over, limit=query.limit, cursor=query.cursor)
    return schemas_sim.AlarmsPage([present_sim.alarm(row) for row in page.alarms], page.next_cursor)


@operations.add(
    "GET",
    "/audit",
    tag="audit",
    summary="The audit trail",
    replies={200: schemas_sim.AuditPage},
    problems=(422,),
    query=schemas_sim.AuditQuery,
)
def list_audit(query: schemas_sim.AuditQuery) -> schemas_sim.AuditPage:
    """Every decision, the newest first: enrolments, commands accepted, refused and forced, cancels, each step of a command,
    desired SIMs, alarms. Each entry's hash covers the entry and the hash before it."""
    from_us, to_us = times.parse_parameter("from", query.from_), times.parse_parameter("to", query.to)
    times.check_range(from_us, to_us)
    page = services().store.audit(
        device=query.device, kind=query.kind, from_us=from_us, to_us=to_us, limit=query.limit, cursor=query.cursor
    )
    return schemas_sim.AuditPage([present_sim.audit_entry(row) for row in page.entries], page.next_cursor)


@operations.add(
    "GET",
    "/audit/verify",
    tag="audit",
    summary="Verify the audit trail",
    replies={200: schemas_sim.AuditVerdict},
    problems=(429,),
)
def verify_audit() -> schemas_sim.AuditVerdict:
    """Follows the whole chain, and holds it against its head and the signed heads. Names the first entry that does not fit.
    It sees what the database holds: one that was set back to an older copy as a whole holds. The dispatcher notices that, by what
    it signed, and so does POST with a head noted elsewhere."""
    return _verdict()


@operations.add(
    "POST",
    "/audit/verify",
    tag="audit",
    summary="Verify the audit trail against a head noted earlier",
    replies={200: schemas_sim.AuditVerdict},
    problems=(400, 413, 415, 422, 429),
    body=schemas_sim.AuditHead,
)
def verify_audit_against(body: schemas_sim.AuditHead) -> schemas_sim.AuditVerdict:
    """As GET, and the trail must still have the entry of the head that you noted: who keeps a head outside of this platform
    needs to trust nobody here."""
    return _verdict(Head(body.seq, body.hash))


def _verdict(*noted: Head) -> schemas_sim.AuditVerdict:
    if not _verifying.acquire(blocking=False):
        detail = "The trail is being verified just now, for somebody else. Ask again in some seconds."
        raise Problem(429, "verify_busy", detail, headers={"Retry-After": str(VERIFY_RETRY_S)})
    try:
        ports = services()
        return present_sim.audit_verdict(ports.store.verify_audit(ports.signer, noted))
    finally:
        _verifying.release()


def word_on(ports: Services, row: port.Command) -> SimWord | None:
    """What the SIM itself says of a switch, by its last word between this switch and the next one; None when it said nothing."""
    detail = ports.store.device(row.device)
    newer = [item for item in ports.store.commands(row.device, limit=COMMANDS_SEEN).commands if item.kind == "switch"]
    place = next((index for index, item in enumerate(newer) if item.command_id == row.command_id), len(newer))
    until_us = min([row.updated_us + LATE_US, *(item.created_us for item in newer[max(0, place - 1) : place])])
    page = ports.store.readings(
        row.device, sensors=[report.SWITCH], from_us=row.created_us - CLOCK_MARGIN_US, to_us=until_us, limit=WORDS_MAX,
        order="desc",
    )  # fmt: skip
    return _newest_word(ports, detail, page.readings)


def _newest_word(ports: Services, detail: port.DeviceDetail, readings: list[port.StoredReading]) -> SimWord | None:
    versions = {detail.device.key_version} | ({detail.session.key_version} if detail.session is not None else set())
    words = (
        sim_word.read(ports.master_secret, detail.device.device, versions, reading.value, reading.t_us) for reading in readings
    )
    return sim_word.newest(word for word in words if word is not None)


def _shown(ports: Services, twin: Twin) -> schemas_sim.SimTwin:
    device = twin.detail.device.device
    told = [reading for reading in ports.store.latest(device) if reading.sensor == report.SWITCH]
    return present_sim.twin(twin, _newest_word(ports, twin.detail, told))
