"""UDP sessions with modem clients: readings up, commands down (docs/protocol.md).

* ``__main__`` and ``parent``: one parent process, which owns the sockets and the cookie secrets, and its workers.
* ``worker``: one event loop: datagrams in batches, timers, shutdown. ``exchange``: what each event of the endpoint leads to.
* ``commands``: what is to be sent to devices, from the topics ``downlink`` and ``device-events``.
"""
