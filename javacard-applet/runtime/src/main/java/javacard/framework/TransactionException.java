package javacard.framework;

/** Wrong use of a transaction (Java Card API, Classic Edition). */
public class TransactionException extends CardRuntimeException {
    public static final short IN_PROGRESS = 1;
    public static final short NOT_IN_PROGRESS = 2;
    private static final long serialVersionUID = 1L;

    public TransactionException(short reason) {
        super(reason);
    }
}
