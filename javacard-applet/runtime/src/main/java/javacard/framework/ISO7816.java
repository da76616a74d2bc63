package javacard.framework;

/** Places in a command (Java Card API, Classic Edition). */
public interface ISO7816 {
    byte OFFSET_CLA = 0;
    byte OFFSET_INS = 1;
    byte OFFSET_P1 = 2;
    byte OFFSET_P2 = 3;
    byte OFFSET_LC = 4;
    byte OFFSET_CDATA = 5;
}
