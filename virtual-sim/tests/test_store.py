"""The state file: replaced whole, held by one, readable by its owner alone."""

import json
import os
import subprocess
import sys

import pytest
from msgspec.structs import replace
from simway_protocol.sim.card import CardError
from simway_virtual_sim import store
from simway_virtual_sim.factory import new_card
from simway_virtual_sim.memory import Memory
from simway_virtual_sim.replies import Refusal
from simway_virtual_sim.state import AppletState
from simway_virtual_sim.store import StateFile

CARD = new_card(lambda count: bytes(range(count)))
SWITCHED = replace(CARD, enabled=CARD.profiles[1].iccid)


def _open(path, card=CARD):
    return StateFile(path, lambda: card)


def test_a_missing_file_becomes_a_new_card_for_its_owner_alone(tmp_path):
    path = tmp_path / "deep" / "sim.json"
    file = _open(path)
    assert file.load() == CARD
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_bytes())["eid"] == CARD.eid
    file.close()


def test_an_existing_file_is_the_same_card(tmp_path):
    file = _open(tmp_path / "sim.json")
    file.save(SWITCHED)
    file.close()
    assert _open(tmp_path / "sim.json", None).load() == SWITCHED


class PowerCut(BaseException):
    """Nothing runs after it: no handler of the program may stop it."""


STEPS = ("open", "fsync", "replace", "open", "fsync")
"""What ``StateFile.save`` asks of the system, in order: the file, its sync, its place, the directory's sync."""


class FailingOs:
    """``os``, but the ``count``-th of the calls in ``STEPS`` fails, before or after it took effect."""

    def __init__(self, count, failure, *, after):
        self._left, self._failure, self._after = count, failure, after
        self.calls = []

    def __getattr__(self, name):
        real = getattr(os, name)
        if name not in STEPS:
            return real

        def call(*arguments, **named):
            self.calls.append(name)
            self._left -= 1
            if self._left == 0 and not self._after:
                raise self._failure
            result = real(*arguments, **named)
            if self._left == 0:
                raise self._failure
            return result

        return call


@pytest.mark.parametrize("leftover", [False, True])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("count", range(1, len(STEPS) + 1))
def test_a_power_cut_leaves_the_old_state_or_the_new_one(tmp_path, monkeypatch, count, after, leftover):
    path = tmp_path / "sim.json"
    file = _open(path)
    if leftover:
        (tmp_path / "sim.json.tmp").write_bytes(b"half a st")
    failing = FailingOs(count, PowerCut(), after=after)
    monkeypatch.setattr(store, "os", failing)
    with pytest.raises(PowerCut):
        file.save(SWITCHED)
    monkeypatch.undo()
    file.close()
    reopened = _open(path, None)
    assert reopened.load() in (CARD, SWITCHED)
    assert reopened.load().active is not None
    reopened.save(SWITCHED)
    assert reopened.load() == SWITCHED
    assert path.stat().st_mode & 0o777 == 0o600
    reopened.close()


def test_a_save_syncs_the_file_before_it_takes_its_place_and_the_directory_after(tmp_path, monkeypatch):
    file = _open(tmp_path / "sim.json")
    seen = FailingOs(0, None, after=False)
    monkeypatch.setattr(store, "os", seen)
    file.save(SWITCHED)
    assert tuple(seen.calls) == STEPS
    monkeypatch.undo()
    file.close()


def test_a_disk_that_fails_is_a_memory_problem_of_the_card(tmp_path, monkeypatch):
    memory = Memory(_open(tmp_path / "sim.json"))
    monkeypatch.setattr(store, "os", FailingOs(2, OSError(28, "No space left on device"), after=False))
    with pytest.raises(Refusal) as caught:
        memory.commit(SWITCHED)
    monkeypatch.undo()
    assert caught.value.sw == 0x6581
    assert memory.state == CARD
    memory.power_on()
    assert memory.state == CARD
    memory.commit(SWITCHED)
    memory.power_on()
    assert memory.state == SWITCHED
    memory.close()


def test_a_card_is_held_by_one_and_free_after_close(tmp_path):
    path = tmp_path / "sim.json"
    file = _open(path)
    with pytest.raises(CardError, match=rf"in use by process {os.getpid()}.*state_file"):
        _open(path)
    file.close()
    file.close()
    _open(path).close()


def test_a_card_is_held_against_another_process(tmp_path):
    path = tmp_path / "sim.json"
    file = _open(path)
    program = "import sys; from simway_virtual_sim.driver import open_card; open_card({'state_file': sys.argv[1]})"
    refused = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False, timeout=60)
    assert f"in use by process {os.getpid()}" in refused.stderr
    file.close()
    taken = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False, timeout=60)
    assert (taken.returncode, taken.stderr) == (0, "")


@pytest.mark.parametrize("content", [
    b"", b"{", b"[]", b"\xff\xfe", b'{"eid": "1"}', json.dumps({**json.loads(store.encode(CARD)), "version": 2}).encode(),
    json.dumps({**json.loads(store.encode(CARD)), "enabled": "8988211000000000025"}).encode(),
    store.encode(replace(CARD, profiles=CARD.profiles[:1] * 2)),
])  # fmt: skip
def test_what_is_no_card_is_left_alone_and_said_so(tmp_path, content):
    path = tmp_path / "sim.json"
    path.write_bytes(content)
    for _ in range(2):
        with pytest.raises(CardError, match=r"sim\.json is not a virtual SIM.*move it away"):
            _open(path)
    assert path.read_bytes() == content


def test_a_path_that_cannot_be_used_names_the_setting(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CardError, match="state_file"):
        _open(tmp_path / "file" / "sim.json")
    (tmp_path / "directory").mkdir()
    with pytest.raises(CardError, match="state_file"):
        _open(tmp_path / "directory")


def test_a_key_is_not_shown_by_accident():
    assert "ab" * 32 not in repr(replace(CARD, applet=AppletState("ab" * 32, 1)))
