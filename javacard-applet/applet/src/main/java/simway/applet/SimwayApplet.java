package simway.applet;

import javacard.framework.APDU;
import javacard.framework.Applet;
import javacard.framework.ISO7816;
import javacard.framework.ISOException;
import javacard.framework.JCSystem;
import javacard.framework.MultiSelectable;

/**
 * The Simway applet: it holds the device key and speaks the ES10c of an eUICC over simulated profiles.
 *
 * <p>Install it as {@code F053494D57415901} and, for clients that look for an eUICC, a second time as {@code
 * A0000005591010FFFFFFFF8900000100}: all instances are one card. Class 80 with the channel:
 *
 * <ul>
 *   <li>10 AUTHENTICATE, 20 VERIFY COMMAND, 30 PERSONALISE, 40 STATUS: the key ({@link DeviceKey})
 *   <li>60 LOAD: contents of a card that was installed without any, P1 80 with the last of them ({@link Maker})
 *   <li>E2 STORE DATA: ES10 ({@link Es10}); C0 GET RESPONSE for what does not fit into 256 bytes
 * </ul>
 *
 * <p>Nothing is allocated after install.
 */
public final class SimwayApplet extends Applet implements MultiSelectable {
    private static final byte AUTHENTICATE = 0x10;
    private static final byte VERIFY_COMMAND = 0x20;
    private static final byte PERSONALISE = 0x30;
    private static final byte STATUS = 0x40;
    private static final byte LOAD = 0x60;
    private static final byte GET_RESPONSE = (byte) 0xC0;
    private static final byte STORE_DATA = (byte) 0xE2;

    private static final byte LAST_LOAD = (byte) 0x80;
    private static final byte NO_DATA = 0x0C;
    private static final short PART_MAX_BYTES = 256;
    private static final byte[] FCI_PROPRIETARY = {(byte) 0xA5, 4, (byte) 0x9F, 0x65, 1, (byte) 0xFF};

    private static Card card;

    private SimwayApplet(byte[] parameters, short aidAt) {
        short controlAt = (short) (aidAt + 1 + parameters[aidAt]);
        short dataAt = (short) (controlAt + 1 + parameters[controlAt]);
        if (card == null) {
            card = new Card(parameters, (short) (dataAt + 1), parameters[dataAt]);
        }
        register(parameters, (short) (aidAt + 1), parameters[aidAt]);
    }

    /** INSTALL: AID, control information and parameters ({@link Card}), each with its length before it. */
    public static void install(byte[] parameters, short at, byte length) {
        new SimwayApplet(parameters, at);
    }

    @Override
    public boolean select() {
        return start();
    }

    @Override
    public boolean select(boolean elsewhereToo) {
        return start();
    }

    @Override
    public void deselect() {
    }

    @Override
    public void deselect(boolean elsewhereToo) {
    }

    private static boolean start() {
        byte number = JCSystem.getAssignedChannel();
        if (number >= Card.CHANNELS) {
            return false;
        }
        card.channel(number).clear();
        return true;
    }

    @Override
    public void process(APDU apdu) {
        if (apdu.isSecureMessagingCLA()) {
            ISOException.throwIt(Status.SECURE_MESSAGING_NOT_SUPPORTED);
        }
        byte[] buffer = apdu.getBuffer();
        byte number = APDU.getCLAChannel();
        Channel channel = card.channel(number);
        byte instruction = buffer[ISO7816.OFFSET_INS];
        if (selectingApplet()) {
            sendFci(apdu, buffer);
        } else if (instruction == GET_RESPONSE) {
            sendMore(apdu, channel);
        } else if (apdu.isISOInterindustryCLA()) {
            ISOException.throwIt(Status.WRONG_CLASS);
        } else if (instruction == STORE_DATA) {
            storeData(apdu, buffer, channel);
        } else {
            processKey(apdu, buffer, instruction, number);
        }
    }

    private static void sendFci(APDU apdu, byte[] buffer) {
        if ((byte) (buffer[ISO7816.OFFSET_P2] & NO_DATA) == NO_DATA) {
            return;
        }
        byte aidBytes = JCSystem.getAID().getBytes(buffer, (short) 4);
        buffer[0] = 0x6F;
        buffer[1] = (byte) (2 + aidBytes + FCI_PROPRIETARY.length);
        buffer[2] = (byte) 0x84;
        buffer[3] = aidBytes;
        short end = (short) (4 + aidBytes);
        for (short at = 0; at < (short) FCI_PROPRIETARY.length; at++) {
            buffer[(short) (end + at)] = FCI_PROPRIETARY[at];
        }
        apdu.setOutgoingAndSend((short) 0, (short) (end + FCI_PROPRIETARY.length));
    }

