package simway.applet;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The device key: answers and MACs by the golden vectors, one personalisation, the lock after it. */
class KeyTest {
    private static final String KEY = "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F";
    private static final String STATUS = "8040000005";
    private static final String PERSONALISE = "8030000024" + KEY + "00000007";

    @Test
    void theGoldenDialogue() {
        SimulatedCard card = SimulatedCard.empty();
        for (JsonObject step : Vectors.cases("sim_applet.json")) {
            byte[] command = Vectors.pieces(step.getAsJsonArray("bytes"));
            command[0] = (byte) 0x80;
            byte[] answer = card.transmit(command);
            String note = step.get("note").getAsString();
            assertEquals(step.get("sw").getAsString(), String.format("%04X", SimulatedCard.sw(answer)), note);
            assertArrayEquals(Vectors.pieces(step.getAsJsonArray("answer")), SimulatedCard.data(answer), note);
        }
    }

    static List<JsonObject> commands() {
        return Vectors.cases("udp_commands.json");
    }

    @ParameterizedTest
    @MethodSource("commands")
    void theMacOfEveryGoldenCommand(JsonObject command) {
        SimulatedCard card = SimulatedCard.empty();
        String key = Vectors.file("udp_commands.json").get("device_key").getAsString();
        assertEquals(0x9000, card.sw("8030000024" + key + "00000001"));
        String body = command.get("body").getAsString();
        String mac = command.get("mac").getAsString();
        for (int block : new int[] {1, 6, 31, 32, 33, 64, 255}) {
            assertEquals(0x9000, verify(card, mac + body, block), "blocks of " + block);
            assertEquals(0x6982, verify(card, mac + body + "00", block), "blocks of " + block);
        }
    }

    private static int verify(SimulatedCard card, String whole, int blockBytes) {
        int blocks = (whole.length() / 2 + blockBytes - 1) / blockBytes;
        int sw = 0x9000;
        for (int block = 0; block < blocks && sw == 0x9000; block++) {
            String part = whole.substring(block * blockBytes * 2, Math.min(whole.length(), (block + 1) * blockBytes * 2));
            sw = card.sw(String.format("8020%s%02X%02X", block == blocks - 1 ? "91" : "11", block, part.length() / 2) + part);
        }
        return sw;
    }

    @Test
    void theAnswerOfEveryGoldenAttach() {
        JsonObject attach = Vectors.file("udp_keys.json");
        int answers = 0;
        for (JsonElement element : attach.getAsJsonArray("cases")) {
            JsonObject example = element.getAsJsonObject();
            SimulatedCard card = SimulatedCard.empty();
            assertEquals(0x9000, card.sw("8030000024" + example.get("device_key").getAsString() + "00000001"));
            byte[] answer = card.transmit("8010000020" + example.get("challenge").getAsString());
            String expected = example.get("response").getAsString() + example.get("session_key").getAsString();
            assertEquals(expected.toUpperCase(), Vectors.hex(SimulatedCard.data(answer)));
            answers++;
        }
        assertTrue(answers > 0);
    }

    @Test
    void aBlankCardHoldsNothing() {
        SimulatedCard card = SimulatedCard.empty();
        assertEquals("00000000009000", Vectors.hex(card.transmit(STATUS)));
        assertEquals(0x6985, card.sw("8010000020" + KEY));
        assertEquals(0x6985, card.sw("80209100" + "21" + KEY + "A0"));
        assertEquals(0x6A80, card.sw("8030000024" + KEY + "00000000"), "version 0");
        assertEquals(0x6A80, card.sw("8030000023" + KEY + "000000"), "too short");
        assertEquals(0x6A80, card.sw("8030000025" + KEY + "0000000100"), "a transport code that nobody asked for");
        assertEquals("00000000009000", Vectors.hex(card.transmit(STATUS)));
    }

    @Test
    void oneKeyForEver() {
        SimulatedCard card = SimulatedCard.empty();
        assertEquals(0x9000, card.sw(PERSONALISE));
        byte[] answer = card.transmit("8010000020" + KEY);
        for (int attempt = 0; attempt < 20; attempt++) {
            assertEquals(0x6985, card.sw("8030000024" + "11".repeat(32) + "00000008"));
        }
        card.powerCycle();
        card.select(SimulatedCard.ISD_R);
        assertEquals("01000000079000", Vectors.hex(card.transmit(STATUS)), "both AIDs are one card");
        assertArrayEquals(answer, card.transmit("8010000020" + KEY));
    }

    @Test
    void challengesAndForgedCommandsUseUpNothing() {
        SimulatedCard card = SimulatedCard.empty();
        assertEquals(0x9000, card.sw(PERSONALISE));
        for (int attempt = 0; attempt < 300; attempt++) {
            assertEquals(0x6982, card.sw("80209100" + "21" + KEY + "A0"));
        }
        assertEquals(0x9000, SimulatedCard.sw(card.transmit("8010000020" + KEY)));
    }

    @Test
    void theTransportCodeIsAskedForAndLocks() {
        String code = "3132333435363738";
        SimulatedCard card = SimulatedCard.withTransportCode(code);
        String right = "803000002C" + KEY + "00000001" + code;
        String wrong = "803000002C" + KEY + "00000001" + "0000000000000000";
        assertEquals(0x6A80, card.sw("8030000024" + KEY + "00000001"), "no code, no try");
        assertEquals(0x63C4, card.sw(wrong));
        assertEquals(0x63C3, card.sw(wrong));
        card.powerCycle();
        card.select(SimulatedCard.SIMWAY);
        assertEquals(0x63C2, card.sw(wrong), "tries survive the power");
        assertEquals(0x63C1, card.sw(wrong));
        assertEquals(0x63C0, card.sw(wrong));
        assertEquals(0x6983, card.sw(right), "the last try is gone");
        assertEquals("00000000009000", Vectors.hex(card.transmit(STATUS)));
        SimulatedCard other = SimulatedCard.withTransportCode(code);
        assertEquals(0x63C4, other.sw(wrong));
        assertEquals(0x9000, other.sw(right));
    }

    @ParameterizedTest
    @ValueSource(strings = {"80200000", "80209000", "80209101", "80201101"})
    void blocksOutOfOrderAreRefused(String header) {
        SimulatedCard card = SimulatedCard.empty();
        assertEquals(0x9000, card.sw(PERSONALISE));
        assertEquals(0x6A86, card.sw(header + "21" + KEY + "A0"));
    }

    @Test
    void aMacWithoutABodyIsNoCommand() {
        SimulatedCard card = SimulatedCard.empty();
        assertEquals(0x9000, card.sw(PERSONALISE));
        assertEquals(0x6A80, card.sw("80209100" + "20" + KEY));
    }

    @Test
    void noCommandGivesTheKey() {
        SimulatedCard card = SimulatedCard.madeUp();
        assertEquals(0x9000, card.sw(PERSONALISE));
        for (int instruction = 0; instruction < 256; instruction++) {
            for (String rest : new String[] {"000000", "910000", "000005", "91000100"}) {
                String command = String.format("80%02X", instruction) + rest;
                assertFalse(Vectors.hex(card.transmit(command)).contains(KEY.substring(0, 16)), command);
            }
        }
    }
}
