package simway.applet;

import javacard.framework.ISOException;
import javacard.framework.JCSystem;
import javacard.framework.Util;
import javacard.security.RandomData;

/**
 * Gives a new card its EID and profiles: made up from random bytes, or loaded object by object.
 *
 * <p>Made-up numbers lie where no issuer is: country code 999 in EID and ICCID; their check digits are right.
 */
final class Maker {
    static final short EID_BYTES = 16;
    private static final short TAG_EID = (short) 0xBF3E;
    private static final short TAG_PROFILE = 0xE3;
    private static final byte CARRIERS = 3;
    private static final short EID_RANDOM_AT = 10;
    private static final short EID_CHECK_AT = 30;
    private static final short ICCID_RANDOM_AT = 7;
    private static final short ICCID_CHECK_AT = 18;
    private static final byte OPERATIONAL = 2;

    private static final byte[] EID_BEGIN = {8, 9, 9, 9, 9, 0, 0, 1, 0, 0};
    private static final byte[] ICCID_BEGIN = {8, 9, 9, 9, 9, 0};
    private static final byte[] ISD_P_AID = {
        (byte) 0xA0, 0, 0, 5, 0x59, 0x10, 0x10, -1, -1, -1, -1, (byte) 0x89, 0, 0, 0x10, 0
    };
    /** Provider and name of each carrier, each with its length before it. */
    private static final byte[] TEXTS = {
        16, 'N', 'o', 'r', 't', 'h', 'w', 'i', 'n', 'd', ' ', 'M', 'o', 'b', 'i', 'l', 'e',
        13, 'N', 'o', 'r', 't', 'h', 'w', 'i', 'n', 'd', ' ', 'I', 'o', 'T',
        20, 'B', 'l', 'u', 'e', ' ', 'H', 'a', 'r', 'b', 'o', 'u', 'r', ' ', 'T', 'e', 'l', 'e', 'c', 'o', 'm',
        18, 'B', 'l', 'u', 'e', ' ', 'H', 'a', 'r', 'b', 'o', 'u', 'r', ' ', 'F', 'l', 'e', 'e', 't',
        14, 'A', 'l', 'p', 'i', 'n', 'e', ' ', 'C', 'o', 'n', 'n', 'e', 'c', 't',
        10, 'A', 'l', 'p', 'i', 'n', 'e', ' ', 'M', '2', 'M'
    };

    private final Profiles profiles;
    private final byte[] eid;
    private final byte[] digits = JCSystem.makeTransientByteArray((short) 32, JCSystem.CLEAR_ON_RESET);
    private final Reader reader = new Reader();
    /** Whether the contents stand: nothing can be loaded any more. */
    private boolean sealed;

    Maker(Profiles profiles, byte[] eid) {
        this.profiles = profiles;
        this.eid = eid;
    }

    void seal() {
        sealed = true;
    }

    // --- made up ----------------------------------------------------------------------------------------------------------------

    void makeUp() {
        RandomData random = RandomData.getInstance(RandomData.ALG_SECURE_RANDOM);
        makeUpEid(random);
        short at = 0;
        for (byte carrier = 0; carrier < CARRIERS; carrier++) {
            Profile profile = profiles.at(carrier);
            makeUpIccid(random, carrier, profile);
            profile.set(Profile.AID, ISD_P_AID, (short) 0, (short) ISD_P_AID.length);
            profile.fields[(short) (Profile.valueOf(Profile.AID) + 14)] += carrier;
            at = setText(profile, Profile.PROVIDER, at);
            at = setText(profile, Profile.NAME, at);
            profile.fields[Profile.CLASS] = OPERATIONAL;
            profiles.add(carrier, carrier == 0);
        }
        seal();
    }

    private static short setText(Profile profile, short field, short at) {
        profile.set(field, TEXTS, (short) (at + 1), TEXTS[at]);
        return (short) (at + 1 + TEXTS[at]);
    }

    private void makeUpEid(RandomData random) {
        makeUpDigits(random, EID_BEGIN, EID_RANDOM_AT, EID_CHECK_AT);
        short rest = 0;
        for (short at = 0; at < EID_CHECK_AT; at++) {
            rest = (short) ((short) (rest * 10 + digits[at]) % 97);
        }
        short check = (short) (98 - (short) ((short) (rest * 100) % 97));
        digits[EID_CHECK_AT] = (byte) (check / 10);
        digits[(short) (EID_CHECK_AT + 1)] = (byte) (check % 10);
        for (short at = 0; at < EID_BYTES; at++) {
            eid[at] = (byte) ((byte) (digits[(short) (2 * at)] << 4) | digits[(short) (2 * at + 1)]);
        }
    }

