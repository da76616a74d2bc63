package simway.runtime;

import java.io.IOException;
import java.util.HexFormat;
import java.util.List;

/** The Simway applet on a card whose memory lies in a file, written whenever a command has changed it. */
final class Card {
    private static final String APPLET = "simway.applet.SimwayApplet";
    private static final byte[] SIMWAY = HexFormat.of().parseHex("F053494D57415901");
    private static final byte[] ISD_R = HexFormat.of().parseHex("A0000005591010FFFFFFFF8900000100");
    private static final byte MADE_UP = 1;
    private static final byte LOAD = 0x60;
    private static final byte LAST_LOAD = (byte) 0x80;

    private final Machine machine;
    private final StateFile file;
    private long saved;

    private Card(Machine machine, StateFile file) {
        this.machine = machine;
        this.file = file;
    }

    /**
     * The card in a file; a new one where there is none, with {@code contents} (objects for LOAD) or, where that is empty, made-up ones.
     * Its PERSONALISE asks for {@code transportCode}, if that is not empty.
     *
     * <p>{@code IllegalArgumentException} where the file is another applet's or the contents are refused.
     */
    static Card open(StateFile file, List<byte[]> contents, byte[] transportCode) throws IOException {
        byte[] parameters = new byte[1 + transportCode.length];
        parameters[0] = contents.isEmpty() ? MADE_UP : 0;
        System.arraycopy(transportCode, 0, parameters, 1, transportCode.length);
        Machine machine = new Machine(APPLET, List.of(SIMWAY, ISD_R), parameters);
        Card card = new Card(machine, file);
        if (file.exists()) {
            machine.restore(file.load());
        } else {
            card.load(contents);
            file.save(machine.image());
        }
        card.saved = machine.memory().writes();
        return card;
    }

    private void load(List<byte[]> contents) {
        machine.transmit(command(0x00, 0xA4, 0x04, SIMWAY));
        for (byte[] object : contents) {
            boolean last = object == contents.get(contents.size() - 1);
            byte[] answer = machine.transmit(command(0x80, LOAD, last ? LAST_LOAD : 0, object));
            if (answer[0] != (byte) 0x90) {
                throw new IllegalArgumentException("the card refused " + HexFormat.of().formatHex(object) + " with " + HexFormat.of().formatHex(answer));
            }
        }
        machine.reset();
    }

    private static byte[] command(int cla, int ins, int p1, byte[] data) {
        byte[] command = new byte[5 + data.length];
        command[0] = (byte) cla;
        command[1] = (byte) ins;
        command[2] = (byte) p1;
        command[4] = (byte) data.length;
        System.arraycopy(data, 0, command, 5, data.length);
        return command;
    }

    /** The power goes at a write, counted from 1 from now on; 0: not. */
    void cut(long beforeWrite, long afterWrite) {
        machine.memory().cut(beforeWrite, afterWrite);
    }

    /** Power off and on; the ATR. */
    byte[] reset() {
        return machine.reset();
    }

    /** One command; its answer, given after its changes are in the file. {@link PowerCut}: what came before the cut is in the file. */
    byte[] transmit(byte[] apdu) throws IOException {
        try {
            return machine.transmit(apdu);
        } catch (PowerCut cut) {
            machine.reset();
            throw cut;
        } finally {
            save();
        }
    }

    private void save() throws IOException {
        if (machine.memory().writes() != saved) {
            file.save(machine.image());
            saved = machine.memory().writes();
        }
    }
}
