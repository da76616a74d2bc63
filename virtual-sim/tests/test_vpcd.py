"""The card behind vpcd's frames: each message, messages in pieces, and the program itself against a reader that listens."""

import signal
import socket
import subprocess
import sys
import threading

import pytest
from simway_protocol.sim.card import CardGone
from simway_virtual_sim.factory import new_card
from simway_virtual_sim.state import CardState
from simway_virtual_sim.uicc import ATR, Uicc
from simway_virtual_sim.vpcd import Inserted, serve

SELECT_MF = bytes.fromhex("00A4000C023F00")


class MemoryStore:
    """A card's state that nothing changes."""

    def load(self) -> CardState:
        return new_card(lambda count: bytes(range(count)))

    def save(self, state):
        raise AssertionError("nothing here writes")

    def close(self):
        pass


def _framed(body):
    return len(body).to_bytes(2, "big") + body


def _read(connection):
    file = connection.makefile("rb")
    body = file.read(int.from_bytes(file.read(2), "big"))
    file.detach()
    return body


def test_what_each_message_does():
    inserted = Inserted(Uicc(MemoryStore()))
    assert inserted.handle(b"\x04") == ATR
    with pytest.raises(CardGone):
        inserted.handle(SELECT_MF)
    assert inserted.handle(b"\x01") is None
    assert inserted.handle(SELECT_MF) == bytes.fromhex("9000")
    assert inserted.handle(bytes.fromhex("0070000001")) == bytes.fromhex("019000")
    assert inserted.handle(b"\x02") is None
    assert inserted.handle(bytes.fromhex("01A4000C023F00")) == bytes.fromhex("6881")
    assert inserted.handle(b"\x05") == bytes.fromhex("6700")
    assert inserted.handle(b"\x00") is None
    with pytest.raises(CardGone):
        inserted.handle(SELECT_MF)


@pytest.mark.parametrize("piece_bytes", [1, 2, 3, 100])
def test_messages_in_pieces_and_several_at_once(piece_bytes):
    listener = socket.create_server(("127.0.0.1", 0))
    card_end = socket.create_connection(listener.getsockname())
    reader_end, _ = listener.accept()
    reader_end.settimeout(20)
    serving = threading.Thread(target=serve, args=(Uicc(MemoryStore()), card_end))
    serving.start()
    with listener, card_end, reader_end:
        stream = _framed(b"\x01") + _framed(b"\x04") + _framed(SELECT_MF)
        for at in range(0, len(stream), piece_bytes):
            reader_end.sendall(stream[at : at + piece_bytes])
        file = reader_end.makefile("rb")
        expected = _framed(ATR) + _framed(bytes.fromhex("9000"))
        assert file.read(len(expected)) == expected
        reader_end.sendall(_framed(SELECT_MF)[:-1])
        file.close()
        reader_end.shutdown(socket.SHUT_RDWR)
        serving.join(60)
    assert not serving.is_alive()


def test_the_program_sits_in_a_reader_comes_back_and_ends_when_told(tmp_path):
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(60)
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    command = [sys.executable, "-m", "simway_virtual_sim", "--vpcd", address, "--state-file", str(tmp_path / "sim.json")]
    with listener, subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as program:
        try:
            for _ in range(2):
                reader_end, _ = listener.accept()
                reader_end.settimeout(60)
                with reader_end:
                    reader_end.sendall(_framed(b"\x01") + _framed(b"\x04"))
                    assert _read(reader_end) == ATR
            second = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
            assert (second.returncode, "in use by process" in second.stderr) == (2, True)
            program.send_signal(signal.SIGTERM)
            assert program.wait(60) == 0
        finally:
            program.kill()


def test_a_wrong_address_is_said_at_once():
    command = [sys.executable, "-m", "simway_virtual_sim", "--vpcd", "nowhere"]
    refused = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (refused.returncode, refused.stderr) == (2, "--vpcd takes HOST:PORT, not 'nowhere'\n")
