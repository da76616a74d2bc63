"""What crosses a wire in Simway: bytes to values, and back.

Rules that keep this package clean (import-linter holds the first):

* no socket, clock, thread, environment or log: time and randomness are arguments, output is a value;
* a decoder either returns a value or raises an error that says whose fault it was;
* what two processes must agree on is data with examples: ``vectors/`` for bytes, ``topics/`` for the log.
"""
