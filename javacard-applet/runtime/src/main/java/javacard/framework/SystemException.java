package javacard.framework;

/** Wrong use of {@link JCSystem} or of registration (Java Card API, Classic Edition). */
public class SystemException extends CardRuntimeException {
    public static final short ILLEGAL_VALUE = 1;
    public static final short ILLEGAL_AID = 4;
    private static final long serialVersionUID = 1L;

    public SystemException(short reason) {
        super(reason);
    }
}
