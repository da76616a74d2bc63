"""The ISD-R of the simulated eUICC: ES10 requests in STORE DATA (GSMA SGP.22, 5.7)."""

from __future__ import annotations

from collections.abc import Callable
from secrets import token_bytes
from typing import TypeAlias

from msgspec.structs import replace
from simway_protocol.errors import PeerError
from simway_protocol.sim import es10b, es10c, euicc_info, memory_reset, status, store_data, tlv
from simway_protocol.sim.apdu import Command, Ins

from simway_virtual_sim import profiles
from simway_virtual_sim.credentials import credentials_of
from simway_virtual_sim.faults import Trouble
from simway_virtual_sim.memory import Memory
from simway_virtual_sim.replies import Refusal, refusal_of
from simway_virtual_sim.state import CardState
from simway_virtual_sim.toolkit import Toolkit

_USIM, _AKA_MILENAGE = 0x40, 0x08
_TEST_PROFILES = 0x10
INFO_2 = euicc_info.EuiccInfo2(
    profile_version="2.3.1",
    svn="2.2.2",
    firmware="1.0.0",
    installed_applications=1,
    free_nonvolatile_bytes=262_144,
    free_volatile_bytes=8_192,
    ts_102241="15.1.0",
    global_platform="2.3.0",
    pp_version="0.0.1",
    accreditation="SIMWAY-VIRTUAL",
    uicc_capability=tlv.encode_bits(_USIM | _AKA_MILENAGE),
    rsp_capability=tlv.encode_bits(_TEST_PROFILES),
    category=2,
)
_DEFAULT_TAGS = (
    es10c.TAG_ICCID, es10c.TAG_AID, es10c.TAG_STATE, es10c.TAG_NICKNAME, es10c.TAG_PROVIDER, es10c.TAG_NAME, es10c.TAG_CLASS,
)  # fmt: skip
_Change: TypeAlias = Callable[[CardState, es10c.ProfileId], tuple[int, CardState]]
_FCI_PROPRIETARY = bytes.fromhex("9F6501FF")
_FCI_VERSION = tlv.encode(0xE0, tlv.encode(0x82, bytes.fromhex("020202")))
"""ISDRProprietaryApplicationTemplate (SGP.22, 5.7.1): the version that the card supports."""


