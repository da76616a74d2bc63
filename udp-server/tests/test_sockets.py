"""The sockets of the workers: one port, nobody else's, and what the kernel drops is seen."""

import socket

import pytest
from simway_backbone.service import PortTaken
from simway_udp_server.sockets import inode_of, kernel_drops, open_sockets, parse_drops

TABLE = """\
   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  291: 0100007F:1771 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4242 2 0000000000000000 17
  292: 0100007F:1771 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4243 2 0000000000000000 5
  293: 0100007F:1772 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4244 2 0000000000000000 9
"""


def test_drops_are_read_by_inode():
    assert parse_drops(TABLE, {4242, 4243}) == 22
    assert parse_drops(TABLE, set()) == 0
    assert parse_drops("", {1}) == 0
    assert kernel_drops([1], ["/nowhere"]) == 0


def test_sockets_share_one_port_and_nobody_else_gets_it():
    sockets = open_sockets("127.0.0.1", 0, 3)
    try:
        ports = {one.getsockname()[1] for one in sockets}
        assert len(ports) == 1
        with pytest.raises(PortTaken, match="UDP_PORT"):
            open_sockets("127.0.0.1", ports.pop(), 1)
    finally:
        for one in sockets:
            one.close()


def test_the_kernels_drops_of_a_full_buffer_are_counted():
    (receiver,) = open_sockets("127.0.0.1", 0, 1)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    before = kernel_drops([inode_of(receiver)])
    with receiver, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sent = 200
        for _ in range(sent):
            sender.sendto(bytes(1_000), receiver.getsockname())
        taken = 0
        while True:
            try:
                receiver.recv(2_048)
            except BlockingIOError:
                break
            taken += 1
        assert taken < sent
        assert kernel_drops([inode_of(receiver)]) - before == sent - taken
