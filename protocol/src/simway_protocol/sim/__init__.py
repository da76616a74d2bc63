"""The SIM side of the wire: APDUs, TLVs, ES10c, proactive commands and the Simway applet. Pure, as the whole package.

``card`` is the port that drivers implement; ``uicc.Uicc`` is what a client uses over it; everything else turns bytes into values
and back, for both ends: virtual-sim answers with the very codecs that the modem client asks with.
"""
