package simway.runtime;

import java.util.IdentityHashMap;
import java.util.Map;
import javacard.framework.JCSystem;
import javacard.framework.TransactionException;

/**
 * A card's memory: which arrays are transient, how many writes the persistent rest has seen, and at which the power goes.
 *
 * <p>A write is one array element, one field, or one copy that the API calls atomic. The applet's own writes come here because {@link
 * Loader} put calls in their place.
 */
public final class Memory {
    private final Map<Object, Byte> transients = new IdentityHashMap<>();
    private final Machine machine;
    private long begun;
    private long cutBefore;
    private long cutAfter;
    private Image beforeTransaction;

    Memory(Machine machine) {
        this.machine = machine;
    }

    // --- what the applet's code calls ----------------------------------------------------------------------------------------------

    /** An array element, persistent or not. */
    public static void store(byte[] array, int at, byte value) {
        Memory memory = Machine.current().memory();
        boolean persistent = memory.isPersistent(array);
        if (persistent) {
            memory.beforeWrite();
        }
        array[at] = value;
        if (persistent) {
            memory.afterWrite();
        }
    }

    /** An array element, persistent or not. */
    public static void store(short[] array, int at, short value) {
        Memory memory = Machine.current().memory();
        boolean persistent = memory.isPersistent(array);
        if (persistent) {
            memory.beforeWrite();
        }
        array[at] = value;
        if (persistent) {
            memory.afterWrite();
        }
    }

    /** Several elements that change together. */
    public static void storeAtOnce(byte[] array, Runnable change) {
        Memory memory = Machine.current().memory();
        boolean persistent = memory.isPersistent(array);
        if (persistent) {
            memory.beforeWrite();
        }
        change.run();
        if (persistent) {
            memory.afterWrite();
        }
    }

    /** A field of an applet's object is about to be written: all of them are persistent. */
    public static void beforeField() {
        Machine.current().memory().beforeWrite();
    }

    /** It was written. */
    public static void afterField() {
        Machine.current().memory().afterWrite();
    }

    // --- transient arrays -----------------------------------------------------------------------------------------------------------

    /** Registers an array that loses its contents at {@code event}. */
    public void addTransient(Object array, byte event) {
        transients.put(array, event);
    }

    boolean isPersistent(Object array) {
        return !transients.containsKey(array);
    }

    /** Nothing is selected any more. */
    void clearOnDeselect() {
        clear(false);
    }

    /** The power came: all transient arrays are empty, and an open transaction never was. */
    void reset() {
        if (beforeTransaction != null) {
            abortTransaction();
        }
        clear(true);
    }

    private void clear(boolean all) {
        transients.forEach((array, event) -> {
            if (!all && event != JCSystem.CLEAR_ON_DESELECT) {
                return;
            }
            if (array instanceof byte[] bytes) {
                java.util.Arrays.fill(bytes, (byte) 0);
            } else if (array instanceof short[] shorts) {
                java.util.Arrays.fill(shorts, (short) 0);
            }
        });
    }

    // --- power cuts -----------------------------------------------------------------------------------------------------------------

    /** Writes of the persistent memory so far, the one at which the power went included. */
    long writes() {
        return begun;
    }

    /** The power goes right before the k-th write from now, and right after it, counted from 1; 0: it does not. */
    void cut(long beforeWrite, long afterWrite) {
        cutBefore = beforeWrite == 0 ? 0 : begun + beforeWrite;
        cutAfter = afterWrite == 0 ? 0 : begun + afterWrite;
    }

    private void beforeWrite() {
        begun++;
        if (begun == cutBefore) {
            throw new PowerCut();
        }
    }

    private void afterWrite() {
        if (begun == cutAfter) {
            throw new PowerCut();
        }
    }

    // --- transactions ---------------------------------------------------------------------------------------------------------------

    /** From here on all writes count together or not at all. */
    public void beginTransaction() {
        if (beforeTransaction != null) {
            throw new TransactionException(TransactionException.IN_PROGRESS);
        }
        beforeTransaction = machine.image();
    }

    /** The writes since {@code beginTransaction} count: one write. */
    public void commitTransaction() {
        needTransaction();
        beforeWrite();
        beforeTransaction = null;
        afterWrite();
    }

    /** The writes since {@code beginTransaction} never were. */
    public void abortTransaction() {
        needTransaction();
        Image image = beforeTransaction;
        beforeTransaction = null;
        machine.restore(image);
    }

    public boolean inTransaction() {
        return beforeTransaction != null;
    }

    private void needTransaction() {
        if (beforeTransaction == null) {
            throw new TransactionException(TransactionException.NOT_IN_PROGRESS);
        }
    }
}
