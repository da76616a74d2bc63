"""From the store's values to those of the REST API: twins, alarms, the audit trail."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from simway_flask_app.sim_word import SimWord
from simway_flask_app.store.oversight import Alarm, AuditRow, AuditVerdict, Desired, SignedHead, Twin
from simway_flask_app.web import present, schemas, schemas_sim
from simway_flask_app.web.times import to_text


def alarm(row: Alarm) -> schemas.Alarm:
    """One alarm."""
    return present.alarm(row)


def twin(row: Twin, word: SimWord | None) -> schemas_sim.SimTwin:
    """A SIM as it should be and as it is."""
    detail = row.detail
    held = detail.inventory
    return schemas_sim.SimTwin(
        device=detail.device.device,
        active_iccid=row.active_iccid,
        reported=None if held is None else present.inventory(held, row.active_iccid),
        desired=None if row.desired is None else desired(row.desired),
        alarms=[alarm(item) for item in detail.alarms],
        sim_word=present.sim_word(word),
        last_switch=row.last_switch or None,
        journal_open=row.journal_open or None,
        audited_at=present.optional_text(row.audited_us or None),
        audited_us=row.audited_us or None,
    )


def desired(row: Desired) -> schemas_sim.Desired:
    """What belongs on a SIM."""
    return schemas_sim.Desired(
        row.iccid,
        row.eid,
        list(row.profiles),
        cast(Any, row.source),
        row.actor,
        to_text(row.set_us),
        row.set_us,
    )


def audit_entry(row: AuditRow) -> schemas_sim.AuditEntry:
    """One entry. A detail that is no JSON object is shown as it is: the trail was tampered with, and ``verify`` says so."""
    entry = row.entry
    try:
        detail = msgspec.json.decode(entry.detail, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError):
        detail = {"text": entry.detail}
    return schemas_sim.AuditEntry(
        entry.seq, to_text(entry.t_us), entry.t_us, entry.kind, entry.device, entry.actor, entry.subject, detail, row.hash
    )


def audit_verdict(row: AuditVerdict) -> schemas_sim.AuditVerdict:
    """What following the trail gave."""
    fault = row.broken
    return schemas_sim.AuditVerdict(
        ok=fault is None,
        count=row.head.seq,
        head=schemas_sim.AuditHead(row.head.seq, row.head.hash),
        broken=None if fault is None else schemas_sim.AuditFault(fault.seq, cast(Any, fault.problem), fault.detail),
        signed=None if row.signed is None else _signed(row.signed),
        public_key=row.public_key,
    )


def _signed(row: SignedHead) -> schemas_sim.SignedHead:
    return schemas_sim.SignedHead(row.head.seq, row.head.hash, row.signature, to_text(row.t_us), row.t_us)
