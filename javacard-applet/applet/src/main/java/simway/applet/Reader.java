package simway.applet;

import javacard.framework.ISOException;
import javacard.framework.JCSystem;
import javacard.framework.Util;

/** Reads BER-TLV objects with definite lengths (ISO/IEC 7816-4, 5.2.2) out of a buffer. All refusals are 6A80. */
final class Reader {
    private static final short TAG = 0;
    private static final short VALUE = 1;
    private static final short LENGTH = 2;

    private final short[] item = JCSystem.makeTransientShortArray((short) 3, JCSystem.CLEAR_ON_RESET);

    /** The tag read last: one byte, or two as one number. */
    short tag() {
        return item[TAG];
    }

    /** Where its value begins. */
    short value() {
        return item[VALUE];
    }

    short length() {
        return item[LENGTH];
    }

    /** Where the object ends. */
    short end() {
        return (short) (item[VALUE] + item[LENGTH]);
    }

    /** Reads the object that begins at {@code at} and has to end by {@code end}. */
    void read(byte[] buffer, short at, short end) {
        short next = readTag(buffer, at, end);
        need((short) (next + 1), end);
        short length = buffer[next];
        next++;
        if (length < 0) {
            short size = (short) (length & 0x7F);
            need((short) (next + size), end);
            length = longLength(buffer, next, size);
            next += size;
        }
        item[VALUE] = next;
        item[LENGTH] = length;
        if (length > (short) (end - next)) {
            refuse();
        }
    }

    /** Reads a tag alone, as tag lists hold them; where it ends. */
    short readTag(byte[] buffer, short at, short end) {
        need((short) (at + 1), end);
        short tag = Bytes.unsigned(buffer[at]);
        short next = (short) (at + 1);
        if ((short) (tag & 0x1F) == 0x1F) {
            need((short) (next + 1), end);
            tag = Util.getShort(buffer, at);
            next++;
            if (buffer[(short) (next - 1)] < 0) {
                need((short) (next + 1), end);
                tag = 0;
                next++;
                if (buffer[(short) (next - 1)] < 0) {
                    refuse();
                }
            }
        }
        item[TAG] = tag;
        return next;
    }

    /** Looks for a tag among the objects that fill the range, all of which have to be sound; the first one counts. */
    boolean find(byte[] buffer, short tag, short at, short end) {
        short value = -1;
        short length = 0;
        while (at < end) {
            read(buffer, at, end);
            at = end();
            if (value < 0 && item[TAG] == tag) {
                value = item[VALUE];
                length = item[LENGTH];
            }
        }
        item[TAG] = tag;
        item[VALUE] = value;
        item[LENGTH] = length;
        return value >= 0;
    }

    /** As {@code find}, for an object that has to be there. */
    void get(byte[] buffer, short tag, short at, short end) {
        if (!find(buffer, tag, at, end)) {
            refuse();
        }
    }

    static void refuse() {
        ISOException.throwIt(Status.WRONG_DATA);
    }

    private static short longLength(byte[] buffer, short at, short size) {
        short length = -1;
        if (size == 1) {
            length = Bytes.unsigned(buffer[at]);
        } else if (size == 2) {
            length = Util.getShort(buffer, at);
        } else if (size == 3 && buffer[at] == 0) {
            length = Util.getShort(buffer, (short) (at + 1));
        }
        if (length < 0) {
            refuse();
        }
        return length;
    }

    private static void need(short end, short limit) {
        if (end > limit) {
            refuse();
        }
    }
}
