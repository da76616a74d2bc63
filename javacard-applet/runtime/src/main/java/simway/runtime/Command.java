package simway.runtime;

import java.util.Arrays;

/**
 * A command APDU with short lengths. {@code expected}: Le in bytes, -1 where there is none, and 256 for 00.
 */
record Command(byte[] header, byte[] data, int expected) {
    private static final int HEADER_BYTES = 4;

    /** Parses a command; null when its length says something else than its bytes, or it is an extended one. */
    static Command parse(byte[] apdu) {
        if (apdu.length < HEADER_BYTES) {
            return null;
        }
        byte[] header = Arrays.copyOf(apdu, HEADER_BYTES);
        byte[] none = new byte[0];
        if (apdu.length == HEADER_BYTES) {
            return new Command(header, none, -1);
        }
        int first = apdu[HEADER_BYTES] & 0xFF;
        int rest = apdu.length - HEADER_BYTES - 1;
        if (rest == 0) {
            return new Command(header, none, first == 0 ? 256 : first);
        }
        if (first == 0 || rest != first && rest != first + 1) {
            return null;
        }
        byte[] data = Arrays.copyOfRange(apdu, HEADER_BYTES + 1, HEADER_BYTES + 1 + first);
        int last = apdu[apdu.length - 1] & 0xFF;
        return new Command(header, data, rest == first ? -1 : last == 0 ? 256 : last);
    }

    int ins() {
        return header[1] & 0xFF;
    }

    int p1() {
        return header[2] & 0xFF;
    }

    int p2() {
        return header[3] & 0xFF;
    }

    boolean isInterindustry() {
        return header[0] >= 0;
    }

    /** Whether the class byte is one that a channel can be read from (ETSI TS 102 221, 10.1.1). */
    boolean hasClass() {
        int cla = header[0] & 0xFF;
        return cla != 0xFF && (cla & 0xE0) != 0x20 && (cla & 0xE0) != 0xA0;
    }

    /** The logical channel: 0 to 3 in bits 1-2, 4 to 19 in bits 1-4 where bit 7 is set. */
    int channel() {
        int cla = header[0] & 0xFF;
        return (cla & 0x40) != 0 ? 4 + (cla & 0x0F) : cla & 0x03;
    }
}
