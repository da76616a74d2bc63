"""The UDP protocol between a modem client and the server: frames, keys, and the session of each side, without a socket.

``docs/protocol.md`` is its specification.
"""
