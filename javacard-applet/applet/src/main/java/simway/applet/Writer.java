package simway.applet;

import javacard.framework.JCSystem;
import javacard.framework.Util;

/**
 * Writes one window of an answer: all of it passes by, the window's bytes stay. A window without bytes measures.
 *
 * <p>The buffer comes with every call, since a card forbids to keep a reference to that of an APDU.
 */
final class Writer {
    private static final short AT = 0;
    private static final short FROM = 1;
    private static final short TO = 2;

    private final short[] window = JCSystem.makeTransientShortArray((short) 3, JCSystem.CLEAR_ON_RESET);

    void begin(short from, short length) {
        window[AT] = 0;
        window[FROM] = from;
        window[TO] = (short) (from + length);
    }

    /** How many bytes have passed by. */
    short passed() {
        return window[AT];
    }

    void put(byte[] out, byte value) {
        if (window[AT] >= window[FROM] && window[AT] < window[TO]) {
            out[(short) (window[AT] - window[FROM])] = value;
        }
        window[AT]++;
    }

    void put(byte[] out, byte[] source, short at, short length) {
        short begin = window[AT] > window[FROM] ? window[AT] : window[FROM];
        short past = Bytes.least((short) (window[AT] + length), window[TO]);
        if (past > begin) {
            short skipped = (short) (begin - window[AT]);
            Util.arrayCopyNonAtomic(source, (short) (at + skipped), out, (short) (begin - window[FROM]), (short) (past - begin));
        }
        window[AT] += length;
    }

    /** A tag of one or two bytes and the length of what follows. */
    void header(byte[] out, short tag, short length) {
        if ((short) (tag & (short) 0xFF00) != 0) {
            put(out, (byte) (tag >> 8));
        }
        put(out, (byte) tag);
        if (length > 0xFF) {
            put(out, (byte) 0x82);
            put(out, (byte) (length >> 8));
        } else if (length > 0x7F) {
            put(out, (byte) 0x81);
        }
        put(out, (byte) length);
    }

    /** A whole object. */
    void object(byte[] out, short tag, byte[] value, short at, short length) {
        header(out, tag, length);
        put(out, value, at, length);
    }

    /** A whole object with one byte in it. */
    void object(byte[] out, short tag, byte value) {
        header(out, tag, (short) 1);
        put(out, value);
    }

    /** The bytes that tag and length take before a value. */
    static short headerLength(short tag, short length) {
        short ofTag = (short) ((short) (tag & (short) 0xFF00) == 0 ? 1 : 2);
        return (short) (ofTag + (length > 0xFF ? 3 : length > 0x7F ? 2 : 1));
    }

    /** The bytes of a whole object. */
    static short objectLength(short tag, short length) {
        return (short) (headerLength(tag, length) + length);
    }
}
