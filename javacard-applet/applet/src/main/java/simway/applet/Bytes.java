package simway.applet;

/** Comparison of secrets and keys. */
final class Bytes {
    private Bytes() {
    }

    /** Whether two ranges are equal, in a time that does not depend on where they differ. */
    static boolean equal(byte[] one, short oneAt, byte[] other, short otherAt, short length) {
        byte difference = 0;
        for (short at = 0; at < length; at++) {
            difference |= (byte) (one[(short) (oneAt + at)] ^ other[(short) (otherAt + at)]);
        }
        return difference == 0;
    }

    /** The unsigned value of a byte. */
    static short unsigned(byte value) {
        return (short) (value & 0xFF);
    }

    /** The smaller of two. */
    static short least(short one, short other) {
        return one < other ? one : other;
    }
}
