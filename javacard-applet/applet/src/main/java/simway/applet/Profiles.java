package simway.applet;

/**
 * The profiles of the card and the one that is enabled (GSMA SGP.22, 5.7.16 to 5.7.21).
 *
 * <p>{@code enabled} alone says which one is, so no state can hold two, and its one byte is the commit of a switch. Deleting commits by
 * {@code used} of the profile. Notifications are staged before such a commit and count by it: see {@link Notifications}.
 */
final class Profiles {
    static final byte MAX = 8;
    static final byte NONE = -1;

    static final byte OK = 0;
    static final byte NOT_FOUND = 1;
    /** Of enable and delete: the profile is enabled. Of disable: it is not. */
    static final byte WRONG_STATE = 2;
    static final byte POLICY = 3;
    static final byte WRONG_REENABLING = 4;
    private static final byte TEST_CLASS = 0;

    private final Profile[] places = new Profile[MAX];
    private final Notifications notifications;
    private byte enabled = NONE;
    /** Where the way back leads while a test profile is enabled; else without meaning, and so no part of a switch's commit. */
    private byte beforeTest = NONE;

    Profiles() {
        for (short place = 0; place < MAX; place++) {
            places[place] = new Profile();
        }
        notifications = new Notifications(this);
    }

    Notifications notifications() {
        return notifications;
    }

    byte enabled() {
        return enabled;
    }

    Profile at(short place) {
        return places[place];
    }

    boolean isUsed(short place) {
        return places[place].used;
    }

    byte findIccid(byte[] buffer, short at) {
        for (byte place = 0; place < MAX; place++) {
            if (places[place].used && places[place].hasIccid(buffer, at)) {
                return place;
            }
        }
        return NONE;
    }

    byte findAid(byte[] buffer, short at, short length) {
        for (byte place = 0; place < MAX; place++) {
            if (places[place].used && places[place].hasAid(buffer, at, length)) {
                return place;
            }
        }
        return NONE;
    }

    /** A place for one more profile, {@code NONE} on a full card. */
    byte free() {
        for (byte place = 0; place < MAX; place++) {
            if (!places[place].used) {
                return place;
            }
        }
        return NONE;
    }

    /** Makes a profile count that was filled in; {@code enable}: and be the enabled one. */
    void add(byte place, boolean enable) {
        places[place].used = true;
        if (enable) {
            enabled = place;
        }
    }

    /**
     * Enables a profile in place of the enabled one. From a test profile the way leads back only to what was enabled before it; a test
     * profile may take the place of one whose policy forbids its disabling, since that comes back.
     */
    byte enable(byte place) {
        if (place == NONE) {
            return NOT_FOUND;
        }
        if (place == enabled) {
            return WRONG_STATE;
        }
        boolean fromTest = isTest(enabled);
        boolean intoTest = isTest(place);
        if (fromTest && !intoTest && beforeTest != NONE && places[beforeTest].used && beforeTest != place) {
            return WRONG_REENABLING;
        }
        if (isKeptEnabled() && !intoTest) {
            return POLICY;
        }
        if (intoTest && !fromTest) {
            beforeTest = enabled;
        }
        if (enabled != NONE) {
            notifications.stage(Notifications.DISABLE, places[enabled]);
        }
        notifications.stage(Notifications.ENABLE, places[place]);
        switchTo(place);
        return OK;
    }

    byte disable(byte place) {
        if (place == NONE) {
            return NOT_FOUND;
        }
        if (place != enabled) {
            return WRONG_STATE;
        }
        if (isKeptEnabled()) {
            return POLICY;
        }
        notifications.stage(Notifications.DISABLE, places[place]);
        switchTo(NONE);
        return OK;
    }

    byte delete(byte place) {
        if (place == NONE) {
            return NOT_FOUND;
        }
        if (place == enabled) {
            return WRONG_STATE;
        }
        if (places[place].hasRule(Profile.PPR2_KEEP_INSTALLED)) {
            return POLICY;
        }
        notifications.stage(Notifications.DELETE, places[place]);
        notifications.countIfDeleted(place);
        places[place].used = false;
        notifications.settle();
        return OK;
    }

    private void switchTo(byte place) {
        notifications.countIfEnabled(place);
        enabled = place;
        notifications.settle();
    }

    private boolean isTest(byte place) {
        return place != NONE && places[place].fields[Profile.CLASS] == TEST_CLASS;
    }

    private boolean isKeptEnabled() {
        return enabled != NONE && places[enabled].hasRule(Profile.PPR1_KEEP_ENABLED);
    }
}
