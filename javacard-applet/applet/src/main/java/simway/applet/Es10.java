package simway.applet;

import javacard.framework.ISOException;

/** ES10 requests as STORE DATA carries them (GSMA SGP.22, 5.7): reads one, does what it says, and writes its answer in parts. */
final class Es10 {
    private static final short TAG_INFO_2 = (short) 0xBF22;
    private static final short TAG_NOTIFICATIONS = (short) 0xBF28;
    private static final short TAG_NICKNAME = (short) 0xBF29;
    private static final short TAG_PROFILES = (short) 0xBF2D;
    private static final short TAG_NOTIFICATION = (short) 0xBF2F;
    private static final short TAG_NOTIFICATION_SENT = (short) 0xBF30;
    private static final short TAG_ENABLE = (short) 0xBF31;
    private static final short TAG_DISABLE = (short) 0xBF32;
    private static final short TAG_DELETE = (short) 0xBF33;
    private static final short TAG_ADDRESSES = (short) 0xBF3C;
    private static final short TAG_EID = (short) 0xBF3E;
    private static final short TAG_RAT = (short) 0xBF43;
    private static final short TAG_CHOICE = 0xA0;
    private static final short TAG_TAG_LIST = 0x5C;
    private static final short TAG_ICCID = 0x5A;
    private static final short TAG_AID = 0x4F;
    private static final short TAG_RESULT = 0x80;
    private static final short TAG_FLAG = 0x81;
    private static final short TAG_NAME_GIVEN = 0x90;
    private static final short TAG_CLASS = 0x95;
    private static final short TAG_ADDRESS = 0x0C;
    private static final short SEQUENCE_MAX = 0x7FFF;

    private static final byte[] SMDP = {
        's', 'm', 'd', 'p', '.', 's', 'i', 'm', 'w', 'a', 'y', '.', 'i', 'n', 'v', 'a', 'l', 'i', 'd'
    };
    private static final byte[] SMDS = {
        'l', 'p', 'a', '.', 'd', 's', '.', 's', 'i', 'm', 'w', 'a', 'y', '.', 'i', 'n', 'v', 'a', 'l', 'i', 'd'
    };
    /** SGP.22, 5.7.8: profile package 2.3.1, SVN 2.2.2, firmware 1.0.0, resources, capabilities, no CI keys, accreditation "SIMWAY-APPLET". */
    private static final byte[] INFO_2 = {
        (byte) 0x81, 3, 2, 3, 1, (byte) 0x82, 3, 2, 2, 2, (byte) 0x83, 3, 1, 0, 0,
        (byte) 0x84, 11, (byte) 0x81, 1, 1, (byte) 0x82, 2, 0x40, 0, (byte) 0x83, 2, 0x08, 0,
        (byte) 0x85, 1, 0, (byte) 0x86, 3, 15, 1, 0, (byte) 0x87, 3, 2, 3, 0, (byte) 0x88, 1, 0, (byte) 0xA9, 0, (byte) 0xAA, 0,
        4, 3, 0, 0, 1, 12, 13, 'S', 'I', 'M', 'W', 'A', 'Y', '-', 'A', 'P', 'P', 'L', 'E', 'T'
    };

    private final Profiles profiles;
    private final Notifications notifications;
    private final byte[] eid;
    private final Reader reader = new Reader();
    private final Reader inner = new Reader();
    private final Writer writer = new Writer();
    private final Listing listing;

    Es10(Profiles profiles, byte[] eid) {
        this.profiles = profiles;
        this.eid = eid;
        notifications = profiles.notifications();
        listing = new Listing(profiles, writer, inner);
    }

    /**
     * Carries out the request of a channel; whether the card's memory has changed by it. Refuses with 6A80 what does not parse, with 6A88 a
     * function that is not there.
     */
    boolean execute(Channel channel) {
        notifications.settle();
        byte[] request = channel.request;
        reader.read(request, (short) 0, channel.length());
        if (reader.end() != channel.length()) {
            Reader.refuse();
        }
        short function = reader.tag();
        channel.decide(function, perform(function, request, reader.value(), reader.end()));
        return isChange(function) && channel.result() == Profiles.OK;
    }

