"""A simulated eUICC: in process behind the card port, with what survives power-off in one small file.

``state`` is what a card remembers and ``profiles`` what may become of it (both pure); ``store`` keeps it; ``filesystem``,
``isdr``, ``applet`` and ``toolkit`` answer commands; ``uicc`` gives each command to the right one and speaks T=0;
``driver`` opens it all by name.
"""
