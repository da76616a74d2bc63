"""The SIM wire by its golden vectors: built and parsed, and refused when cut at any byte or followed by another."""

import contextlib

import pytest
from simway_protocol import vectors
from simway_protocol.errors import PeerError
from simway_protocol.sim import es10b, es10c, euicc_info, numbering
from simway_protocol.sim.apdu import Command
from simway_protocol.sim.es10b import Operation
from simway_protocol.sim.es10c import ProfileClass, ProfileId, ProfileInfo, ProfileState


def _cases(name):
    return [
        pytest.param(case, id=f"{case.get('function', case.get('kind', ''))} {case.get('note', '')}")
        for case in vectors.load(name)["cases"]
    ]


def _bytes(case):
    return bytes.fromhex("".join(piece for piece, _label in case["bytes"]))


# --- APDUs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", _cases("sim_apdus"))
def test_apdu(case):
    fields = case["command"]
    command = Command(**{**fields, "data": bytes.fromhex(fields["data"])})
    assert command.encode() == _bytes(case)
    assert Command.decode(_bytes(case)) == command


@pytest.mark.parametrize("case", _cases("sim_apdus"))
def test_a_cut_apdu_is_never_taken_for_the_whole(case):
    whole = Command.decode(_bytes(case))
    for at in range(len(_bytes(case))):
        with contextlib.suppress(PeerError):
            assert Command.decode(_bytes(case)[:at]) != whole


# --- ES10 --------------------------------------------------------------------------------------------------------------


def _profile_id(text):
    return None if text is None else ProfileId.of(text)


def _search(text):
    return ProfileClass[text.upper()] if text in ("test", "provisioning", "operational") else _profile_id(text)


def _info(value):
    value = dict(value)
    value["state"], value["profile_class"] = ProfileState(value["state"]), ProfileClass(value["profile_class"])
    value["policy"] = None if value["policy"] is None else bytes.fromhex(value["policy"])
    return ProfileInfo(**value)


def _switch(kind):
    return lambda value: kind(_profile_id(value["profile"]), value["refresh"], value["flag"])


def _notification(value):
    return es10b.Notification(value["seq"], Operation[value["operation"].upper()], value["address"], value["iccid"])


def _operations(names):
    found = Operation(0)
    for name in names:
        found |= Operation[name.upper()]
    return found


def _info_2(value):
    return euicc_info.EuiccInfo2(**{**value, "ci_keys": tuple(bytes.fromhex(key) for key in value["ci_keys"])})


REQUESTS = {
    "GetEID": (es10c.GetEid, lambda value: es10c.GetEid()),
    "GetProfilesInfo": (
        es10c.GetProfilesInfo,
        lambda value: es10c.GetProfilesInfo(_search(value["search"]), tuple(int(tag, 16) for tag in value["tags"])),
    ),
    "EnableProfile": (es10c.EnableProfile, _switch(es10c.EnableProfile)),
    "DisableProfile": (es10c.DisableProfile, _switch(es10c.DisableProfile)),
    "DeleteProfile": (es10c.DeleteProfile, lambda value: es10c.DeleteProfile(_profile_id(value["profile"]))),
    "SetNickname": (es10c.SetNickname, lambda value: es10c.SetNickname(value["iccid"], value["nickname"])),
    "ListNotification": (es10b.ListNotification, lambda value: es10b.ListNotification(_operations(value["operations"]))),
    "RemoveNotificationFromList": (es10b.RemoveNotification, lambda value: es10b.RemoveNotification(value["seq"])),
}
GETS = {
    "GetEuiccConfiguredAddresses": euicc_info.TAG_GET_ADDRESSES,
    "GetRAT": euicc_info.TAG_GET_RAT,
    "GetEUICCInfo2": euicc_info.TAG_GET_EUICC_INFO_2,
}
RESPONSES = {
    "GetEID": (es10c.encode_eid_response, es10c.decode_eid_response, lambda value: value["eid"]),
    "ListNotification": (
        es10b.encode_notifications_response,
        es10b.decode_notifications_response,
        lambda value: [_notification(item) for item in value["notifications"]],
    ),
    "GetEuiccConfiguredAddresses": (
        euicc_info.encode_addresses_response,
        euicc_info.decode_addresses_response,
        lambda value: euicc_info.Addresses(**value),
    ),
    "GetRAT": (euicc_info.encode_rat_response, euicc_info.decode_rat_response, lambda value: bytes.fromhex(value["rules"])),
    "GetEUICCInfo2": (euicc_info.encode_info_2_response, euicc_info.decode_info_2_response, _info_2),
}
RESULT_TAGS = {
    "EnableProfile": es10c.TAG_ENABLE_PROFILE,
    "DisableProfile": es10c.TAG_DISABLE_PROFILE,
    "DeleteProfile": es10c.TAG_DELETE_PROFILE,
    "SetNickname": es10c.TAG_SET_NICKNAME,
    "RemoveNotificationFromList": es10b.TAG_NOTIFICATION_SENT,
}


