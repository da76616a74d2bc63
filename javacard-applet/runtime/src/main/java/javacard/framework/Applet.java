package javacard.framework;

import simway.runtime.Machine;

/** The base of all applets (Java Card API, Classic Edition). */
public abstract class Applet {
    protected Applet() {
    }

    public abstract void process(APDU apdu);

    public boolean select() {
        return true;
    }

    public void deselect() {
    }

    protected final void register(byte[] aid, short offset, byte length) {
        Machine.current().register(this, new AID(aid, offset, length));
    }

    protected final boolean selectingApplet() {
        return Machine.current().isSelecting();
    }
}
