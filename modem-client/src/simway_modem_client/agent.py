"""What the device does with commands: verify, journal, receipt, execute, report; and its own word on its SIM."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import apsw
import structlog
from simway_backbone import metrics
from simway_protocol.commands import COMMAND_ID_BYTES, Body, BodyType, Kind, ResultOutcome, decode_body
from simway_protocol.errors import LocalError, PeerError
from simway_protocol.sim.bearer import PROOF_CARD_ONLY, Registration
from simway_protocol.sim.card import CardError
from simway_protocol.udp.events import CommandArrived, Settled

from simway_modem_client.bearers.none import NoBearer
from simway_modem_client.card import SimCard
from simway_modem_client.journal import CommandRecord, Journal, OpenSwitch
from simway_modem_client.keys import KeyProvider
from simway_modem_client.switcher import FULL, Switcher

UNSOLICITED = bytes(COMMAND_ID_BYTES)
"""The command id of a RESULT that nobody asked for: the inventory."""
RECENT_COMMANDS = 16
"""Commands that an audit reports from the journal."""

log = structlog.get_logger(__name__)


class Uplink(Protocol):
    """The part of ``ClientEndpoint`` that answers commands, and the link's wish to attach anew."""

    def send_receipt(self, command_id: bytes, counter: int, now_us: int) -> None:
        """As ``ClientEndpoint.send_receipt``."""

    def send_result(self, command_id: bytes, outcome: str, reason: str, evidence: dict[str, Any], now_us: int) -> None:
        """As ``ClientEndpoint.send_result``."""

    def send_closed(self, command_id: bytes, outcome: str, now_us: int) -> None:
        """As ``ClientEndpoint.send_closed``."""


