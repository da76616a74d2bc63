package simway.applet;

import javacard.framework.Util;

/** One place for a profile, in fixed fields; texts, AID and policy with their length before them. Made at install, used or free. */
final class Profile {
    static final short ICCID_BYTES = 10;
    static final short AID_MAX_BYTES = 16;
    static final short PROVIDER_MAX_BYTES = 32;
    static final short NAME_MAX_BYTES = 64;
    static final short POLICY_MAX_BYTES = 3;

    static final short ICCID = 0;
    static final short AID = (short) (ICCID + ICCID_BYTES);
    static final short PROVIDER = (short) (AID + 1 + AID_MAX_BYTES);
    static final short NAME = (short) (PROVIDER + 1 + PROVIDER_MAX_BYTES);
    static final short NICKNAME = (short) (NAME + 1 + NAME_MAX_BYTES);
    static final short POLICY = (short) (NICKNAME + 1 + NAME_MAX_BYTES);
    static final short CLASS = (short) (POLICY + 1 + POLICY_MAX_BYTES);
    static final short FALLBACK = (short) (CLASS + 1);
    private static final short FIELDS_BYTES = (short) (FALLBACK + 1);

    static final byte PPR1_KEEP_ENABLED = 0x40;
    static final byte PPR2_KEEP_INSTALLED = 0x20;

    final byte[] fields = new byte[FIELDS_BYTES];
    /** Whether there is a profile: the byte that commits a load and a deletion. */
    boolean used;

    /** The value of a field with a length before it begins here. */
    static short valueOf(short field) {
        return (short) (field + 1);
    }

    short lengthOf(short field) {
        return fields[field];
    }

    boolean hasIccid(byte[] iccid, short at) {
        return Util.arrayCompare(fields, ICCID, iccid, at, ICCID_BYTES) == 0;
    }

    boolean hasAid(byte[] aid, short at, short length) {
        return lengthOf(AID) == length && Util.arrayCompare(fields, valueOf(AID), aid, at, length) == 0;
    }

    /** Whether a policy rule stands in the bit string: its count of unused bits, then its bits. */
    boolean hasRule(byte rule) {
        return lengthOf(POLICY) > 1 && (byte) (fields[(short) (valueOf(POLICY) + 1)] & rule) != 0;
    }

    /** Sets a field with a length before it. Not atomic: for places that are not used yet. */
    void set(short field, byte[] value, short at, short length) {
        fields[field] = (byte) length;
        Util.arrayCopyNonAtomic(value, at, fields, valueOf(field), length);
    }

    /** Replaces the nickname by what stands at {@code lengthAt}, its length first: one atomic copy. */
    void rename(byte[] text, short lengthAt) {
        Util.arrayCopy(text, lengthAt, fields, NICKNAME, (short) (1 + text[lengthAt]));
    }
}
