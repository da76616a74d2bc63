"""A card as a client sees it: its identity, its profiles, its applet; over any driver of the card port."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, NamedTuple, TypeAlias

from simway_protocol.errors import PeerError
from simway_protocol.messages import Profile as ProfileMessage
from simway_protocol.sim import apdu, applet, es10b, es10c, euicc_info, files, numbering, status, store_data
from simway_protocol.sim import terminal as terminal_duty
from simway_protocol.sim.apdu import Command
from simway_protocol.sim.card import Card, CardError, CardGone, dialogue_of, expect_success
from simway_protocol.sim.es10c import (
    DeleteResult,
    DisableProfile,
    DisableResult,
    EnableProfile,
    EnableResult,
    NicknameResult,
    ProfileClass,
    ProfileId,
    ProfileInfo,
)
from simway_protocol.sim.proactive import ProactiveCommand
from simway_protocol.sim.terminal import NoTerminal, Terminal
from simway_protocol.sim.transport import Chain
from simway_protocol.udp.keys import CardResponse

_PROFILE_TAGS = (
    es10c.TAG_ICCID, es10c.TAG_AID, es10c.TAG_STATE, es10c.TAG_NICKNAME, es10c.TAG_PROVIDER, es10c.TAG_NAME,
    es10c.TAG_CLASS, es10c.TAG_POLICY,
)  # fmt: skip
_PROFILE_TAGS_SGP32 = (*_PROFILE_TAGS, es10c.TAG_FALLBACK)
_NO_CHANNEL = frozenset({
    status.CHANNEL_NOT_SUPPORTED, status.FUNCTION_NOT_SUPPORTED, status.WRONG_INSTRUCTION, status.WRONG_CLASS, status.WRONG_P1_P2,
})  # fmt: skip
NOT_THERE = frozenset({status.FILE_NOT_FOUND, 0x6999, status.FUNCTION_NOT_SUPPORTED})
"""Status words of a SELECT that mean: this card has no such application."""
_SELECT_MF = Command(0x00, apdu.Ins.SELECT, 0x00, 0x0C, bytes.fromhex("3F00"))
_POLL = Command(0x80, apdu.Ins.STATUS, 0x00, 0x0C)
_NO_FILES = NOT_THERE | {status.COMMAND_NOT_ALLOWED, status.WRONG_P1_P2, status.WRONG_INSTRUCTION, status.WRONG_CLASS}
"""Status words of a SELECT that mean: this card has no such file, or no files at all, as an applet on a plain card."""

_Change: TypeAlias = EnableProfile | DisableProfile | es10c.DeleteProfile | es10c.SetNickname | es10b.RemoveNotification


class CardInventory(NamedTuple):
    """What a card holds. ``eid`` is empty and ``profiles`` too on a SIM that is no eUICC.

    ``os_version``: of its operating system, ``smdp``: its default SM-DP+; empty where it does not say. ``profiles_unreadable``:
    how many entries of the card's list are left out because nobody can read them, or name them by ICCID.
    """

    eid: str
    active_iccid: str
    profiles: list[ProfileInfo]
    os_version: str = ""
    smdp: str = ""
    profiles_unreadable: int = 0

    def evidence(self) -> dict[str, Any]:
        """As RESULT and the log carry it: plain values, profiles in the fields of ``messages.Profile``."""
        return {
            "eid": self.eid,
            "active_iccid": self.active_iccid,
            "profiles": [_plain(item.message()) for item in self.profiles],
            "os_version": self.os_version,
            "smdp": self.smdp,
            "profiles_unreadable": self.profiles_unreadable,
        }


class Channel:
    """An open logical channel with an application selected on it."""

    def __init__(self, chain: Chain, number: int, block_bytes: int) -> None:
        self._chain = chain
        self._block_bytes = block_bytes
        self.number = number

    def send(self, command: Command, doing: str) -> bytes:
        """As ``Chain.send``."""
        return self._chain.send(command, doing)

    def store_data(self, request: bytes) -> bytes:
        """One ES10 request in as many blocks as it takes; its whole response."""
        response = b""
        for command in store_data.split(request, self.number, self._block_bytes):
            response = self._chain.send(command, f"STORE DATA block {command.p2}")
        return response


class Uicc:
    """One card. Not thread-safe; every method blocks as long as the card takes.

    ``clock_us``: a monotonic clock in microseconds, for evidence alone. ``block_bytes``: the largest STORE DATA block.
    ``terminal``: what the device does for the card's proactive commands; None for a client that is no device.
    Methods raise ``CardError`` when the card refuses, ``CardGone`` when no answer came (then nothing is known: re-read), and
    ``PeerError`` when an answer does not parse.
    """

    def __init__(
        self,
        card: Card,
        clock_us: Callable[[], int],
        *,
        isd_r_aid: bytes = es10c.ISD_R_AID,
        block_bytes: int = apdu.SHORT_DATA_MAX_BYTES,
        terminal: Terminal | None = None,
    ) -> None:
        self._chain = Chain(card, clock_us)
        self._terminal = terminal or NoTerminal()
        self.dialogue = dialogue_of(card)
        """Keeps other programs out between several calls, as from an enable to the look at what it did (``card.Shared``)."""
        self._isd_r_aid = isd_r_aid
        self._block_bytes = block_bytes

    # --- the card itself -----------------------------------------------------------------------------------------------

    def reset(self) -> bytes:
        """Powers the card off and on; its ATR. A profile switched to before shows its files from here on.

        A terminal introduces itself then; what the card asks for after that waits for ``run_proactive``.
        """
        atr = self._chain.card.reset()
        self._terminal.card_reset()
        terminal_duty.introduce(self._chain, self._terminal)
        return atr

    def close(self) -> None:
        """Lets go of the card."""
        self._chain.card.close()

    def take_evidence(self) -> list[dict[str, Any]]:
        """``{"name", "sw", "ms"}`` of each APDU since the last call. No data, so no secret."""
        return [exchange.evidence() for exchange in self._chain.trace.take()]

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What is done inside leaves no evidence: it belongs to no command that evidence is kept for."""
        kept = self._chain.trace.take()
        try:
            yield
        finally:
            self._chain.trace.forget_since(kept)

    @contextmanager
    def channel(self) -> Iterator[Channel]:
        """A logical channel, closed on the way out; the basic channel on a card that has no other."""
        with self.dialogue():
            number = self._open_channel()
            try:
                yield Channel(self._chain, number, self._block_bytes)
            finally:
                if number:
                    self._close_channel(number)

    @contextmanager
    def application(self, aid: bytes, name: str) -> Iterator[Channel]:
        """A channel with the application selected; ``CardError`` with a status word of ``NOT_THERE`` where the card has none."""
        with self.channel() as channel:
            channel.send(apdu.select_application(aid, channel.number), f"SELECT {name}")
            yield channel

    # --- files ---------------------------------------------------------------------------------------------------------

    def iccid(self) -> str:
        """The ICCID in EF.ICCID: the profile whose files the card shows now. Empty when no profile is enabled.

        A card with profiles and without files (the Java Card applet) shows none but the enabled one's.
        """
        try:
            with self.channel() as channel:
                data = files.read_transparent(channel.send, channel.number, files.EF_ICCID, numbering.ICCID_BYTES)
        except CardError as error:
            if error.sw not in _NO_FILES:
                raise
            return self._enabled_iccid(error)
        return numbering.decode_iccid(data)

    def _enabled_iccid(self, no_file: CardError) -> str:
        try:
            return next((profile.iccid for profile in self.profiles() if profile.enabled), "")
        except CardError as error:
            if error.sw in NOT_THERE:
                raise no_file from None
            raise

    def imsi(self) -> str:
        """The IMSI in the first USIM's EF.IMSI; empty when the card has or lists no USIM, hides it by a PIN, or has none."""
        with self.channel() as channel:
            try:
                aid = files.find_usim(channel.send, channel.number)
            except CardError as error:
                if error.sw not in _NO_FILES:
                    raise
                return ""
            if aid is None:
                return ""
            channel.send(apdu.select_application(aid, channel.number), "SELECT USIM")
            channel.send(apdu.select_file(files.EF_IMSI, channel.number), "SELECT EF.IMSI")
            data, sw = self._chain.card.transmit(apdu.read_binary(numbering.IMSI_BYTES, channel=channel.number).encode())
        if sw == status.SECURITY_STATUS_NOT_SATISFIED:
            return ""
        expect_success(sw, "read EF.IMSI")
        try:
            return numbering.decode_imsi(data)
        except PeerError:
            return ""

    # --- profiles ------------------------------------------------------------------------------------------------------

    def store_data(self, request: bytes) -> bytes:
        """One ES10 request (``BF31...``) to the ISD-R on a channel of its own; its response (``BF31...``).

        A switch may leave a proactive command pending: ``run_proactive``, or ``apply_switch``, comes next.
        """
        with self.application(self._isd_r_aid, "ISD-R") as channel:
            return channel.store_data(request)

    def eid(self) -> str:
        """The EID, 32 digits."""
        return es10c.decode_eid_response(self.store_data(es10c.GetEid().encode()))

    def profiles(self, search: ProfileId | ProfileClass | None = None) -> list[ProfileInfo]:
        """All profiles that can be read, or those that ``search`` names."""
        return self._listed(search)[0]

    def _listed(self, search: ProfileId | ProfileClass | None = None) -> tuple[list[ProfileInfo], int]:
        """Profiles, and how many cannot be read. A card that refuses the tag of the fallback attribute has no such profile."""
        try:
            return self._profiles(es10c.GetProfilesInfo(search, _PROFILE_TAGS_SGP32))
        except es10c.ProfilesError:
            return self._profiles(es10c.GetProfilesInfo(search, _PROFILE_TAGS))

    def inventory(self) -> CardInventory:
        """EID, active ICCID, profiles, and what the card says of itself. A plain SIM has only the second."""
        iccid = self.iccid()
        try:
            eid, (listed, unreadable) = self.eid(), self._listed()
        except CardError as error:
            if error.sw in NOT_THERE:
                return CardInventory("", iccid, [])
            raise
        profiles = [profile for profile in listed if profile.iccid]
        found = CardInventory(eid, iccid, profiles, profiles_unreadable=unreadable + len(listed) - len(profiles))
        try:
            return found._replace(os_version=self.info().firmware, smdp=self.addresses().smdp)
        except CardGone:
            raise
        except (CardError, PeerError):
            return found

    def enable(self, profile: str, refresh: bool = True) -> EnableResult:
        """EnableProfile by ICCID or AID. ``OK`` is the card's word only: ``apply_switch``, and look at the ICCID."""
        return EnableResult(self._result(EnableProfile(ProfileId.of(profile), refresh)))

    def disable(self, profile: str, refresh: bool = True) -> DisableResult:
        """DisableProfile. Leaves the card without an enabled profile: on a device in the field, enable another one instead."""
        return DisableResult(self._result(DisableProfile(ProfileId.of(profile), refresh)))

    def delete(self, profile: str) -> DeleteResult:
        """DeleteProfile of a disabled profile, for good."""
        return DeleteResult(self._result(es10c.DeleteProfile(ProfileId.of(profile))))

    def set_nickname(self, iccid: str, nickname: str) -> NicknameResult:
        """SetNickname; an empty one takes it away."""
        return NicknameResult(self._result(es10c.SetNickname(iccid, nickname)))

    def apply_switch(self) -> str:
        """What follows an enable or disable: answers what the card wants, resets it, re-reads: the ICCID that it shows now."""
        with self.dialogue():
            self.run_proactive()
            self.reset()
            return self.iccid()

    def run_proactive(self) -> list[ProactiveCommand]:
        """Serves what the card asked for by 91xx, and brings it what the terminal has for it; the commands that it sent.

        Without a terminal a REFRESH counts as performed and all else as beyond its capabilities. The reset that a REFRESH wants
        (``ProactiveCommand.wants_reset``) is left to the caller. Bounded: ``proactive_pending`` says whether the card wants more.
        """
        with self.dialogue():
            return terminal_duty.serve(self._chain, self._terminal)

    @property
    def proactive_pending(self) -> bool:
        """True when the latest status word was 91xx: ``run_proactive`` is due."""
        return bool(self._chain.proactive.pending_bytes)

    def introduce(self) -> None:
        """TERMINAL PROFILE on a card that is powered already. ``reset`` does it by itself; without a terminal nothing is sent.

        The MF is selected before, so that no application left on the basic channel takes it for a command of its own.
        """
        if self._terminal.profile:
            with self.dialogue():
                self._terminal.card_reset()
                self._chain.card.transmit(_SELECT_MF.encode())
                terminal_duty.introduce(self._chain, self._terminal)

    def poll(self) -> None:
        """STATUS, as POLL INTERVAL wants it: the card's chance to say 91xx (TS 102 221, 11.1.2, 14.6.2)."""
        self._chain.card.transmit(_POLL.encode())

    # --- card information and notifications ----------------------------------------------------------------------------

    def info(self) -> euicc_info.EuiccInfo2:
        """EUICCInfo2: versions and free memory."""
        return euicc_info.decode_info_2_response(self.store_data(euicc_info.Get(euicc_info.TAG_GET_EUICC_INFO_2).encode()))

    def addresses(self) -> euicc_info.Addresses:
        """The configured SM-DP+ and SM-DS."""
        return euicc_info.decode_addresses_response(self.store_data(euicc_info.Get(euicc_info.TAG_GET_ADDRESSES).encode()))

    def notifications(self) -> list[es10b.Notification]:
        """What the card keeps for its operators' servers."""
        return es10b.decode_notifications_response(self.store_data(es10b.ListNotification().encode()))

    def remove_notification(self, seq: int) -> es10b.RemoveResult:
        """Tells the card that a notification was delivered."""
        return es10b.RemoveResult(self._result(es10b.RemoveNotification(seq)))

    # --- the Simway applet ---------------------------------------------------------------------------------------------

    def applet_status(self) -> applet.AppletStatus | None:
        """Whether the applet holds a key, and its version; None where the card has no such applet."""
        try:
            with self._applet() as channel:
                return applet.decode_status(channel.send(applet.status(channel.number), "applet STATUS"))
        except CardError as error:
            if error.sw in NOT_THERE:
                return None
            raise

    def applet_authenticate(self, challenge: bytes) -> CardResponse:
        """The card's response to a 32-byte challenge, and the session key."""
        with self._applet() as channel:
            return applet.decode_answer(channel.send(applet.authenticate(challenge, channel.number), "applet AUTHENTICATE"))

    def applet_verify(self, body: bytes, mac: bytes) -> bool:
        """True when the card finds the MAC of a command's canonical body right."""
        with self._applet() as channel:
            try:
                for command in applet.verify_command(body, mac, channel.number):
                    channel.send(command, "applet VERIFY COMMAND")
            except CardError as error:
                if error.sw == status.SECURITY_STATUS_NOT_SATISFIED:
                    return False
                raise
            return True

    def applet_personalise(self, device_key: bytes, key_version: int, transport_code: bytes = b"") -> None:
        """Gives a blank card its key, once; ``CardError`` 6985 when it has one, 63Cx or 6983 for a wrong transport code."""
        with self._applet() as channel:
            command = applet.personalise(device_key, key_version, channel.number, transport_code)
            channel.send(command, "applet PERSONALISE")

    def pending_notifications(self, wanted: int | es10b.Operation | None = None) -> list[es10b.PendingNotification]:
        """Notifications as they are to be delivered, signed: one by its number, those of some operations, or all."""
        return es10b.decode_pending_response(self.store_data(es10b.RetrieveNotifications(wanted).encode()))

    # --- inside --------------------------------------------------------------------------------------------------------

    def _applet(self) -> AbstractContextManager[Channel]:
        return self.application(applet.AID, "Simway applet")

    def _profiles(self, request: es10c.GetProfilesInfo) -> tuple[list[ProfileInfo], int]:
        return es10c.read_profiles_response(self.store_data(request.encode()))

    def _result(self, request: _Change) -> int:
        return es10c.decode_result(self.store_data(request.encode()), request.TAG)

    def _open_channel(self) -> int:
        data, sw = self._chain.card.transmit(apdu.open_channel().encode())
        if sw in _NO_CHANNEL:
            return 0
        expect_success(sw, "MANAGE CHANNEL open")
        if len(data) != 1 or not 0 < data[0] < apdu.CHANNELS:
            raise PeerError("bad_channel", f"MANAGE CHANNEL gave {data.hex()}")
        return data[0]

    def _close_channel(self, number: int) -> None:
        with suppress(CardError):  # a card that is gone has no open channel, and whatever lost it is on its way up
            self._chain.card.transmit(apdu.close_channel(number).encode())


def _plain(profile: ProfileMessage) -> dict[str, Any]:
    return {name: getattr(profile, name) for name in profile.__struct_fields__}
