package simway.applet;

import javacard.framework.JCSystem;

/** All that one card is: what it remembers and what its channels have under way. All of it is made once, at install. */
final class Card {
    /** Logical channels that the applet serves, 0 to 3: those that every class byte can name. */
    static final byte CHANNELS = 4;
    static final byte MADE_UP = 1;

    final DeviceKey key;
    final Maker maker;
    final Es10 es10;
    private final Channel[] channels = new Channel[CHANNELS];
    /** How often the memory has changed since the power came, for answers that are fetched in parts. */
    private final short[] changes = JCSystem.makeTransientShortArray((short) 1, JCSystem.CLEAR_ON_RESET);

    /**
     * A new card. Parameters of INSTALL: contents (01 made up, 00 none yet: LOAD follows), then the transport code that PERSONALISE is to
     * ask for. Without parameters: made up, and no code.
     */
    Card(byte[] parameters, short at, short length) {
        byte[] eid = new byte[Maker.EID_BYTES];
        Profiles profiles = new Profiles();
        for (byte channel = 0; channel < CHANNELS; channel++) {
            channels[channel] = new Channel();
        }
        maker = new Maker(profiles, eid);
        es10 = new Es10(profiles, eid);
        key = new DeviceKey(parameters, (short) (at + 1), length > 1 ? (short) (length - 1) : 0);
        if (length == 0 || parameters[at] == MADE_UP) {
            maker.makeUp();
        }
    }

    Channel channel(byte number) {
        return channels[number];
    }

    short changes() {
        return changes[0];
    }

    void hasChanged() {
        changes[0]++;
    }
}
