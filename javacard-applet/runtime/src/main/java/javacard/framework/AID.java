package javacard.framework;

/** An application identifier of 5 to 16 bytes (Java Card API, Classic Edition). */
public class AID {
    private final byte[] bytes;

    public AID(byte[] source, short offset, byte length) {
        if (length < 5 || length > 16) {
            throw new SystemException(SystemException.ILLEGAL_VALUE);
        }
        bytes = java.util.Arrays.copyOfRange(source, offset, offset + length);
    }

    public final byte getBytes(byte[] destination, short offset) {
        System.arraycopy(bytes, 0, destination, offset, bytes.length);
        return (byte) bytes.length;
    }
}
