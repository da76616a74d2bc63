package javacard.framework;

import simway.runtime.Memory;

/** Copies and comparisons (Java Card API, Classic Edition). What the API calls atomic is one write of the persistent memory. */
public class Util {
    private Util() {
    }

    public static short arrayCopy(byte[] source, short sourceAt, byte[] destination, short at, short length) {
        byte[] copied = java.util.Arrays.copyOfRange(source, sourceAt, sourceAt + length);
        Memory.storeAtOnce(destination, () -> System.arraycopy(copied, 0, destination, at, length));
        return (short) (at + length);
    }

    public static short arrayCopyNonAtomic(byte[] source, short sourceAt, byte[] destination, short at, short length) {
        byte[] copied = java.util.Arrays.copyOfRange(source, sourceAt, sourceAt + length);
        for (int number = 0; number < length; number++) {
            Memory.store(destination, at + number, copied[number]);
        }
        return (short) (at + length);
    }

    public static short arrayFillNonAtomic(byte[] array, short at, short length, byte value) {
        for (int number = 0; number < length; number++) {
            Memory.store(array, at + number, value);
        }
        return (short) (at + length);
    }

    public static byte arrayCompare(byte[] one, short oneAt, byte[] other, short otherAt, short length) {
        return (byte) Integer.signum(java.util.Arrays.compareUnsigned(one, oneAt, oneAt + length, other, otherAt, otherAt + length));
    }

    public static short getShort(byte[] array, short at) {
        return (short) (array[at] << 8 | array[at + 1] & 0xFF);
    }

    public static short setShort(byte[] array, short at, short value) {
        Memory.storeAtOnce(array, () -> {
            array[at] = (byte) (value >> 8);
            array[at + 1] = (byte) value;
        });
        return (short) (at + 2);
    }
}