    // --- the key ----------------------------------------------------------------------------------------------------------------

    private static void processKey(APDU apdu, byte[] buffer, byte instruction, byte number) {
        switch (instruction) {
            case AUTHENTICATE:
                authenticate(apdu, buffer);
                break;
            case VERIFY_COMMAND:
                verify(apdu, buffer, number);
                break;
            case PERSONALISE:
                short length = receive(apdu);
                card.key.personalise(buffer, apdu.getOffsetCdata(), length);
                break;
            case STATUS:
                card.key.status(buffer, (short) 0);
                apdu.setOutgoingAndSend((short) 0, DeviceKey.STATUS_BYTES);
                break;
            case LOAD:
                load(apdu, buffer);
                break;
            default:
                ISOException.throwIt(Status.WRONG_INSTRUCTION);
        }
    }

    private static void authenticate(APDU apdu, byte[] buffer) {
        card.key.needKey();
        if (receive(apdu) != DeviceKey.CHALLENGE_BYTES) {
            ISOException.throwIt(Status.WRONG_LENGTH);
        }
        short challengeAt = apdu.getOffsetCdata();
        short answerAt = (short) (challengeAt + DeviceKey.CHALLENGE_BYTES);
        card.key.authenticate(buffer, challengeAt, answerAt);
        apdu.setOutgoingAndSend(answerAt, DeviceKey.ANSWER_BYTES);
    }

    private static void verify(APDU apdu, byte[] buffer, byte number) {
        card.key.needKey();
        byte p1 = buffer[ISO7816.OFFSET_P1];
        byte p2 = buffer[ISO7816.OFFSET_P2];
        card.channel(number).accept(VERIFY_COMMAND, p1, p2);
        short length = receive(apdu);
        card.key.verify(number, p2 == 0, Channel.isLast(p1), buffer, apdu.getOffsetCdata(), length);
    }

    private static void load(APDU apdu, byte[] buffer) {
        byte p1 = buffer[ISO7816.OFFSET_P1];
        if (p1 != 0 && p1 != LAST_LOAD) {
            ISOException.throwIt(Status.WRONG_P1_P2);
        }
        if (card.key.isPersonalised()) {
            ISOException.throwIt(Status.CONDITIONS_NOT_SATISFIED);
        }
        short length = receive(apdu);
        card.maker.load(buffer, apdu.getOffsetCdata(), length);
        card.hasChanged();
        if (p1 == LAST_LOAD) {
            card.maker.seal();
        }
    }

    // --- ES10 -------------------------------------------------------------------------------------------------------------------

    private static void storeData(APDU apdu, byte[] buffer, Channel channel) {
        byte p1 = buffer[ISO7816.OFFSET_P1];
        channel.accept(STORE_DATA, p1, buffer[ISO7816.OFFSET_P2]);
        short length = receive(apdu);
        channel.append(buffer, apdu.getOffsetCdata(), length);
        if (Channel.isLast(p1)) {
            if (card.es10.execute(channel)) {
                card.hasChanged();
            }
            channel.open(card.es10.measure(channel), card.changes());
            send(apdu, channel);
        }
    }

    private static void sendMore(APDU apdu, Channel channel) {
        if (channel.left(card.changes()) == 0) {
            ISOException.throwIt(Status.CONDITIONS_NOT_SATISFIED);
        }
        send(apdu, channel);
    }

    /** Sends what the terminal takes of the answer, and says by 61xx what is left of it. */
    private static void send(APDU apdu, Channel channel) {
        short left = channel.left(card.changes());
        short expected = apdu.setOutgoing();
        short part = Bytes.least(left, expected > 0 ? expected : PART_MAX_BYTES);
        apdu.setOutgoingLength(part);
        byte[] buffer = apdu.getBuffer();
        for (short sent = 0; sent < part; ) {
            short piece = Bytes.least((short) (part - sent), (short) buffer.length);
            card.es10.write(channel, channel.sent(), piece, buffer);
            apdu.sendBytes((short) 0, piece);
            channel.advance(piece);
            sent += piece;
        }
        left -= part;
        if (left > 0) {
            ISOException.throwIt((short) (Status.MORE_DATA | (left > 255 ? 0 : left)));
        }
    }

    /** Receives all data of a command, and gives its length. */
    private static short receive(APDU apdu) {
        short length = apdu.setIncomingAndReceive();
        short all = apdu.getIncomingLength();
        short at = (short) (apdu.getOffsetCdata() + length);
        while (length < all) {
            short more = apdu.receiveBytes(at);
            at += more;
            length += more;
        }
        return length;
    }
}
