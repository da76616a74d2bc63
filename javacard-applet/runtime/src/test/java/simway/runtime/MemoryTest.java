package simway.runtime;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Persistent and transient memory, power cuts, transactions and images, with an applet that does nothing else. */
class MemoryTest {
    private static final byte[] AID = HexFormat.of().parseHex("F053494D575901");

    private static Machine probe() {
        Machine machine = new Machine("simway.runtime.probe.Probe", List.of(AID), new byte[0]);
        select(machine);
        return machine;
    }

    private static void select(Machine machine) {
        assertEquals("9000", send(machine, "00A4040007F053494D575901"));
    }

    static String send(Machine machine, String apdu) {
        return HexFormat.of().withUpperCase().formatHex(machine.transmit(HexFormat.of().parseHex(apdu)));
    }

    private static String contents(Machine machine) {
        machine.reset();
        select(machine);
        return send(machine, "8000000009").substring(0, 18);
    }

    @Test
    void transactionsCountWholeOrNotAtAll() {
        Machine machine = probe();
        assertEquals("9000", send(machine, "80010700"));
        assertEquals("000007070000000000", contents(machine));
        assertEquals("9000", send(machine, "80020800"));
        assertEquals("9000", send(machine, "80030900"));
        assertEquals("000007070000000000", contents(machine), "aborted, and left open");
        for (int k = 1; k <= 3; k++) {
            machine.memory().cut(k, 0);
            assertThrows(PowerCut.class, () -> send(machine, "80010A00"));
            assertEquals("000007070000000000", contents(machine), "cut before write " + k);
        }
        machine.memory().cut(0, 3);
        assertThrows(PowerCut.class, () -> send(machine, "80010B00"));
        assertEquals("00000B0B0000000000", contents(machine), "the commit was the third write");
    }

    @Test
    void everyWriteIsOneAndACopyIsOne() {
        Machine machine = probe();
        machine.memory().cut(0, 1);
        assertThrows(PowerCut.class, () -> send(machine, "80050300"));
        assertEquals("030300000000000000", contents(machine), "both bytes of an atomic copy");
        machine.memory().cut(0, 1);
        assertThrows(PowerCut.class, () -> send(machine, "80060400"));
        assertEquals("040300000000000000", contents(machine), "one of two bytes");
        machine.memory().cut(2, 0);
        assertThrows(PowerCut.class, () -> send(machine, "80070200"));
        assertEquals("040300000000010000", contents(machine), "one of two fields, one of them static");
        assertEquals("9000", send(machine, "80070200"), "a cut strikes once");
        assertEquals("040300000000010258", contents(machine));
    }

    @Test
    void transientArraysLoseWhatTheyHold() {
        Machine machine = probe();
        assertEquals("0101", send(machine, "0070000001").substring(0, 2) + "01");
        long before = machine.memory().writes();
        assertEquals("9000", send(machine, "80040500"));
        assertEquals(before, machine.memory().writes(), "writes to them are none of the persistent memory");
        assertEquals("00000000050500", send(machine, "8000000009").substring(0, 14));
        machine.reset();
        select(machine);
        assertEquals("00000000000000", send(machine, "8000000009").substring(0, 14));
        send(machine, "80040500");
        assertEquals("019000", send(machine, "0070000001"));
        assertEquals("9000", send(machine, "01A4040007F053494D575901"));
        assertEquals("9000", send(machine, "00708001"), "still selected on channel 0");
        assertEquals("00000000050500", send(machine, "8000000009").substring(0, 14));
    }

    @Test
    void anImageIsTheWholeOfIt(@TempDir Path directory) throws Exception {
        StateFile file = new StateFile(directory.resolve("card.bin"));
        Machine machine = probe();
        send(machine, "80060400");
        send(machine, "80070500");
        assertFalse(file.exists());
        file.save(machine.image());
        Machine other = probe();
        other.restore(file.load());
        assertEquals(contents(machine), contents(other));
        assertArrayEquals(machine.image().values(), other.image().values());
        assertEquals("rw-------", java.nio.file.attribute.PosixFilePermissions.toString(Files.getPosixFilePermissions(directory.resolve("card.bin"))));
    }

    @Test
    void whatIsNoImageIsRefused(@TempDir Path directory) throws Exception {
        Path path = directory.resolve("card.bin");
        Files.writeString(path, "no card");
        assertThrows(IllegalArgumentException.class, new StateFile(path)::load);
        new StateFile(path).save(probe().image());
        Image image = new StateFile(path).load();
        Machine simway = new Machine("simway.applet.SimwayApplet", List.of(HexFormat.of().parseHex("F053494D57415901")), new byte[0]);
        assertThrows(IllegalArgumentException.class, () -> simway.restore(image), "another applet's");
    }
}
