package simway.runtime;

import java.util.Arrays;

/**
 * How answers leave a channel with T=0 (ISO/IEC 7816-3, 12.2; ETSI TS 102 221, 7.3.1.1).
 *
 * <p>An answer to a command with data waits for GET RESPONSE, announced by 61xx. One that was asked for with the wrong length waits for
 * the same command with the right one, announced by 6Cxx. Any other command drops what waits.
 */
final class Delivery {
    private static final int GET_RESPONSE = 0xC0;
    private static final int PART_MAX = 256;
    private static final byte[] NONE = new byte[0];

    private byte[] waiting = NONE;
    private int sw;
    private byte[] repeated;

    /** What a command gets out of what waits; null when it has to be carried out. */
    byte[] fetch(Command command) {
        boolean repeats = repeated != null && Arrays.equals(repeated, command.header()) && command.expected() == waiting.length;
        if (waiting.length > 0 && (repeats || repeated == null && command.ins() == GET_RESPONSE && command.data().length == 0)) {
            return part(command.expected());
        }
        waiting = NONE;
        repeated = null;
        return null;
    }

    /** The answer to a command that was carried out. */
    byte[] deliver(Command command, byte[] data, int status) {
        if (data.length == 0 || command.expected() == data.length && command.data().length == 0) {
            return answer(data, status);
        }
        waiting = data;
        sw = status;
        if (command.data().length > 0 || command.expected() < 0) {
            return announce(0x6100);
        }
        repeated = command.header();
        return announce(0x6C00);
    }

    private byte[] part(int length) {
        if (length <= 0 || length > waiting.length) {
            return announce(0x6C00);
        }
        byte[] part = Arrays.copyOf(waiting, length);
        waiting = Arrays.copyOfRange(waiting, length, waiting.length);
        repeated = null;
        return answer(part, waiting.length > 0 ? 0x6100 | Math.min(waiting.length, PART_MAX) & 0xFF : sw);
    }

    private byte[] announce(int kind) {
        return answer(kind | Math.min(waiting.length, PART_MAX) & 0xFF);
    }

    static byte[] answer(int sw) {
        return answer(NONE, sw);
    }

    private static byte[] answer(byte[] data, int sw) {
        byte[] answer = Arrays.copyOf(data, data.length + 2);
        answer[data.length] = (byte) (sw >> 8);
        answer[data.length + 1] = (byte) sw;
        return answer;
    }
}
