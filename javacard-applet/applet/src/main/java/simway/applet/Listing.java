package simway.applet;

/** GetProfilesInfo (SGP.22, 5.7.15): search criteria, tag list, and the list. */
final class Listing {
    private static final short TAG_PROFILES = (short) 0xBF2D;
    private static final short TAG_LIST = 0xA0;
    private static final short TAG_SEARCH = 0xA0;
    private static final short TAG_PROFILE = 0xE3;
    static final short TAG_ICCID = 0x5A;
    static final short TAG_AID = 0x4F;
    static final short TAG_TAG_LIST = 0x5C;
    static final short TAG_STATE = (short) 0x9F70;
    static final short TAG_NICKNAME = 0x90;
    static final short TAG_PROVIDER = 0x91;
    static final short TAG_NAME = 0x92;
    static final short TAG_CLASS = 0x95;
    static final short TAG_POLICY = 0x99;
    /** GSMA SGP.32, fallback attribute. */
    static final short TAG_FALLBACK = (short) 0x9F26;

    private static final short ICCID = 0x01;
    private static final short AID = 0x02;
    private static final short STATE = 0x04;
    private static final short NICKNAME = 0x08;
    private static final short PROVIDER = 0x10;
    private static final short NAME = 0x20;
    private static final short CLASS = 0x40;
    private static final short POLICY = 0x80;
    private static final short FALLBACK = 0x100;
    /** The fields that an answer has when none were asked for. */
    private static final short BY_DEFAULT = 0x7F;
    private static final short OPERATIONAL = 2;

    private final Profiles profiles;
    private final Writer writer;
    private final Reader reader;

    Listing(Profiles profiles, Writer writer, Reader reader) {
        this.profiles = profiles;
        this.writer = writer;
        this.reader = reader;
    }

    /** Refuses a request that does not parse, with 6A80. */
    void check(byte[] request, short at, short end) {
        matches(request, at, end, (short) 0);
        wantedFields(request, at, end);
    }

    /** Writes {@code BF2D{A0{E3...}}}. */
    void write(Channel channel, byte[] out) {
        byte[] request = channel.request;
        reader.read(request, (short) 0, channel.length());
        short at = reader.value();
        short end = reader.end();
        short fields = wantedFields(request, at, end);
        short all = 0;
        for (byte place = 0; place < Profiles.MAX; place++) {
            if (profiles.isUsed(place) && matches(request, at, end, place)) {
                all += Writer.objectLength(TAG_PROFILE, length(place, fields));
            }
        }
        writer.header(out, TAG_PROFILES, Writer.objectLength(TAG_LIST, all));
        writer.header(out, TAG_LIST, all);
        for (byte place = 0; place < Profiles.MAX; place++) {
            if (profiles.isUsed(place) && matches(request, at, end, place)) {
                writeProfile(place, fields, out);
            }
        }
    }

    private boolean matches(byte[] request, short at, short end, short place) {
        if (!reader.find(request, TAG_SEARCH, at, end)) {
            return true;
        }
        short from = reader.value();
        short to = reader.end();
        Profile profile = profiles.at(place);
        if (reader.find(request, TAG_CLASS, from, to)) {
            if (reader.length() != 1 || Bytes.unsigned(request[reader.value()]) > OPERATIONAL) {
                Reader.refuse();
            }
            return request[reader.value()] == profile.fields[Profile.CLASS];
        }
        if (reader.find(request, TAG_ICCID, from, to)) {
            if (reader.length() != Profile.ICCID_BYTES) {
                Reader.refuse();
            }
            return profile.hasIccid(request, reader.value());
        }
        reader.get(request, TAG_AID, from, to);
        return profile.hasAid(request, reader.value(), reader.length());
    }

    private short wantedFields(byte[] request, short at, short end) {
        if (!reader.find(request, TAG_TAG_LIST, at, end) || reader.length() == 0) {
            return BY_DEFAULT;
        }
        short fields = 0;
        short to = reader.end();
        short next = reader.value();
        while (next < to) {
            next = reader.readTag(request, next, to);
            fields |= field(reader.tag());
        }
        return fields;
    }

    private static short field(short tag) {
        switch (tag) {
            case TAG_ICCID:
                return ICCID;
            case TAG_AID:
                return AID;
            case TAG_STATE:
                return STATE;
            case TAG_NICKNAME:
                return NICKNAME;
            case TAG_PROVIDER:
                return PROVIDER;
            case TAG_NAME:
                return NAME;
            case TAG_CLASS:
                return CLASS;
            case TAG_POLICY:
                return POLICY;
            case TAG_FALLBACK:
                return FALLBACK;
            default:
                return 0;
        }
    }

    private short length(byte place, short fields) {
        Profile profile = profiles.at(place);
        short length = 0;
        if (has(fields, ICCID)) {
            length = (short) (2 + Profile.ICCID_BYTES);
        }
        if (has(fields, STATE)) {
            length += 4;
        }
        if (has(fields, CLASS)) {
            length += 3;
        }
        if (showsFallback(profile, fields)) {
            length += 4;
        }
        length += textLength(profile, fields, AID, Profile.AID);
        length += textLength(profile, fields, NICKNAME, Profile.NICKNAME);
        length += textLength(profile, fields, PROVIDER, Profile.PROVIDER);
        length += textLength(profile, fields, NAME, Profile.NAME);
        return (short) (length + textLength(profile, fields, POLICY, Profile.POLICY));
    }

    private void writeProfile(byte place, short fields, byte[] out) {
        Profile profile = profiles.at(place);
        writer.header(out, TAG_PROFILE, length(place, fields));
        if (has(fields, ICCID)) {
            writer.object(out, TAG_ICCID, profile.fields, Profile.ICCID, Profile.ICCID_BYTES);
        }
        writeText(profile, fields, AID, TAG_AID, Profile.AID, out);
        if (has(fields, STATE)) {
            writer.object(out, TAG_STATE, place == profiles.enabled() ? (byte) 1 : (byte) 0);
        }
        writeText(profile, fields, NICKNAME, TAG_NICKNAME, Profile.NICKNAME, out);
        writeText(profile, fields, PROVIDER, TAG_PROVIDER, Profile.PROVIDER, out);
        writeText(profile, fields, NAME, TAG_NAME, Profile.NAME, out);
        if (has(fields, CLASS)) {
            writer.object(out, TAG_CLASS, profile.fields[Profile.CLASS]);
        }
        writeText(profile, fields, POLICY, TAG_POLICY, Profile.POLICY, out);
        if (showsFallback(profile, fields)) {
            writer.object(out, TAG_FALLBACK, profile.fields[Profile.FALLBACK]);
        }
    }

    private static boolean showsFallback(Profile profile, short fields) {
        return has(fields, FALLBACK) && profile.fields[Profile.FALLBACK] != 0;
    }

    private static boolean has(short fields, short field) {
        return (short) (fields & field) != 0;
    }

    /** A text, AID or policy that is empty is left out. */
    private static short textLength(Profile profile, short fields, short field, short where) {
        short length = profile.lengthOf(where);
        return has(fields, field) && length > 0 ? (short) (2 + length) : 0;
    }

    private void writeText(Profile profile, short fields, short field, short tag, short where, byte[] out) {
        if (textLength(profile, fields, field, where) > 0) {
            writer.object(out, tag, profile.fields, Profile.valueOf(where), profile.lengthOf(where));
        }
    }
}
