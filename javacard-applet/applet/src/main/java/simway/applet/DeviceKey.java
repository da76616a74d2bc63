package simway.applet;

import javacard.framework.ISOException;
import javacard.framework.JCSystem;
import javacard.framework.Util;
import javacard.security.MessageDigest;

/**
 * The device key K: given once, used for answers and MACs, never given out.
 *
 * <p>{@code personalised} is the byte whose write makes a key count; before it, half a key may lie there and means nothing. The try
 * counter guards PERSONALISE alone, and only where the applet was installed with a transport code: a challenge or a command from
 * afar never uses up a try, so nobody can lock a card that is in the field.
 */
final class DeviceKey {
    static final short CHALLENGE_BYTES = 32;
    static final short ANSWER_BYTES = 64;
    static final short STATUS_BYTES = 5;
    private static final short VERSION_BYTES = 4;
    private static final byte TRIES = 5;

    private static final byte[] RESPONSE_LABEL = {'s', 'i', 'm', 'w', 'a', 'y', ' ', 'r', 'e', 's', 'p', 'o', 'n', 's', 'e', 0};
    private static final byte[] SESSION_LABEL = {'s', 'i', 'm', 'w', 'a', 'y', ' ', 's', 'e', 's', 's', 'i', 'o', 'n', 0};
    private static final byte[] COMMAND_LABEL = {'s', 'i', 'm', 'w', 'a', 'y', ' ', 'c', 'o', 'm', 'm', 'a', 'n', 'd', 0};
    /** The info of HKDF-Expand for command MACs, and the counter of its only block. */
    private static final byte[] COMMAND_INFO = {'c', 'o', 'm', 'm', 'a', 'n', 'd', 1};

    private final byte[] key = new byte[Hmac.BYTES];
    private final byte[] commandKey = new byte[Hmac.BYTES];
    private final byte[] version = new byte[VERSION_BYTES];
    private final byte[] transportCode;
    private byte personalised;
    private byte triesLeft = TRIES;

    private final Hmac hmac = new Hmac();
    private final MessageDigest digest = Hmac.newDigest();
    private final CommandCheck check;

    /** {@code codeLength} 0: PERSONALISE asks for no transport code. */
    DeviceKey(byte[] parameters, short codeAt, short codeLength) {
        transportCode = new byte[codeLength];
        if (codeLength > 0) {
            Util.arrayCopyNonAtomic(parameters, codeAt, transportCode, (short) 0, codeLength);
        }
        check = new CommandCheck(hmac);
    }

    boolean isPersonalised() {
        return personalised != 0;
    }

    /** STATUS: the flag and the key version (0 while blank) at {@code at}. */
    void status(byte[] buffer, short at) {
        buffer[at] = personalised;
        short versionAt = (short) (at + 1);
        if (isPersonalised()) {
            Util.arrayCopyNonAtomic(version, (short) 0, buffer, versionAt, VERSION_BYTES);
        } else {
            Util.arrayFillNonAtomic(buffer, versionAt, VERSION_BYTES, (byte) 0);
        }
    }

    /** PERSONALISE: K, version and transport code; 6985 for a card that has a key, 63Cx for a wrong code, 6983 after the last try. */
    void personalise(byte[] buffer, short at, short length) {
        if (isPersonalised()) {
            ISOException.throwIt(Status.CONDITIONS_NOT_SATISFIED);
        }
        short codeAt = (short) (Hmac.BYTES + VERSION_BYTES);
        short versionAt = (short) (at + Hmac.BYTES);
        boolean zero = (short) (Util.getShort(buffer, versionAt) | Util.getShort(buffer, (short) (versionAt + 2))) == 0;
        if (length < codeAt || zero) {
            ISOException.throwIt(Status.WRONG_DATA);
        }
        checkTransportCode(buffer, (short) (at + codeAt), (short) (length - codeAt));
        Util.arrayCopy(buffer, at, key, (short) 0, Hmac.BYTES);
        Util.arrayCopy(buffer, versionAt, version, (short) 0, VERSION_BYTES);
        deriveCommandKey(buffer, at);
        personalised = 1;
    }

    private void checkTransportCode(byte[] buffer, short at, short length) {
        if (triesLeft == 0) {
            ISOException.throwIt(Status.AUTHENTICATION_BLOCKED);
        }
        if (length != (short) transportCode.length) {
            ISOException.throwIt(Status.WRONG_DATA);
        }
        if (length == 0) {
            return;
        }
        triesLeft--;
        if (!Bytes.equal(buffer, at, transportCode, (short) 0, length)) {
            ISOException.throwIt((short) (Status.TRIES_LEFT | triesLeft));
        }
        triesLeft = TRIES;
    }

    /** HKDF-SHA-256 (RFC 5869) without a salt, which is one of 32 zeros; 64 bytes of {@code buffer} are free for the way. */
    private void deriveCommandKey(byte[] buffer, short at) {
        short between = (short) (at + Hmac.BYTES);
        Util.arrayFillNonAtomic(buffer, at, Hmac.BYTES, (byte) 0);
        hmac.begin(digest, buffer, at);
        digest.update(key, (short) 0, Hmac.BYTES);
        hmac.finish(digest, buffer, at, buffer, between);
        hmac.begin(digest, buffer, between);
        digest.update(COMMAND_INFO, (short) 0, (short) COMMAND_INFO.length);
        hmac.finish(digest, buffer, between, buffer, at);
        Util.arrayCopy(buffer, at, commandKey, (short) 0, Hmac.BYTES);
        Util.arrayFillNonAtomic(buffer, at, (short) (2 * Hmac.BYTES), (byte) 0);
    }

    /** AUTHENTICATE: response and session key for the challenge at {@code challengeAt}, to {@code outAt}. */
    void authenticate(byte[] buffer, short challengeAt, short outAt) {
        needKey();
        answer(RESPONSE_LABEL, buffer, challengeAt, outAt);
        answer(SESSION_LABEL, buffer, challengeAt, (short) (outAt + Hmac.BYTES));
    }

    private void answer(byte[] label, byte[] buffer, short challengeAt, short outAt) {
        hmac.begin(digest, key, (short) 0);
        digest.update(label, (short) 0, (short) label.length);
        digest.update(buffer, challengeAt, CHALLENGE_BYTES);
        hmac.finish(digest, key, (short) 0, buffer, outAt);
    }

    /** VERIFY COMMAND, one block in its turn; the last one ends with 6982 for a wrong MAC. */
    void verify(byte channel, boolean first, boolean last, byte[] buffer, short at, short length) {
        if (first) {
            check.begin(channel, commandKey, COMMAND_LABEL);
        }
        check.update(channel, buffer, at, length);
        if (last) {
            check.finish(commandKey);
        }
    }

    /** 6985 while the card is blank. */
    void needKey() {
        if (!isPersonalised()) {
            ISOException.throwIt(Status.CONDITIONS_NOT_SATISFIED);
        }
    }
}
