package simway.applet;

/** Status words that {@code javacard.framework.ISO7816} has no name for, and those that it has, under the names of ETSI TS 102 221, 10.2. */
interface Status {
    short MORE_DATA = 0x6100;
    short TRIES_LEFT = 0x63C0;
    short WRONG_LENGTH = 0x6700;
    short SECURE_MESSAGING_NOT_SUPPORTED = 0x6882;
    short SECURITY_STATUS_NOT_SATISFIED = 0x6982;
    short AUTHENTICATION_BLOCKED = 0x6983;
    short CONDITIONS_NOT_SATISFIED = 0x6985;
    short WRONG_DATA = 0x6A80;
    short NOT_ENOUGH_MEMORY = 0x6A84;
    short WRONG_P1_P2 = 0x6A86;
    short DATA_NOT_FOUND = 0x6A88;
    short WRONG_INSTRUCTION = 0x6D00;
    short WRONG_CLASS = 0x6E00;
}
