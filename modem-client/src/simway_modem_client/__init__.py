"""The device side of Simway: a SIM, an outbox, a UDP link, and a carrier switch that cannot strand the device.

One thread (``udp_loop``) runs the link, the card and the commands; the outbox has a writer's thread, each source one of its own.
What must survive a power cut is in two SQLite files: readings in the outbox, everything about commands in the journal.
"""