class Agent:
    """Executes commands. Not thread-safe; calls block on card and disk. ``clock_us``: the link's clock."""

    def __init__(
        self,
        *,
        device: str,
        keys: KeyProvider,
        sim: SimCard,
        journal: Journal,
        uplink: Uplink,
        clock_us: Callable[[], int],
        reattach: Callable[[], None],
        proof: str = PROOF_CARD_ONLY,
        describe: Callable[[], dict[str, Any]] = dict,
        registration: Callable[[], Registration] | None = None,
        switch_floor_s: int = 0,
    ) -> None:
        self._device = device
        self._keys = keys
        self._sim = sim
        self._journal = journal
        self._uplink = uplink
        self._clock_us = clock_us
        self._describe = describe
        self.reattach = reattach
        self._server_ahead_us = 0
        self._first_attach = True
        self._accepted: deque[Body] = deque()
        self._inventory_digest = ""
        self.inventory: dict[str, Any] = {}
        self.switcher = Switcher(
            journal=journal, sim=sim, reports=self, clock_us=clock_us, proof=proof, key_survives=keys.survives_switch,
            registration=registration or NoBearer().registration, floor_s=switch_floor_s,
        )  # fmt: skip

    # --- life ------------------------------------------------------------------------------------------------------------

    def boot(self) -> None:
        """Once, before the first attach: resolves what a power cut left open, and takes up what is still to be said."""
        self.switcher.boot()
        open_id = self.switcher.open.command_id if self.switcher.open else None
        for record in self._journal.unfinished():
            if record.command_id != open_id:
                with _disk_may_refuse():
                    self._journal.finish(record.command_id, ResultOutcome.FAILED, "interrupted", {})
        for record in self._journal.unsettled():
            self.send_pending(record.command_id)

    def attached(self, iccid: str, server_time_us: int, received_us: int) -> None:
        """A new session stands; ``iccid``: what its ATTACH named. ``received_us``: when the server's time was received."""
        self._server_ahead_us = server_time_us - received_us
        self.switcher.attached(iccid)
        self._report_inventory()

    def settled(self, event: Settled) -> None:
        """The server has what was said."""
        if event.command_id == UNSOLICITED:
            with _disk_may_refuse():
                self._journal.reported_inventory = self._inventory_digest
            return
        with _disk_may_refuse():
            self._journal.settle(event.command_id, event.what)
        if event.what == "result":
            self.send_pending(event.command_id)

    def tick(self, now_us: int) -> None:
        """Executes what was accepted, and does what is due. Blocks on the card."""
        while self._accepted:
            self._execute(self._accepted.popleft())
        self.switcher.tick(now_us)

    def next_deadline_us(self) -> int | None:
        """When ``tick`` is wanted; 0 is at once, but after the output is sent: a RECEIPT precedes the execution."""
        return 0 if self._accepted else self.switcher.next_deadline_us()

    def send_pending(self, command_id: bytes) -> None:
        """RESULT first; CLOSED once the server has RESULT, or where there is none to send."""
        record = self._journal.command(command_id)
        if record is None:
            return
        now_us = self._clock_us()
        if record.outcome and not record.result_settled:
            self._say(command_id, record.outcome, record.reason, record.evidence)
        elif record.closed and not record.closed_settled:
            self._uplink.send_closed(command_id, record.closed, now_us)

    # --- commands --------------------------------------------------------------------------------------------------------

    def command(self, event: CommandArrived) -> None:
        """COMMAND, CANCEL or CONFIRM: checked in the order of the design, then answered."""
        try:
            body = decode_body(event.body)
            genuine = self._keys.verify(event.body, event.mac)
        except PeerError as error:
            log.warning("a command that does not decode", error=str(error))
            return
        except CardError as error:
            log.warning("the card cannot verify a command now; the server will repeat it", error=str(error))
            self._sim.drop()
            return
        if not genuine:
            self._refuse(body, "bad_mac")
        elif body.device != self._device:
            self._refuse(body, "wrong_device")
        elif body.type is BodyType.COMMAND:
            self._take(body)
        elif body.type is BodyType.CANCEL:
            self._cancel(body)
        else:
            self._confirm(body)

    def _take(self, body: Body) -> None:
        known = self._journal.command(body.command_id)
        if known is not None:
            self._repeat(known)
        elif self._expired(body):
            self._refuse(body, "expired")
        elif body.counter <= self._journal.last_counter:
            self._refuse(body, "counter", {"last_counter": self._journal.last_counter})
        elif not self._accept(body):
            self._refuse(body, "journal_full")
        else:
            self._uplink.send_receipt(body.command_id, body.counter, self._clock_us())
            log.info("command accepted", kind=body.kind.name.lower(), command_id=body.command_id.hex(), counter=body.counter)
            self._accepted.append(body)

    def _accept(self, body: Body) -> bool:
        """False when the journal cannot take it: nothing has happened then."""
        try:
            self._journal.accept(CommandRecord(body.command_id, body.kind.name.lower(), body.counter, self._clock_us()))
        except (apsw.Error, OSError) as error:
            log.error(FULL, error=str(error))
            return False
        return True

    def _execute(self, body: Body) -> None:
        try:
            if body.kind is Kind.SWITCH:
                reason = "expired" if self._expired(body) else self.switcher.begin(body)
                if reason:
                    self._finish(body, ResultOutcome.FAILED, reason, {})
            elif body.kind is Kind.AUDIT:
                self._finish(body, ResultOutcome.EXECUTED, "", {"inventory": self.read_inventory(), "journal": self._told()})
            else:
                self._finish(body, ResultOutcome.EXECUTED, "", self._describe())
        except (CardError, PeerError) as error:
            log.warning("the card did not do its part of a command", error=str(error))
            self._sim.drop()
            self._finish(body, ResultOutcome.FAILED, "card_error", {"detail": str(error)})
        except apsw.Error as error:
            log.error(FULL, error=str(error))
            self._finish(body, ResultOutcome.FAILED, "journal_full", {})

    def _cancel(self, body: Body) -> None:
        """A command not yet seen is cancelled and never begins; one that has begun answers with its own result."""
        known = self._journal.command(body.command_id)
        if known is None:
            if self._accept(body):  # else the server asks again
                self._finish(body, ResultOutcome.CANCELLED, "", {})
        elif known.outcome:
            self._repeat(known)
        elif (waiting := next((b for b in self._accepted if b.command_id == body.command_id), None)) is not None:
            self._accepted.remove(waiting)
            self._finish(body, ResultOutcome.CANCELLED, "", {})
        else:
            self._refuse(body, "too_late")

    def _confirm(self, body: Body) -> None:
        if self._expired(body):
            log.warning("a CONFIRM that has expired; the switch goes back by itself", command_id=body.command_id.hex())
            return
        self.switcher.confirm(body.command_id)
        known = self._journal.command(body.command_id)
        if known is None:
            return
        if known.closed:
            self._uplink.send_closed(known.command_id, known.closed, self._clock_us())
        elif known.outcome != ResultOutcome.EXECUTED:
            self._repeat(known)

    def _repeat(self, known: CommandRecord) -> None:
        if known.outcome:
            self._say(known.command_id, known.outcome, known.reason, known.evidence)
        else:
            self._uplink.send_receipt(known.command_id, known.counter, self._clock_us())

    def _refuse(self, body: Body, reason: str, evidence: dict[str, Any] | None = None) -> None:
        """Not journaled: the server may seal the same id anew."""
        metrics.DEVICE_REFUSED_COMMANDS.labels(reason).inc()
        log.warning("command refused", reason=reason, command_id=body.command_id.hex())
        self._say(body.command_id, ResultOutcome.REFUSED, reason, evidence or {})

    def _say(self, command_id: bytes, outcome: str, reason: str, evidence: dict[str, Any]) -> None:
        try:
            self._uplink.send_result(command_id, outcome, reason, evidence, self._clock_us())
        except LocalError as error:
            log.warning("the evidence cannot be sent; the result goes without", error=str(error))
            self._uplink.send_result(command_id, outcome, reason, {"detail": str(error)}, self._clock_us())

    def _finish(self, body: Body, outcome: str, reason: str, evidence: dict[str, Any]) -> None:
        """What the journal cannot take is said all the same; after a restart it is ``interrupted``."""
        try:
            self._journal.finish(body.command_id, outcome, reason, evidence)
        except apsw.Error as error:
            log.error(FULL, error=str(error))
            return self._say(body.command_id, outcome, reason, evidence)
        return self.send_pending(body.command_id)

    def _expired(self, body: Body) -> bool:
        return self._clock_us() + self._server_ahead_us > body.expires_us

    # --- inventory -------------------------------------------------------------------------------------------------------

    def read_inventory(self) -> dict[str, Any]:
        """What the SIM holds, read now. Raises ``CardError`` and ``PeerError``."""
        self.inventory = self._sim.use().inventory().evidence()
        return self.inventory

    def _report_inventory(self) -> None:
        """Unasked, when the server may not know: at the first attach after a start, and after a change."""
        try:
            inventory = self.read_inventory()
        except (CardError, PeerError) as error:
            log.warning("the SIM's inventory cannot be read", error=str(error))
            self._sim.drop()
            return
        digest = hashlib.sha256(json.dumps(inventory, sort_keys=True).encode()).hexdigest()
        if not self._first_attach and digest == self._journal.reported_inventory:
            return
        self._first_attach = False
        self._inventory_digest = digest
        with _disk_may_refuse():
            self._journal.reported_inventory = ""  # until it is settled nobody knows which of the two the server has
        evidence = {"inventory": inventory, "journal": self._told()}
        self._say(UNSOLICITED, ResultOutcome.EXECUTED, "", evidence)

    def _told(self) -> dict[str, Any]:
        """The journal, as an audit reports it: what became of recent commands, and the open switch."""
        recent = self._journal.recent(RECENT_COMMANDS)
        told: dict[str, Any] = {
            "last_counter": self._journal.last_counter,
            "open_switch": _switch_told(self.switcher.open),
            "commands": [
                {"command_id": r.command_id.hex(), "kind": r.kind, "outcome": r.outcome, "reason": r.reason, "closed": r.closed}
                for r in recent
            ],
        }
        if self._journal.is_lost and len(recent) < RECENT_COMMANDS:
            told["journal_lost"] = True
        return told


@contextmanager
def _disk_may_refuse() -> Iterator[None]:
    try:
        yield
    except apsw.Error as error:
        log.error(FULL, error=str(error))


def _switch_told(switch: OpenSwitch | None) -> dict[str, Any] | None:
    if switch is None:
        return None
    return {
        "command_id": switch.command_id.hex(), "previous": switch.previous, "target": switch.target, "phase": str(switch.phase),
    }  # fmt: skip