class IsdRSession:
    """The ISD-R, selected on one channel."""

    aid = es10c.ISD_R_AID

    def __init__(self, memory: Memory, toolkit: Toolkit, trouble: Trouble) -> None:
        self._memory = memory
        self._toolkit = toolkit
        self._trouble = trouble
        self._blocks = store_data.Assembler()
        self._functions: dict[int, Callable[[bytes], bytes]] = {
            es10c.TAG_GET_EID: self._eid,
            es10c.TAG_GET_PROFILES_INFO: self._profiles,
            es10c.TAG_ENABLE_PROFILE: self._enable,
            es10c.TAG_DISABLE_PROFILE: self._disable,
            es10c.TAG_DELETE_PROFILE: self._delete,
            es10c.TAG_SET_NICKNAME: self._nickname,
            memory_reset.TAG_MEMORY_RESET: self._memory_reset,
            es10b.TAG_LIST_NOTIFICATION: self._notifications,
            es10b.TAG_RETRIEVE_NOTIFICATIONS: self._pending_notifications,
            es10b.TAG_NOTIFICATION_SENT: self._remove_notification,
            euicc_info.TAG_GET_EUICC_INFO_1: self._info_1,
            euicc_info.TAG_GET_EUICC_INFO_2: self._info_2,
            euicc_info.TAG_GET_CHALLENGE: lambda _: euicc_info.encode_challenge_response(token_bytes(euicc_info.CHALLENGE_BYTES)),
            euicc_info.TAG_SET_DEFAULT_SMDP: self._set_default_smdp,
            euicc_info.TAG_GET_RAT: lambda _: euicc_info.encode_rat_response(),
            euicc_info.TAG_GET_ADDRESSES: self._addresses,
        }

    def fci(self) -> bytes:
        """What SELECT answers."""
        return tlv.encode(0x6F, tlv.encode(0x84, self.aid), tlv.encode(0xA5, _FCI_PROPRIETARY), _FCI_VERSION)

    def process(self, command: Command) -> bytes:
        """One STORE DATA block: nothing until the last, then the function's response. ``Refusal``: 6D00, 6A80, 6A88."""
        if command.ins != Ins.STORE_DATA:
            raise Refusal(status.WRONG_INSTRUCTION)
        try:
            request = self._blocks.add(command)
            if request is None:
                return b""
            item, rest = tlv.decode_first(request)
            if rest:
                raise Refusal(status.WRONG_DATA)
            function = self._functions.get(item.tag)
            if function is None:
                raise Refusal(status.DATA_NOT_FOUND)
            return function(item.value)
        except PeerError as error:
            raise refusal_of(error) from error

    def _eid(self, value: bytes) -> bytes:
        es10c.GetEid.decode(value)
        return es10c.encode_eid_response(self._memory.state.eid)

    def _profiles(self, value: bytes) -> bytes:
        request, state = es10c.GetProfilesInfo.decode(value), self._memory.state
        listed = [profile.info(enabled=profile.iccid == state.enabled) for profile in state.profiles]
        if isinstance(request.search, es10c.ProfileClass):
            listed = [info for info in listed if info.profile_class is request.search]
        elif request.search is not None:
            listed = [info for info in listed if str(request.search) in (info.iccid, info.aid)]
        return es10c.encode_profiles_response(listed, request.tags or _DEFAULT_TAGS)

    def _enable(self, value: bytes) -> bytes:
        return self._switch(es10c.EnableProfile.decode(value), profiles.enable)

    def _disable(self, value: bytes) -> bytes:
        return self._switch(es10c.DisableProfile.decode(value), profiles.disable)

    def _switch(self, request: es10c.EnableProfile | es10c.DisableProfile, change: _Change) -> bytes:
        result, state = self._refused(request), self._memory.state
        if result == es10c.EnableResult.OK:
            result, state = change(state, request.profile)
        self._memory.commit(state)
        if result == es10c.EnableResult.OK:
            if request.refresh:
                self._toolkit.ask_refresh()
            if request.TAG == es10c.TAG_ENABLE_PROFILE:
                self._trouble.after_enable()
        return es10c.encode_result(request.TAG, result)

    def _refused(self, request: es10c.EnableProfile | es10c.DisableProfile) -> int:
        faults = self._trouble.faults
        if faults.refuse_iccid and request.profile.tag == es10c.TAG_ICCID:
            return es10c.EnableResult.NOT_FOUND
        if not request.refresh:
            return es10c.EnableResult.OK
        if faults.refuse_refresh:
            return es10c.EnableResult.UNDEFINED
        return es10c.EnableResult.CAT_BUSY if self._toolkit.busy or self._trouble.cat_busy() else es10c.EnableResult.OK

    def _delete(self, value: bytes) -> bytes:
        result, state = profiles.delete(self._memory.state, es10c.DeleteProfile.decode(value).profile)
        self._memory.commit(state)
        return es10c.encode_result(es10c.TAG_DELETE_PROFILE, result)

    def _nickname(self, value: bytes) -> bytes:
        request = es10c.SetNickname.decode(value)
        result, state = profiles.set_nickname(self._memory.state, es10c.ProfileId.of(request.iccid), request.nickname)
        self._memory.commit(state)
        return es10c.encode_result(request.TAG, result)

    def _memory_reset(self, value: bytes) -> bytes:
        before = self._memory.state
        result, state = profiles.memory_reset(before, memory_reset.MemoryReset.decode(value).options)
        switched = state.enabled != before.enabled
        if switched and self._toolkit.busy:
            return es10c.encode_result(memory_reset.TAG_MEMORY_RESET, memory_reset.MemoryResetResult.CAT_BUSY)
        self._memory.commit(state)
        if switched:
            self._toolkit.ask_refresh()
        return es10c.encode_result(memory_reset.TAG_MEMORY_RESET, result)

    def _notifications(self, value: bytes) -> bytes:
        wanted = es10b.ListNotification.decode(value).operations
        listed = [item.wire() for item in self._memory.state.notifications]
        return es10b.encode_notifications_response([item for item in listed if not wanted or item.operation & wanted])

    def _pending_notifications(self, value: bytes) -> bytes:
        request, credentials = es10b.RetrieveNotifications.decode(value), credentials_of(self._memory.state.eid)
        listed = [item.wire() for item in self._memory.state.notifications]
        return es10b.encode_pending_response([
            es10b.PendingNotification(item, credentials.sign(item.encode()), credentials.certificates)
            for item in listed if request.finds(item)
        ])  # fmt: skip

    def _remove_notification(self, value: bytes) -> bytes:
        result, state = profiles.remove_notification(self._memory.state, es10b.RemoveNotification.decode(value).seq)
        self._memory.commit(state)
        return es10c.encode_result(es10b.TAG_NOTIFICATION_SENT, result)

    def _addresses(self, _value: bytes) -> bytes:
        return euicc_info.encode_addresses_response(euicc_info.Addresses(self._memory.state.smdp, self._memory.state.smds))

    def _set_default_smdp(self, value: bytes) -> bytes:
        self._memory.commit(replace(self._memory.state, smdp=euicc_info.SetDefaultSmdp.decode(value).address))
        return es10c.encode_result(euicc_info.TAG_SET_DEFAULT_SMDP, 0)

    def _info_1(self, _value: bytes) -> bytes:
        return euicc_info.encode_info_1_response(euicc_info.EuiccInfo1(INFO_2.svn, (self._issuer_key_id(),)))

    def _info_2(self, _value: bytes) -> bytes:
        return euicc_info.encode_info_2_response(INFO_2._replace(ci_keys=(self._issuer_key_id(),)))

    def _issuer_key_id(self) -> bytes:
        return credentials_of(self._memory.state.eid).issuer_key_id