    private void makeUpIccid(RandomData random, byte carrier, Profile profile) {
        makeUpDigits(random, ICCID_BEGIN, ICCID_RANDOM_AT, ICCID_CHECK_AT);
        digits[(short) ICCID_BEGIN.length] = (byte) (carrier + 1);
        short sum = 0;
        for (short at = 0; at < ICCID_CHECK_AT; at++) {
            short value = (short) (digits[at] * (short) ((short) (at & 1) == 1 ? 2 : 1));
            sum += value > 9 ? (short) (value - 9) : value;
        }
        digits[ICCID_CHECK_AT] = (byte) ((short) (10 - (short) (sum % 10)) % 10);
        digits[(short) (ICCID_CHECK_AT + 1)] = 0x0F;
        for (short at = 0; at < Profile.ICCID_BYTES; at++) {
            profile.fields[(short) (Profile.ICCID + at)] = (byte) ((byte) (digits[(short) (2 * at + 1)] << 4) | digits[(short) (2 * at)]);
        }
    }

    private void makeUpDigits(RandomData random, byte[] begin, short from, short to) {
        random.generateData(digits, (short) 0, (short) digits.length);
        Util.arrayCopyNonAtomic(begin, (short) 0, digits, (short) 0, (short) begin.length);
        for (short at = from; at < to; at++) {
            digits[at] = (byte) (Bytes.unsigned(digits[at]) % 10);
        }
    }

    // --- loaded -----------------------------------------------------------------------------------------------------------------

    /** Takes one object: {@code BF3E{5A eid}} or {@code E3{...}} as GetProfilesInfo lists it. 6985 once sealed, 6A84 on a full card. */
    void load(byte[] buffer, short at, short length) {
        if (sealed) {
            ISOException.throwIt(Status.CONDITIONS_NOT_SATISFIED);
        }
        short end = (short) (at + length);
        reader.read(buffer, at, end);
        if (reader.end() != end) {
            Reader.refuse();
        }
        if (reader.tag() == TAG_EID) {
            reader.get(buffer, Listing.TAG_ICCID, reader.value(), end);
            needLength(EID_BYTES);
            Util.arrayCopyNonAtomic(buffer, reader.value(), eid, (short) 0, EID_BYTES);
        } else if (reader.tag() == TAG_PROFILE) {
            loadProfile(buffer, reader.value(), end);
        } else {
            ISOException.throwIt(Status.DATA_NOT_FOUND);
        }
    }

    private void loadProfile(byte[] buffer, short at, short end) {
        byte place = profiles.free();
        if (place == Profiles.NONE) {
            ISOException.throwIt(Status.NOT_ENOUGH_MEMORY);
        }
        Profile profile = profiles.at(place);
        reader.get(buffer, Listing.TAG_ICCID, at, end);
        needLength(Profile.ICCID_BYTES);
        if (profiles.findIccid(buffer, reader.value()) != Profiles.NONE) {
            Reader.refuse();
        }
        Util.arrayCopyNonAtomic(buffer, reader.value(), profile.fields, Profile.ICCID, Profile.ICCID_BYTES);
        loadText(buffer, at, end, Listing.TAG_AID, profile, Profile.AID, Profile.AID_MAX_BYTES);
        loadText(buffer, at, end, Listing.TAG_PROVIDER, profile, Profile.PROVIDER, Profile.PROVIDER_MAX_BYTES);
        loadText(buffer, at, end, Listing.TAG_NAME, profile, Profile.NAME, Profile.NAME_MAX_BYTES);
        loadText(buffer, at, end, Listing.TAG_NICKNAME, profile, Profile.NICKNAME, Profile.NAME_MAX_BYTES);
        loadText(buffer, at, end, Listing.TAG_POLICY, profile, Profile.POLICY, Profile.POLICY_MAX_BYTES);
        profile.fields[Profile.CLASS] = flag(buffer, at, end, Listing.TAG_CLASS, OPERATIONAL);
        profile.fields[Profile.FALLBACK] = flag(buffer, at, end, Listing.TAG_FALLBACK, (byte) 0);
        profiles.add(place, flag(buffer, at, end, Listing.TAG_STATE, (byte) 0) == 1);
    }

    private void loadText(byte[] buffer, short at, short end, short tag, Profile profile, short field, short limit) {
        short length = 0;
        if (reader.find(buffer, tag, at, end)) {
            length = reader.length();
            if (length > limit) {
                Reader.refuse();
            }
        }
        profile.set(field, buffer, length > 0 ? reader.value() : at, length);
    }

    private byte flag(byte[] buffer, short at, short end, short tag, byte otherwise) {
        if (!reader.find(buffer, tag, at, end)) {
            return otherwise;
        }
        needLength((short) 1);
        return buffer[reader.value()];
    }

    private void needLength(short length) {
        if (reader.length() != length) {
            Reader.refuse();
        }
    }
}
