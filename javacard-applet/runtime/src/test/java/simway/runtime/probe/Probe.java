package simway.runtime.probe;

import javacard.framework.APDU;
import javacard.framework.Applet;
import javacard.framework.ISO7816;
import javacard.framework.ISOException;
import javacard.framework.JCSystem;
import javacard.framework.Util;

/** An applet that uses the memory in each way that there is: INS says which, P1 a value. INS 00 gives it all. */
public final class Probe extends Applet {
    private static short number;
    private final byte[] values = new byte[4];
    private final byte[] onDeselect = JCSystem.makeTransientByteArray((short) 1, JCSystem.CLEAR_ON_DESELECT);
    private final byte[] onReset = JCSystem.makeTransientByteArray((short) 1, JCSystem.CLEAR_ON_RESET);
    private boolean flag;

    private Probe(byte[] parameters, short at) {
        register(parameters, (short) (at + 1), parameters[at]);
    }

    public static void install(byte[] parameters, short at, byte length) {
        new Probe(parameters, at);
    }

    @Override
    public void process(APDU apdu) {
        if (selectingApplet()) {
            return;
        }
        byte[] buffer = apdu.getBuffer();
        byte value = buffer[ISO7816.OFFSET_P1];
        switch (buffer[ISO7816.OFFSET_INS]) {
            case 0x00:
                Util.arrayCopyNonAtomic(values, (short) 0, buffer, (short) 0, (short) 4);
                buffer[4] = onDeselect[0];
                buffer[5] = onReset[0];
                buffer[6] = (byte) (flag ? 1 : 0);
                Util.setShort(buffer, (short) 7, number);
                apdu.setOutgoingAndSend((short) 0, (short) 9);
                break;
            case 0x01:
                transaction(value, (byte) 0);
                break;
            case 0x02:
                transaction(value, (byte) 1);
                break;
            case 0x03:
                transaction(value, (byte) 2);
                break;
            case 0x04:
                onDeselect[0] = value;
                onReset[0] = value;
                break;
            case 0x05:
                buffer[0] = buffer[1] = value;
                Util.arrayCopy(buffer, (short) 0, values, (short) 0, (short) 2);
                break;
            case 0x06:
                values[0] = value;
                values[1] = value;
                break;
            case 0x07:
                flag = true;
                number = (short) (value * 300);
                break;
            default:
                ISOException.throwIt((short) 0x6D00);
        }
    }

    /** Two writes together, then: 0 commit, 1 abort, 2 nothing, which the card ends as an abort. */
    private void transaction(byte value, byte end) {
        JCSystem.beginTransaction();
        values[2] = value;
        values[3] = value;
        if (end == 0) {
            JCSystem.commitTransaction();
        } else if (end == 1) {
            JCSystem.abortTransaction();
        }
    }
}