    /** Whether a function may change the card, and answers with a result code alone. */
    private static boolean isChange(short function) {
        return function >= TAG_NOTIFICATION_SENT && function <= TAG_DELETE || function == TAG_NICKNAME;
    }

    private byte perform(short function, byte[] request, short at, short end) {
        switch (function) {
            case TAG_ENABLE:
                return profiles.enable(switched(request, at, end));
            case TAG_DISABLE:
                return profiles.disable(switched(request, at, end));
            case TAG_DELETE:
                return profiles.delete(named(request, at, end));
            case TAG_NICKNAME:
                return rename(request, at, end);
            case TAG_NOTIFICATION_SENT:
                return forget(request, at, end);
            case TAG_EID:
                return checkEidRequest(request, at, end);
            case TAG_PROFILES:
                listing.check(request, at, end);
                return 0;
            case TAG_NOTIFICATIONS:
                return wantedOperations(request, at, end);
            case TAG_INFO_2:
            case TAG_ADDRESSES:
            case TAG_RAT:
                return 0;
            default:
                ISOException.throwIt(Status.DATA_NOT_FOUND);
                return 0;
        }
    }

    // --- requests ---------------------------------------------------------------------------------------------------------------

    /** The place that enable and disable name: {@code A0{5A or 4F}, 81 01 refresh}. */
    private byte switched(byte[] request, short at, short end) {
        inner.get(request, TAG_FLAG, at, end);
        if (inner.length() != 1) {
            Reader.refuse();
        }
        inner.get(request, TAG_CHOICE, at, end);
        return named(request, inner.value(), inner.end());
    }

    /** The place that {@code 5A} or {@code 4F} in a range names. */
    private byte named(byte[] request, short at, short end) {
        if (inner.find(request, TAG_ICCID, at, end)) {
            needLength(Profile.ICCID_BYTES);
            return profiles.findIccid(request, inner.value());
        }
        inner.get(request, TAG_AID, at, end);
        return profiles.findAid(request, inner.value(), inner.length());
    }

    private byte rename(byte[] request, short at, short end) {
        inner.get(request, TAG_NAME_GIVEN, at, end);
        if (inner.length() > Profile.NAME_MAX_BYTES) {
            Reader.refuse();
        }
        short lengthAt = (short) (inner.value() - 1);
        if (request[lengthAt] != inner.length()) {
            Reader.refuse();
        }
        inner.get(request, TAG_ICCID, at, end);
        needLength(Profile.ICCID_BYTES);
        byte place = profiles.findIccid(request, inner.value());
        if (place == Profiles.NONE) {
            return Profiles.NOT_FOUND;
        }
        profiles.at(place).rename(request, lengthAt);
        return Profiles.OK;
    }

    private byte forget(byte[] request, short at, short end) {
        inner.get(request, TAG_RESULT, at, end);
        if (inner.length() == 0) {
            Reader.refuse();
        }
        short sequence = 0;
        for (short digit = inner.value(); digit < inner.end(); digit++) {
            if (sequence > (short) (SEQUENCE_MAX >> 8)) {
                return Profiles.NOT_FOUND;
            }
            sequence = (short) ((short) (sequence << 8) | Bytes.unsigned(request[digit]));
        }
        return notifications.remove(sequence) ? Profiles.OK : Profiles.NOT_FOUND;
    }

    private byte checkEidRequest(byte[] request, short at, short end) {
        inner.get(request, TAG_TAG_LIST, at, end);
        if (inner.length() != 1 || request[inner.value()] != (byte) TAG_ICCID) {
            Reader.refuse();
        }
        return 0;
    }

    /** The operations that a list request filters by, 0 for all. */
    private byte wantedOperations(byte[] request, short at, short end) {
        if (!inner.find(request, TAG_FLAG, at, end)) {
            return 0;
        }
        if (inner.length() == 0 || Bytes.unsigned(request[inner.value()]) > 7) {
            Reader.refuse();
        }
        return inner.length() > 1 ? (byte) (request[(short) (inner.value() + 1)] & 0xF0) : 0;
    }

