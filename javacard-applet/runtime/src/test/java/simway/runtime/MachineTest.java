package simway.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HexFormat;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Channels, selection and T=0 around the Simway applet. */
class MachineTest {
    private static final String SELECT_ISD_R = "A4040010A0000005591010FFFFFFFF8900000100";
    private Machine machine;

    @BeforeEach
    void aCard() {
        List<byte[]> aids = List.of(HexFormat.of().parseHex("F053494D57415901"), HexFormat.of().parseHex("A0000005591010FFFFFFFF8900000100"));
        machine = new Machine("simway.applet.SimwayApplet", aids, new byte[0]);
    }

    private String send(String apdu) {
        return MemoryTest.send(machine, apdu);
    }

    @Test
    void everyCardIsAnother() {
        send("00" + SELECT_ISD_R);
        send("80E2910006BF3E035C015A");
        String eid = send("80C0000015");
        aCard();
        send("00" + SELECT_ISD_R);
        send("80E2910006BF3E035C015A");
        assertNotEquals(eid, send("80C0000015"));
    }

    @Test
    void channelsOpenAndClose() {
        assertEquals("6C01", send("0070000000"));
        assertEquals("019000", send("0070000001"));
        assertEquals("029000", send("0070000001"));
        assertEquals("039000", send("0070000001"));
        assertEquals("6A81", send("0070000001"), "there are four");
        assertEquals("9000", send("0070800200"));
        assertEquals("6881", send("0070800200"));
        assertEquals("6881", send("02" + SELECT_ISD_R));
        assertEquals("9000", send("0070000200"), "by number");
        assertEquals("6881", send("0070800000"), "the basic channel stays");
        assertEquals("6881", send("C0E2910003BF3E00"), "channel 4");
        machine.reset();
        assertEquals("6881", send("01" + SELECT_ISD_R));
    }

    @Test
    void twoChannelsDoNotMeet() {
        send("0070000001");
        send("0070000001");
        assertTrue(send("01" + SELECT_ISD_R).startsWith("61"));
        assertTrue(send("02" + SELECT_ISD_R).startsWith("61"));
        assertEquals("9000", send("81E2110003BF3E03"));
        assertEquals("9000", send("82E2110003BF3E03"));
        assertEquals("6115", send("81E29101035C015A"));
        assertEquals("6115", send("82E29101035C015A"));
        String eid = send("81C0000015");
        assertEquals(eid, send("82C0000015"));
        assertEquals("9000", eid.substring(42));
    }

    @Test
    void answersInParts() {
        send("00" + SELECT_ISD_R);
        assertEquals("6115", send("80E2910006BF3E035C015A00"), "with a Le, too");
        assertEquals("BF3E125A106110", send("80C0000005"));
        assertEquals("6C10", send("80C0000000"));
        assertEquals("9000", send("80C0000010").substring(32));
        assertEquals("6985", send("80C0000001"));
        send("80E2910006BF3E035C015A");
        send("00" + SELECT_ISD_R);
        assertTrue(send("80C0000001").startsWith("6F61"), "another command's answer has taken its place");
    }

    @Test
    void aWrongLengthIsAskedForAgain() {
        assertTrue(send("00A4040008F053494D57415901").startsWith("61"));
        assertEquals("6C05", send("8040000000"));
        assertEquals("00000000009000", send("8040000005"));
        assertEquals("6C05", send("8040000009"));
        assertEquals("9000", send("8030000024" + "11".repeat(32) + "00000002"));
        assertEquals("01000000029000", send("8040000005"), "and answered anew after another command");
    }

    @Test
    void whatIsNotThere() {
        assertEquals("6A82", send("00A4040007A0000000031010"));
        assertEquals("6A82", send("00A40000023F00"));
        assertEquals("6D00", send("80AA00000AA9088100820101830107"));
        assertEquals("6700", send("00"));
        assertEquals("6700", send("00A40400"  + "05" + "0102"));
        assertEquals("6700", send("00A4040000000301020300"), "extended lengths");
        assertEquals("6E00", send("FFA4040000"));
    }

    @Test
    void noBytesMakeItFail() {
        Random random = new Random(20);
        send("00" + SELECT_ISD_R);
        for (int round = 0; round < 20_000; round++) {
            byte[] apdu = new byte[random.nextInt(40)];
            random.nextBytes(apdu);
            if (apdu.length > 5) {
                apdu[0] = (byte) (random.nextBoolean() ? 0x80 : 0x00);
                apdu[1] = (byte) new int[] {0xE2, 0xC0, 0x10, 0x20, 0x30, 0x40, 0x60, 0xA4}[random.nextInt(8)];
                apdu[2] = (byte) 0x91;
                apdu[3] = 0;
                apdu[4] = (byte) (apdu.length - 5);
                if (apdu.length > 8) {
                    apdu[5] = (byte) 0xBF;
                    apdu[6] = (byte) (0x20 + random.nextInt(0x28));
                    apdu[7] = (byte) (apdu.length - 8);
                }
            }
            byte[] answer = machine.transmit(apdu);
            assertTrue(answer.length >= 2);
            assertTrue(answer[answer.length - 2] != 0x6F, HexFormat.of().formatHex(apdu) + " gave " + HexFormat.of().formatHex(answer));
        }
    }
}
