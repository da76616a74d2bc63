package simway.applet;

import javacard.framework.Util;

/**
 * What the card keeps for its operators' servers until it is told that they have it (SGP.22, 3.5).
 *
 * <p>A record is staged before the change that it tells of, together with the outcome by which it will count. The change itself is one
 * write elsewhere. {@code settle}, at the end of it or before the next command after a power cut, looks whether the change happened and
 * lets the staged records count, or drops them. So there is never a switch without its notifications, nor the other way round.
 */
final class Notifications {
    static final byte ENABLE = 0x40;
    static final byte DISABLE = 0x20;
    static final byte DELETE = 0x10;
    static final short MAX = 16;

    static final short OPERATION = 1;
    static final short ICCID = 4;
    private static final short STATUS = 0;
    private static final short SEQUENCE = 2;
    private static final short RECORD_BYTES = (short) (ICCID + Profile.ICCID_BYTES);

    private static final byte FREE = 0;
    private static final byte STAGED = 1;
    private static final byte COUNTS = 2;

    private static final byte NOTHING = 0;
    private static final byte SWITCH = 1;
    private static final byte DELETION = 2;

    final byte[] records = new byte[(short) (MAX * RECORD_BYTES)];
    private final Profiles profiles;
    private short nextSequence = 1;
    private byte staged = NOTHING;
    private byte place;

    Notifications(Profiles profiles) {
        this.profiles = profiles;
    }

    /** Where the record with the lowest sequence number above {@code sequence} lies; -1 when there is none. */
    short after(short sequence) {
        short found = -1;
        for (short record = 0; record < (short) records.length; record += RECORD_BYTES) {
            boolean later = records[(short) (record + STATUS)] == COUNTS && sequence(record) > sequence;
            if (later && (found < 0 || sequence(record) < sequence(found))) {
                found = record;
            }
        }
        return found;
    }

    short sequence(short record) {
        return Util.getShort(records, (short) (record + SEQUENCE));
    }

    /** Forgets a delivered record; false when there is none of that number. */
    boolean remove(short sequence) {
        for (short record = 0; record < (short) records.length; record += RECORD_BYTES) {
            if (records[(short) (record + STATUS)] == COUNTS && sequence(record) == sequence) {
                records[(short) (record + STATUS)] = FREE;
                return true;
            }
        }
        return false;
    }

    /** Prepares a record; where there is no room the oldest one goes. */
    void stage(byte operation, Profile profile) {
        short record = room();
        records[(short) (record + STATUS)] = FREE;
        records[(short) (record + OPERATION)] = operation;
        Util.setShort(records, (short) (record + SEQUENCE), nextSequence);
        Util.arrayCopy(profile.fields, Profile.ICCID, records, (short) (record + ICCID), Profile.ICCID_BYTES);
        nextSequence = (short) (nextSequence == 0x7FFF ? 1 : nextSequence + 1);
        records[(short) (record + STATUS)] = STAGED;
    }

    /** The staged records count once that place is the enabled one. */
    void countIfEnabled(byte place) {
        this.place = place;
        staged = SWITCH;
    }

    /** The staged records count once that place is free. */
    void countIfDeleted(byte place) {
        this.place = place;
        staged = DELETION;
    }

    /** Ends what was staged, the way that the card's memory says; a second call does nothing. */
    void settle() {
        boolean happened = staged == SWITCH && profiles.enabled() == place || staged == DELETION && !profiles.isUsed(place);
        for (short record = 0; record < (short) records.length; record += RECORD_BYTES) {
            if (records[(short) (record + STATUS)] == STAGED) {
                records[(short) (record + STATUS)] = happened ? COUNTS : FREE;
            }
        }
        if (staged != NOTHING) {
            staged = NOTHING;
        }
    }

    private short room() {
        for (short record = 0; record < (short) records.length; record += RECORD_BYTES) {
            if (records[(short) (record + STATUS)] == FREE) {
                return record;
            }
        }
        return after((short) 0);
    }
}
