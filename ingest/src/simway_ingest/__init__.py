"""The one admission core: every gateway admits, appends and acknowledges through this (design, sections 2 and 9).

* ``admission.admit``: readings in, what goes to the log and what the sender is told out; pure.
* ``batcher.Batcher``: uplinks to the log, packed; the sender is answered only when the log has them.
* ``registry.Registry``: who may come in, from the topic ``registry`` alone.
* ``appender.Appender``: other records (dead letters, device events) to the log: bounded, in order, tried again.
* ``follower.Follower``: a thread that reads a topic on and on.
"""
