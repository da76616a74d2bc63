package javacard.framework;

/** Ends a command with a status word (Java Card API, Classic Edition). */
public class ISOException extends CardRuntimeException {
    private static final long serialVersionUID = 1L;

    public ISOException(short sw) {
        super(sw);
    }

    public static void throwIt(short sw) {
        throw new ISOException(sw);
    }
}
