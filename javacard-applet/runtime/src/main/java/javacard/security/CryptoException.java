package javacard.security;

import javacard.framework.CardRuntimeException;

/** The card does not know an algorithm (Java Card API, Classic Edition). */
public class CryptoException extends CardRuntimeException {
    public static final short NO_SUCH_ALGORITHM = 3;
    private static final long serialVersionUID = 1L;

    public CryptoException(short reason) {
        super(reason);
    }
}
