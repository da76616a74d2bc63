package simway.applet;

import javacard.framework.ISOException;
import javacard.framework.JCSystem;
import javacard.framework.Util;
import javacard.security.MessageDigest;

/**
 * The check of a command's MAC over blocks: mac(32) and body, cut anywhere.
 *
 * <p>One at a time for the whole card: a check begun on another channel ends the one under way, whose next block is then refused with
 * 6A86 as any block out of order is.
 */
final class CommandCheck {
    private static final short CHANNEL = 0;
    private static final short MAC_LENGTH = 1;
    private static final short HAS_BODY = 2;
    private static final byte NOBODY = -1;

    private final Hmac hmac;
    private final MessageDigest digest = Hmac.newDigest();
    private final byte[] mac;
    private final byte[] computed;
    private final byte[] state;

    CommandCheck(Hmac hmac) {
        this.hmac = hmac;
        mac = JCSystem.makeTransientByteArray(Hmac.BYTES, JCSystem.CLEAR_ON_RESET);
        computed = JCSystem.makeTransientByteArray(Hmac.BYTES, JCSystem.CLEAR_ON_RESET);
        state = JCSystem.makeTransientByteArray((short) 3, JCSystem.CLEAR_ON_RESET);
    }

    void begin(byte channel, byte[] key, byte[] label) {
        state[CHANNEL] = channel;
        state[MAC_LENGTH] = 0;
        state[HAS_BODY] = 0;
        hmac.begin(digest, key, (short) 0);
        digest.update(label, (short) 0, (short) label.length);
    }

    void update(byte channel, byte[] buffer, short at, short length) {
        if (state[CHANNEL] != channel) {
            ISOException.throwIt(Status.WRONG_P1_P2);
        }
        short ofMac = Bytes.least((short) (Hmac.BYTES - state[MAC_LENGTH]), length);
        Util.arrayCopyNonAtomic(buffer, at, mac, state[MAC_LENGTH], ofMac);
        state[MAC_LENGTH] += (byte) ofMac;
        short ofBody = (short) (length - ofMac);
        if (ofBody > 0) {
            state[HAS_BODY] = 1;
            digest.update(buffer, (short) (at + ofMac), ofBody);
        }
    }

    /** 6A80 without a body, 6982 for a wrong MAC. */
    void finish(byte[] key) {
        state[CHANNEL] = NOBODY;
        if (state[HAS_BODY] == 0) {
            ISOException.throwIt(Status.WRONG_DATA);
        }
        hmac.finish(digest, key, (short) 0, computed, (short) 0);
        boolean right = Bytes.equal(computed, (short) 0, mac, (short) 0, Hmac.BYTES);
        Util.arrayFillNonAtomic(computed, (short) 0, Hmac.BYTES, (byte) 0);
        if (!right) {
            ISOException.throwIt(Status.SECURITY_STATUS_NOT_SATISFIED);
        }
    }
}
