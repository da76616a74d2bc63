package simway.applet;

import javacard.framework.JCSystem;
import javacard.framework.Util;
import javacard.security.MessageDigest;

/**
 * HMAC-SHA-256 (RFC 2104) on MessageDigest: few cards have HMAC built in, nearly all have SHA-256.
 *
 * <p>{@code begin} and {@code finish} work on a digest of the caller's, with any number of updates of it between them. Keys are
 * {@link #BYTES} long.
 */
final class Hmac {
    static final short BYTES = 32;
    private static final short BLOCK_BYTES = 64;
    private static final byte INNER = 0x36;
    private static final byte OUTER = 0x5C;

    private final byte[] block;
    private final byte[] inner;

    Hmac() {
        block = JCSystem.makeTransientByteArray(BLOCK_BYTES, JCSystem.CLEAR_ON_RESET);
        inner = JCSystem.makeTransientByteArray(BYTES, JCSystem.CLEAR_ON_RESET);
    }

    /** A digest that the card computes on its own or not at all. */
    static MessageDigest newDigest() {
        return MessageDigest.getInstance(MessageDigest.ALG_SHA_256, false);
    }

    /** Starts a MAC: what {@code digest} is updated with from here on is the message. */
    void begin(MessageDigest digest, byte[] key, short keyAt) {
        digest.reset();
        pad(key, keyAt, INNER);
        digest.update(block, (short) 0, BLOCK_BYTES);
        wipe();
    }

    /** Ends the MAC that {@code begin} started with the same key. */
    void finish(MessageDigest digest, byte[] key, short keyAt, byte[] out, short outAt) {
        digest.doFinal(inner, (short) 0, (short) 0, inner, (short) 0);
        pad(key, keyAt, OUTER);
        digest.update(block, (short) 0, BLOCK_BYTES);
        wipe();
        digest.doFinal(inner, (short) 0, BYTES, out, outAt);
        Util.arrayFillNonAtomic(inner, (short) 0, BYTES, (byte) 0);
    }

    private void pad(byte[] key, short keyAt, byte with) {
        Util.arrayFillNonAtomic(block, (short) 0, BLOCK_BYTES, with);
        for (short at = 0; at < BYTES; at++) {
            block[at] = (byte) (key[(short) (keyAt + at)] ^ with);
        }
    }

    private void wipe() {
        Util.arrayFillNonAtomic(block, (short) 0, BLOCK_BYTES, (byte) 0);
    }
}
