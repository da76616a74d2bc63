package javacard.framework;

import simway.runtime.Exchange;
import simway.runtime.Machine;

/** A command and its answer, as the applet sees them (Java Card API, Classic Edition). */
public final class APDU {
    private final Exchange exchange;

    public APDU(Exchange exchange) {
        this.exchange = exchange;
    }

    public byte[] getBuffer() {
        return exchange.buffer();
    }

    public static byte getCLAChannel() {
        return (byte) Machine.current().exchange().channel();
    }

    public boolean isISOInterindustryCLA() {
        return exchange.buffer()[ISO7816.OFFSET_CLA] >= 0;
    }

    public boolean isSecureMessagingCLA() {
        byte cla = exchange.buffer()[ISO7816.OFFSET_CLA];
        return (cla & ((cla & 0x40) == 0 ? 0x0C : 0x20)) != 0;
    }

    public short setIncomingAndReceive() {
        return exchange.receive();
    }

    public short receiveBytes(short offset) {
        return exchange.receiveMore(offset);
    }

    public short getIncomingLength() {
        return exchange.incomingLength();
    }

    public short getOffsetCdata() {
        return ISO7816.OFFSET_CDATA;
    }

    public short setOutgoing() {
        return exchange.setOutgoing();
    }

    public void setOutgoingLength(short length) {
        exchange.setOutgoingLength(length);
    }

    public void sendBytes(short offset, short length) {
        exchange.send(offset, length);
    }

    public void setOutgoingAndSend(short offset, short length) {
        setOutgoing();
        setOutgoingLength(length);
        sendBytes(offset, length);
    }
}
