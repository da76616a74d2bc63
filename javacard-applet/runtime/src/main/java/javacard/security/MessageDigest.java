package javacard.security;

import java.security.GeneralSecurityException;

/** SHA-256 (Java Card API, Classic Edition). */
public final class MessageDigest {
    public static final byte ALG_SHA_256 = 4;
    private final java.security.MessageDigest digest;

    private MessageDigest() throws GeneralSecurityException {
        digest = java.security.MessageDigest.getInstance("SHA-256");
    }

    public static MessageDigest getInstance(byte algorithm, boolean externalAccess) {
        try {
            if (algorithm == ALG_SHA_256) {
                return new MessageDigest();
            }
        } catch (GeneralSecurityException error) {
            throw new IllegalStateException("this Java has no SHA-256", error);
        }
        throw new CryptoException(CryptoException.NO_SUCH_ALGORITHM);
    }

    public void reset() {
        digest.reset();
    }

    public void update(byte[] in, short at, short length) {
        digest.update(in, at, length);
    }

    public short doFinal(byte[] in, short at, short length, byte[] out, short outAt) {
        digest.update(in, at, length);
        byte[] result = digest.digest();
        javacard.framework.Util.arrayCopyNonAtomic(result, (short) 0, out, outAt, (short) result.length);
        return (short) result.length;
    }
}
