"""A modem on a serial port (3GPP TS 27.007, ITU-T V.250): one port, shared by the card driver and the bearer ``at``.

``lines`` and ``answers`` are pure: bytes to lines, lines to values. ``port`` holds the serial device, ``restart`` resets modems.
"""
