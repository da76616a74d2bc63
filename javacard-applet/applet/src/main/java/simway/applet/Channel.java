package simway.applet;

import javacard.framework.ISOException;
import javacard.framework.JCSystem;
import javacard.framework.Util;

/**
 * What one logical channel has under way: blocks that came, and an answer that is being fetched. Gone with the power, and with SELECT.
 *
 * <p>No answer is kept as bytes: the request stays, and each part of the answer is written anew from the card's memory when it is asked
 * for. So four channels with lists of any length fit into a card's small RAM.
 */
final class Channel {
    static final short REQUEST_BYTES = 256;
    private static final byte MORE = 0x11;
    private static final byte LAST = (byte) 0x91;

    private static final short INSTRUCTION = 0;
    private static final short BLOCK = 1;
    private static final short LENGTH = 2;
    private static final short FUNCTION = 3;
    private static final short RESULT = 4;
    private static final short SENT = 5;
    private static final short END = 6;
    private static final short CHANGES = 7;
    private static final short FIELDS = 8;

    final byte[] request;
    private final short[] state;

    Channel() {
        request = JCSystem.makeTransientByteArray(REQUEST_BYTES, JCSystem.CLEAR_ON_RESET);
        state = JCSystem.makeTransientShortArray(FIELDS, JCSystem.CLEAR_ON_RESET);
    }

    /** A fresh start, as after SELECT. */
    void clear() {
        for (short field = 0; field < FIELDS; field++) {
            state[field] = 0;
        }
    }

    // --- blocks (GlobalPlatform Card Specification 2.3, 11.11): P1 11 more, 91 last; P2 counts ---------------------------------

    /** Takes the place of a block; 6A86, and all forgotten, where it is not the one due. */
    void accept(byte instruction, byte p1, byte p2) {
        short number = Bytes.unsigned(p2);
        if (number == 0) {
            clear();
            state[INSTRUCTION] = instruction;
        }
        if (p1 != MORE && p1 != LAST || state[INSTRUCTION] != instruction || state[BLOCK] != number) {
            refuse(Status.WRONG_P1_P2);
        }
        state[BLOCK] = (short) (number + 1);
        if (p1 == LAST) {
            state[INSTRUCTION] = 0;
        }
    }

    /** Whether P1 says that this block is the last. */
    static boolean isLast(byte p1) {
        return p1 == LAST;
    }

    /** Adds a block to the request; 6A80 where it becomes too long. */
    void append(byte[] buffer, short at, short length) {
        if (length > (short) (REQUEST_BYTES - state[LENGTH])) {
            refuse(Status.WRONG_DATA);
        }
        state[LENGTH] = Util.arrayCopyNonAtomic(buffer, at, request, state[LENGTH], length);
    }

    short length() {
        return state[LENGTH];
    }

    private void refuse(short sw) {
        clear();
        ISOException.throwIt(sw);
    }

    // --- the answer -------------------------------------------------------------------------------------------------------------

    /** What the answer is of: the function's tag and, for those that answer with one, its result code. */
    void decide(short function, short result) {
        state[FUNCTION] = function;
        state[RESULT] = result;
    }

    /** The answer may be fetched from its first byte on. {@code changes}: of the card's memory so far. */
    void open(short length, short changes) {
        state[SENT] = 0;
        state[END] = length;
        state[CHANGES] = changes;
    }

    short function() {
        return state[FUNCTION];
    }

    byte result() {
        return (byte) state[RESULT];
    }

    /** How much of the answer was sent. */
    short sent() {
        return state[SENT];
    }

    /** How much is left of it; nothing when the card's memory has changed since, for then its parts would not fit together. */
    short left(short changes) {
        return state[CHANGES] == changes ? (short) (state[END] - state[SENT]) : 0;
    }

    void advance(short length) {
        state[SENT] += length;
    }
}
