package javacard.framework;

/** An exception with a reason code (Java Card API, Classic Edition). */
public class CardRuntimeException extends RuntimeException {
    private static final long serialVersionUID = 1L;
    private final short reason;

    public CardRuntimeException(short reason) {
        super(String.format("%04X", reason), null, false, false);
        this.reason = reason;
    }

    public short getReason() {
        return reason;
    }
}
