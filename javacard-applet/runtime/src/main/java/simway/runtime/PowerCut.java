package simway.runtime;

/** The power went at a write of the persistent memory. Nothing of the applet runs any more; the next thing is a reset. */
public final class PowerCut extends Error {
    private static final long serialVersionUID = 1L;

    PowerCut() {
        super("the power was cut", null, false, false);
    }
}
