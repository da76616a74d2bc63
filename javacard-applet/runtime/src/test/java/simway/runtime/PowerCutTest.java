package simway.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HexFormat;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The power goes before and after every single write of every function that writes: what it was or what it was to be, no third. */
class PowerCutTest {
    private static final String FIRST = "988812010000000020F5";
    private static final String SECOND = "98881201000000002015";
    private static final String THIRD = "98881201000000003012";
    private static final String LIST = "80E2910009BF2D065C045A9F7090";
    private static final String NOTIFICATIONS = "80E2910003BF2800";

    /** A card with three profiles, the first enabled, and one notification of earlier. */
    private static Machine card() {
        List<byte[]> aids = List.of(HexFormat.of().parseHex("F053494D57415901"));
        Machine machine = new Machine("simway.applet.SimwayApplet", aids, new byte[] {0});
        select(machine);
        load(machine, THIRD, "01", "00");
        load(machine, FIRST, "00", "00");
        load(machine, SECOND, "00", "80");
        assertEquals("6106", MemoryTest.send(machine, "80E2910014BF3111A00C5A0A" + FIRST + "810100"));
        return machine;
    }

    private static void load(Machine machine, String iccid, String state, String p1) {
        assertEquals("9000", MemoryTest.send(machine, "8060" + p1 + "0015E3135A0A" + iccid + "9F7001" + state + "950102"));
    }

    private static void select(Machine machine) {
        assertTrue(MemoryTest.send(machine, "00A4040008F053494D57415901").startsWith("61"));
    }

    private static String ask(Machine machine, String request) {
        String answer = MemoryTest.send(machine, request);
        StringBuilder whole = new StringBuilder();
        while (answer.substring(answer.length() - 4).startsWith("61")) {
            whole.append(answer, 0, answer.length() - 4);
            answer = MemoryTest.send(machine, "80C00000" + answer.substring(answer.length() - 2));
        }
        return whole.append(answer).toString();
    }

    /** All that a client can see. */
    private static String seen(Machine machine) {
        machine.reset();
        select(machine);
        return ask(machine, LIST) + " " + ask(machine, NOTIFICATIONS) + " " + MemoryTest.send(machine, "8040000005");
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "80E2910014BF3111A00C5A0A" + SECOND + "810100",
        "80E2910014BF3111A00C5A0A" + SECOND + "8101FF",
        "80E2910014BF3211A00C5A0A" + FIRST + "810100",
        "80E291000FBF330C5A0A" + SECOND,
        "80E2910016BF29135A0A" + SECOND + "90054142434445",
        "80E2910006BF3003800101",
        "8030000024000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F00000001"
    })
    void aChangeHappensOrDoesNot(String command) {
        Machine undisturbed = card();
        String before = seen(undisturbed);
        long begin = undisturbed.memory().writes();
        MemoryTest.send(undisturbed, command);
        long writes = undisturbed.memory().writes() - begin;
        String after = seen(undisturbed);
        assertTrue(writes > 0 && !before.equals(after));
        int changed = 0;
        for (int k = 1; k <= 2 * writes; k++) {
            Machine machine = card();
            machine.memory().cut(k % 2 == 1 ? (k + 1) / 2 : 0, k % 2 == 0 ? k / 2 : 0);
            cut(machine, command);
            String left = seen(machine);
            assertTrue(Set.of(before, after).contains(left), "cut " + k + " of " + 2 * writes + ": " + left);
            assertTrue(changed == 0 || left.equals(after), "once it counts it does not go back: cut " + k);
            changed += left.equals(after) ? 1 : 0;
        }
        assertTrue(changed > 0 && changed < 2 * writes);
    }

    private static void cut(Machine machine, String command) {
        try {
            MemoryTest.send(machine, command);
            throw new AssertionError("the power was not cut");
        } catch (PowerCut expected) {
            machine.reset();
        }
    }

    /** The next command settles what a cut left; cutting that one, too, changes nothing. */
    @Test
    void aSecondCutWhileTheFirstIsSettled() {
        String command = "80E2910014BF3111A00C5A0A" + SECOND + "810100";
        Machine undisturbed = card();
        String before = seen(undisturbed);
        long begin = undisturbed.memory().writes();
        MemoryTest.send(undisturbed, command);
        long writes = undisturbed.memory().writes() - begin;
        String after = seen(undisturbed);
        for (int first = 1; first <= writes; first++) {
            for (int second = 1; second <= 4; second++) {
                Machine machine = card();
                machine.memory().cut(0, first);
                cut(machine, command);
                select(machine);
                machine.memory().cut(second, 0);
                try {
                    ask(machine, LIST);
                } catch (PowerCut again) {
                    machine.reset();
                }
                machine.memory().cut(0, 0);
                String left = seen(machine);
                assertTrue(Set.of(before, after).contains(left), "cuts " + first + " and " + second + ": " + left);
            }
        }
    }

    @Test
    void thereIsAlwaysAnEnabledProfileAfterEnable() {
        for (int k = 1; k < 60; k++) {
            Machine machine = card();
            machine.memory().cut(k, 0);
            try {
                MemoryTest.send(machine, "80E2910014BF3111A00C5A0A" + SECOND + "810100");
            } catch (PowerCut expected) {
                machine.reset();
            }
            machine.memory().cut(0, 0);
            machine.reset();
            select(machine);
            assertEquals(1, ask(machine, LIST).split("9F700101", -1).length - 1);
        }
    }
}
