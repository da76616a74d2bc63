"""The numbers of a SIM, as the REST API takes them."""

import msgspec
import pytest
from simway_flask_app.web.schemas import Switch
from simway_flask_app.web.schemas_sim import DesiredRequest


@pytest.mark.parametrize("iccid", ["8949000000000000011", "898600D0A11E45678901", "898600000000000001"])
def test_an_iccid_may_have_hexadecimal_digits(iccid: str) -> None:
    assert msgspec.convert({"kind": "switch", "iccid": iccid}, Switch).iccid == iccid
    assert msgspec.convert({"iccid": iccid}, DesiredRequest).iccid == iccid


@pytest.mark.parametrize(
    "iccid",
    [
        "",
        "89490000000000000",
        "8949000000000000011\n",
        "A0000005591010000000",
        "898600d0a11e45678901",
        "898600F0A11E45678901",
        "٨" * 19,
    ],
)
def test_what_is_no_iccid(iccid: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"kind": "switch", "iccid": iccid}, Switch)
