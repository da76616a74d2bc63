package javacard.framework;

/** Wrong use of an {@link APDU} (Java Card API, Classic Edition). */
public class APDUException extends CardRuntimeException {
    public static final short ILLEGAL_USE = 1;
    public static final short BUFFER_BOUNDS = 2;
    public static final short BAD_LENGTH = 3;
    private static final long serialVersionUID = 1L;

    public APDUException(short reason) {
        super(reason);
    }
}
