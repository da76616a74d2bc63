package simway.runtime;

import java.io.ByteArrayOutputStream;
import javacard.framework.APDUException;
import javacard.framework.ISO7816;

/** One command on its way through the applet: what came in, what goes out (ISO/IEC 7816-4, 5.1, short lengths). */
public final class Exchange {
    private static final int BUFFER_BYTES = 261;
    private static final int EXPECTED_MAX = 256;

    private final byte[] buffer;
    private final ByteArrayOutputStream outgoing = new ByteArrayOutputStream();
    private final Command command;
    private int outgoingLength = -1;
    private boolean received;

    Exchange(Command command, byte[] buffer) {
        this.command = command;
        this.buffer = buffer;
        java.util.Arrays.fill(buffer, (byte) 0);
        System.arraycopy(command.header(), 0, buffer, 0, 4);
        buffer[ISO7816.OFFSET_LC] = (byte) (command.data().length > 0 ? command.data().length : Math.max(command.expected(), 0));
    }

    /** A buffer as long as cards have it: a header, a length and 256 bytes. */
    static byte[] newBuffer() {
        return new byte[BUFFER_BYTES];
    }

    public byte[] buffer() {
        return buffer;
    }

    public int channel() {
        return command.channel();
    }

    public short incomingLength() {
        return (short) command.data().length;
    }

    public short receive() {
        if (received) {
            throw new APDUException(APDUException.ILLEGAL_USE);
        }
        received = true;
        System.arraycopy(command.data(), 0, buffer, ISO7816.OFFSET_CDATA, command.data().length);
        return incomingLength();
    }

    /** All came at once: short lengths fit into the buffer. */
    public short receiveMore(short at) {
        return 0;
    }

    public short setOutgoing() {
        if (outgoingLength >= 0) {
            throw new APDUException(APDUException.ILLEGAL_USE);
        }
        outgoingLength = 0;
        boolean open = command.data().length > 0 || command.expected() <= 0;
        return (short) (open ? EXPECTED_MAX : command.expected());
    }

    public void setOutgoingLength(short length) {
        if (length < 0 || length > EXPECTED_MAX) {
            throw new APDUException(APDUException.BAD_LENGTH);
        }
        outgoingLength = length;
    }

    public void send(short at, short length) {
        if (outgoing.size() + length > outgoingLength) {
            throw new APDUException(APDUException.ILLEGAL_USE);
        }
        if (at < 0 || length < 0 || at + length > buffer.length) {
            throw new APDUException(APDUException.BUFFER_BOUNDS);
        }
        outgoing.write(buffer, at, length);
    }

    byte[] outgoing() {
        return outgoing.toByteArray();
    }
}