def _parse(case):
    """The value that the bytes of a case give, by its function."""
    name, kind = case["function"].split(".")
    data = _bytes(case)
    if kind == "request" and name in GETS:
        return es10c.tlv.decode_only(data, GETS[name])
    if kind == "request":
        return REQUESTS[name][0].decode(es10c.tlv.decode_only(data, REQUESTS[name][0].TAG))
    if name == "GetProfilesInfo":
        return es10c.decode_profiles_response(data)
    return es10c.decode_result(data, RESULT_TAGS[name]) if name in RESULT_TAGS else RESPONSES[name][1](data)


def _cases_but_errors():
    return [case for case in _cases("sim_es10") if "error" not in case.values[0]["value"]]


@pytest.mark.parametrize("case", _cases_but_errors())
def test_es10(case):
    name, kind = case["function"].split(".")
    value = case["value"]
    if kind == "request" and name in GETS:
        expected, built = b"", euicc_info.Get(GETS[name]).encode()
    elif kind == "request":
        expected = REQUESTS[name][1](value)
        built = expected.encode()
    elif name == "GetProfilesInfo":
        expected = [_info(item) for item in value["profiles"]]
        built = es10c.encode_profiles_response(expected)
    elif name in RESULT_TAGS:
        expected, built = value["result"], es10c.encode_result(RESULT_TAGS[name], value["result"])
    else:
        expected = RESPONSES[name][2](value)
        built = RESPONSES[name][0](expected)
    assert built == _bytes(case)
    assert _parse(case) == expected


@pytest.mark.parametrize("case", _cases("sim_es10"))
def test_es10_cut_at_each_byte_or_with_a_byte_more(case):
    whole = _bytes(case)
    for wrong in (*(whole[:at] for at in range(len(whole))), whole + b"\x00"):
        with pytest.raises(PeerError):
            _parse({**case, "bytes": [[wrong.hex(), ""]]})


def test_a_refused_list_of_profiles_is_an_error_with_its_code():
    (case,) = (case for case in vectors.load("sim_es10")["cases"] if "error" in case["value"])
    with pytest.raises(es10c.ProfilesError) as caught:
        _parse(case)
    assert caught.value.code == case["value"]["error"]
    assert es10c.encode_profiles_error(case["value"]["error"]) == _bytes(case)


# --- numbers -----------------------------------------------------------------------------------------------------------

CODINGS = {
    "iccid": (numbering.encode_iccid, numbering.decode_iccid),
    "eid": (numbering.encode_eid, numbering.decode_eid),
    "imsi": (numbering.encode_imsi, numbering.decode_imsi),
}


@pytest.mark.parametrize("case", _cases("sim_numbers"))
def test_numbers(case):
    encode, decode = CODINGS[case["kind"]]
    assert decode(_bytes(case)) == case["text"]
    if case["text"]:
        assert encode(case["text"]) == _bytes(case)
    for wrong in (*(_bytes(case)[:at] for at in range(len(_bytes(case)))), _bytes(case) + b"\x00"):
        with pytest.raises(PeerError):
            decode(wrong)