    private void needLength(short length) {
        if (inner.length() != length) {
            Reader.refuse();
        }
    }

    // --- answers ----------------------------------------------------------------------------------------------------------------

    /** The length of a channel's answer. */
    short measure(Channel channel) {
        writer.begin((short) 0, (short) 0);
        answer(channel, channel.request);
        return writer.passed();
    }

    /** Writes a part of a channel's answer to the beginning of {@code out}. */
    void write(Channel channel, short from, short length, byte[] out) {
        writer.begin(from, length);
        answer(channel, out);
    }

    private void answer(Channel channel, byte[] out) {
        short function = channel.function();
        switch (function) {
            case TAG_EID:
                writer.header(out, function, Writer.objectLength(TAG_ICCID, (short) eid.length));
                writer.object(out, TAG_ICCID, eid, (short) 0, (short) eid.length);
                break;
            case TAG_PROFILES:
                listing.write(channel, out);
                break;
            case TAG_NOTIFICATIONS:
                writeNotifications(channel.result(), out);
                break;
            case TAG_INFO_2:
                writer.object(out, function, INFO_2, (short) 0, (short) INFO_2.length);
                break;
            case TAG_ADDRESSES:
                writer.header(out, function, Writer.objectLength(TAG_FLAG, (short) SMDS.length));
                writer.object(out, TAG_FLAG, SMDS, (short) 0, (short) SMDS.length);
                break;
            case TAG_RAT:
                writer.header(out, function, (short) 2);
                writer.header(out, TAG_CHOICE, (short) 0);
                break;
            default:
                writer.header(out, function, (short) 3);
                writer.object(out, TAG_RESULT, channel.result());
        }
    }

    private void writeNotifications(byte wanted, byte[] out) {
        short all = 0;
        for (short record = notifications.after((short) 0); record >= 0; record = following(record)) {
            if (isWanted(record, wanted)) {
                all += Writer.objectLength(TAG_NOTIFICATION, notificationLength(record));
            }
        }
        writer.header(out, TAG_NOTIFICATIONS, Writer.objectLength(TAG_CHOICE, all));
        writer.header(out, TAG_CHOICE, all);
        for (short record = notifications.after((short) 0); record >= 0; record = following(record)) {
            if (isWanted(record, wanted)) {
                writeNotification(record, out);
            }
        }
    }

    private short following(short record) {
        return notifications.after(notifications.sequence(record));
    }

    private boolean isWanted(short record, byte wanted) {
        return wanted == 0 || (byte) (notifications.records[(short) (record + Notifications.OPERATION)] & wanted) != 0;
    }

    private short notificationLength(short record) {
        short fixed = (short) (4 + 2 + SMDP.length + 2 + Profile.ICCID_BYTES);
        return (short) (fixed + Writer.objectLength(TAG_RESULT, sequenceLength(record)));
    }

    private short sequenceLength(short record) {
        return (short) (notifications.sequence(record) > 0x7F ? 2 : 1);
    }

    /** {@code BF2F{80 seq, 81 ops, 0C address, 5A iccid}}. */
    private void writeNotification(short record, byte[] out) {
        writer.header(out, TAG_NOTIFICATION, notificationLength(record));
        writer.header(out, TAG_RESULT, sequenceLength(record));
        if (sequenceLength(record) == 2) {
            writer.put(out, (byte) (notifications.sequence(record) >> 8));
        }
        writer.put(out, (byte) notifications.sequence(record));
        byte operation = notifications.records[(short) (record + Notifications.OPERATION)];
        writer.header(out, TAG_FLAG, (short) 2);
        writer.put(out, unusedBits(operation));
        writer.put(out, operation);
        writer.object(out, TAG_ADDRESS, SMDP, (short) 0, (short) SMDP.length);
        writer.object(out, TAG_ICCID, notifications.records, (short) (record + Notifications.ICCID), Profile.ICCID_BYTES);
    }

    private static byte unusedBits(byte operation) {
        byte unused = 4;
        for (byte bit = Notifications.DELETE; bit != operation; bit = (byte) (bit << 1)) {
            unused++;
        }
        return unused;
    }
}
