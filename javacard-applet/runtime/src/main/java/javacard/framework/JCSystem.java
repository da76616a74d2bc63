package javacard.framework;

import simway.runtime.Machine;

/** Transient memory, transactions, and who is selected (Java Card API, Classic Edition). */
public final class JCSystem {
    public static final byte CLEAR_ON_RESET = 1;
    public static final byte CLEAR_ON_DESELECT = 2;

    private JCSystem() {
    }

    public static byte[] makeTransientByteArray(short length, byte event) {
        byte[] array = new byte[length];
        Machine.current().memory().addTransient(array, event);
        return array;
    }

    public static short[] makeTransientShortArray(short length, byte event) {
        short[] array = new short[length];
        Machine.current().memory().addTransient(array, event);
        return array;
    }

    public static void beginTransaction() {
        Machine.current().memory().beginTransaction();
    }

    public static void commitTransaction() {
        Machine.current().memory().commitTransaction();
    }

    public static void abortTransaction() {
        Machine.current().memory().abortTransaction();
    }

    public static byte getTransactionDepth() {
        return (byte) (Machine.current().memory().inTransaction() ? 1 : 0);
    }

    public static byte getAssignedChannel() {
        return (byte) Machine.current().exchange().channel();
    }

    public static AID getAID() {
        return Machine.current().selectedAid();
    }
}
