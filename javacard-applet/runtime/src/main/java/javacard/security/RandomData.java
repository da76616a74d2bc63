package javacard.security;

import java.security.SecureRandom;

/** Random bytes (Java Card API, Classic Edition). */
public final class RandomData {
    public static final byte ALG_SECURE_RANDOM = 2;
    private final SecureRandom random = new SecureRandom();

    private RandomData() {
    }

    public static RandomData getInstance(byte algorithm) {
        if (algorithm != ALG_SECURE_RANDOM) {
            throw new CryptoException(CryptoException.NO_SUCH_ALGORITHM);
        }
        return new RandomData();
    }

    public void generateData(byte[] buffer, short at, short length) {
        byte[] drawn = new byte[length];
        random.nextBytes(drawn);
        javacard.framework.Util.arrayCopyNonAtomic(drawn, (short) 0, buffer, at, length);
    }
}
