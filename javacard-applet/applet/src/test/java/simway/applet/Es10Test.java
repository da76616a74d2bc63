package simway.applet;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonObject;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** ES10 on jCardSim: the golden requests and answers, and what each function does. */
class Es10Test {
    private static final String EID = "89999001000123456789012345678925";
    private static final String FIRST = "988812010000000020F5";
    private static final String SECOND = "98881201000000002015";
    private static final String THIRD = "98881201000000003012";
    private static final String STRANGER = "98999999000000002011";
    private static final String AID = "A0000005591010FFFFFFFF89000010";
    private static final String ALL_FIELDS = "BF2D0D5C0B5A4F9F7090919295999F26";

    private SimulatedCard card;

    @BeforeEach
    void aCardWithThreeProfiles() {
        card = SimulatedCard.empty();
        load("BF3E125A10" + EID, 0);
        load(profile(FIRST, "00", "01", "02", ""), 0);
        load(profile(SECOND, "01", "00", "02", "9F2601FF"), 0);
        load(profile(THIRD, "02", "00", "00", ""), 0x80);
        card.select(SimulatedCard.ISD_R);
    }

    private static String profile(String iccid, String number, String state, String profileClass, String more) {
        String fields = "5A0A" + iccid + "4F10" + AID + number + "9F7001" + state + "9103414243" + "92024F50" + "9501" + profileClass + more;
        return String.format("E3%02X", fields.length() / 2) + fields;
    }

    private void load(String object, int p1) {
        assertEquals(0x9000, card.sw(String.format("8060%02X00%02X", p1, object.length() / 2) + object), object);
    }

    private String state(String iccid) {
        return card.storeData("BF2D13A00C5A0A" + iccid + "5C039F7095");
    }

    private static String enable(String iccid) {
        return "BF3111A00C5A0A" + iccid + "810100";
    }

    // --- golden vectors -------------------------------------------------------------------------------------------------------

    static List<JsonObject> goldenRequests() {
        return Vectors.cases("sim_es10.json").stream().filter(Es10Test::isKnownRequest).toList();
    }

    private static boolean isKnownRequest(JsonObject example) {
        String function = example.get("function").getAsString();
        List<String> known = List.of(
            "GetEID", "GetProfilesInfo", "EnableProfile", "DisableProfile", "DeleteProfile", "SetNickname", "ListNotification",
            "RemoveNotificationFromList", "GetEuiccConfiguredAddresses", "GetRAT", "GetEUICCInfo2");
        return function.endsWith(".request") && known.contains(function.substring(0, function.length() - 8));
    }

    @ParameterizedTest
    @MethodSource("goldenRequests")
    void everyGoldenRequestIsUnderstood(JsonObject example) {
        byte[] request = Vectors.pieces(example.getAsJsonArray("bytes"));
        for (int block : new int[] {6, 20, 255}) {
            byte[] answer = card.storeData(request, block);
            assertEquals(0x9000, SimulatedCard.sw(answer));
            assertArrayEquals(Arrays.copyOf(request, 2), Arrays.copyOf(answer, 2), "the answer has the function's tag");
        }
    }

    @ParameterizedTest
    @MethodSource("goldenRequests")
    void aGoldenRequestThatIsCutIsRefused(JsonObject example) {
        byte[] request = Vectors.pieces(example.getAsJsonArray("bytes"));
        for (int length = 0; length < request.length; length++) {
            assertEquals(0x6A80, SimulatedCard.sw(card.storeData(Arrays.copyOf(request, length), 255)), "cut at " + length);
        }
        assertEquals(0x6A80, SimulatedCard.sw(card.storeData(Arrays.copyOf(request, request.length + 1), 255)), "one byte more");
    }

    @Test
    void theGoldenListComesOutAsItWentIn() {
        SimulatedCard golden = SimulatedCard.empty();
        int lists = 0;
        for (JsonObject example : Vectors.cases("sim_es10.json")) {
            boolean list = example.get("function").getAsString().equals("GetProfilesInfo.response");
            if (list && example.get("note").getAsString().startsWith("two profiles")) {
                byte[] answer = Vectors.pieces(example.getAsJsonArray("bytes"));
                for (int at = 5; at < answer.length; at += 2 + answer[at + 1]) {
                    String object = HexFormat.of().formatHex(answer, at, at + 2 + answer[at + 1]);
                    assertEquals(0x9000, golden.sw("80600000" + String.format("%02X", object.length() / 2) + object));
                }
                assertEquals(Vectors.hex(answer) + "9000", golden.storeData("BF2D0B5C095A4F9F709091929599"));
                lists++;
            }
        }
        assertEquals(1, lists);
    }

    @Test
    void theGoldenEid() {
        JsonObject example = Vectors.cases("sim_es10.json").stream()
            .filter(item -> item.get("function").getAsString().equals("GetEID.response")).findFirst().orElseThrow();
        assertEquals(Vectors.hex(Vectors.pieces(example.getAsJsonArray("bytes"))) + "9000", card.storeData("BF3E035C015A"));
    }

    // --- functions ------------------------------------------------------------------------------------------------------------

    @Test
    void enableSwitches() {
        assertEquals("BF31038001009000", card.storeData(enable(SECOND)));
        assertEquals("BF2D0BA009E3079F7001019501029000", state(SECOND));
        assertEquals("BF2D0BA009E3079F7001009501029000", state(FIRST));
        card.powerCycle();
        card.select(SimulatedCard.SIMWAY);
        assertEquals("BF2D0BA009E3079F7001019501029000", state(SECOND), "under either AID");
    }

    @Test
    void refusalsChangeNothing() {
        String before = card.storeData(ALL_FIELDS);
        assertEquals("BF31038001019000", card.storeData(enable(STRANGER)));
        assertEquals("BF31038001029000", card.storeData(enable(FIRST)));
        assertEquals("BF32038001019000", card.storeData("BF3211A00C5A0A" + STRANGER + "810100"));
        assertEquals("BF32038001029000", card.storeData("BF3211A00C5A0A" + SECOND + "810100"));
        assertEquals("BF33038001019000", card.storeData("BF330C5A0A" + STRANGER));
        assertEquals("BF33038001029000", card.storeData("BF330C5A0A" + FIRST));
        assertEquals("BF29038001019000", card.storeData("BF29105A0A" + STRANGER + "90024142"));
        assertEquals("BF30038001019000", card.storeData("BF3003800101"));
        assertEquals("BF3003800101", card.storeData("BF300580037FFFFF").substring(0, 12), "a number that no card counts to");
        assertEquals(before, card.storeData(ALL_FIELDS));
        assertEquals("BF2802A0009000", card.storeData("BF2800"));
    }

    @Test
    void everyFlagAndBothNames() {
        assertEquals("BF31038001009000", card.storeData("BF3117A0124F10" + AID + "01" + "8101FF"));
        assertEquals("BF31038001009000", card.storeData("BF3111A00C5A0A" + THIRD + "810101"));
        assertEquals("BF32038001009000", card.storeData("BF3217A0124F10" + AID + "02" + "810100"));
        assertEquals("BF31038001009000", card.storeData("BF3117810100A0124F10" + AID + "00"), "in any order");
    }

    @Test
    void policyRules() {
        SimulatedCard guarded = SimulatedCard.empty();
        String kept = profile(FIRST, "00", "01", "02", "99020560");
        String other = profile(SECOND, "01", "00", "02", "99020520");
        assertEquals(0x9000, guarded.sw(String.format("80600000%02X", kept.length() / 2) + kept));
        assertEquals(0x9000, guarded.sw(String.format("80608000%02X", other.length() / 2) + other));
        assertEquals("BF31038001039000", guarded.storeData(enable(SECOND)));
        assertEquals("BF32038001039000", guarded.storeData("BF3211A00C5A0A" + FIRST + "810100"));
        assertEquals("BF33038001039000", guarded.storeData("BF330C5A0A" + SECOND));
    }

    @Test
    void fromATestProfileOnlyTheWayBack() {
        assertEquals("BF31038001009000", card.storeData(enable(SECOND)));
        assertEquals("BF31038001009000", card.storeData(enable(THIRD)));
        assertEquals("BF31038001049000", card.storeData(enable(FIRST)));
        assertEquals("BF31038001009000", card.storeData(enable(SECOND)));
        assertEquals("BF31038001009000", card.storeData(enable(FIRST)));
        assertEquals("BF31038001009000", card.storeData(enable(THIRD)));
        assertEquals("BF33038001009000", card.storeData("BF330C5A0A" + FIRST));
        assertEquals("BF31038001009000", card.storeData(enable(SECOND)), "the way back is gone, so any will do");
    }

    @Test
    void searchesAndTagLists() {
        assertEquals("BF2D1EA01CE30C5A0A" + FIRST + "E30C5A0A" + SECOND + "9000", card.storeData("BF2D08A0039501025C015A"));
        assertEquals("BF2D10A00EE30C5A0A" + THIRD + "9000", card.storeData("BF2D08A0039501005C015A"));
        assertEquals("BF2D02A0009000", card.storeData("BF2D05A003950101"));
        assertEquals("BF2D08A006E3049F2601FF9000", card.storeData("BF2D12A00C5A0A" + SECOND + "5C029F26"));
        assertEquals("BF2D04A002E3009000", card.storeData("BF2D13A00C5A0A" + SECOND + "5C03DF8101"), "a tag that it has not");
        assertEquals(0x6A80, SimulatedCard.sw(card.storeData(Vectors.hex("BF2D05A003950103"), 255)), "no such class");
    }

    @Test
    void nicknamesComeAndGo() {
        assertEquals("BF29038001009000", card.storeData("BF29125A0A" + SECOND + "90045AC3BC72"));
        assertEquals("BF2D0AA008E30690045AC3BC729000", card.storeData("BF2D11A00C5A0A" + SECOND + "5C0190"));
        assertEquals("BF29038001009000", card.storeData("BF290E5A0A" + SECOND + "9000"));
        assertEquals("BF2D04A002E3009000", card.storeData("BF2D11A00C5A0A" + SECOND + "5C0190"));
        assertEquals("BF29038001009000", card.storeData("BF294E5A0A" + SECOND + "9040" + "41".repeat(64)));
        assertEquals("6A80", card.storeData("BF294F5A0A" + SECOND + "9041" + "41".repeat(65)));
    }

    @Test
    void notificationsUntilTheyAreTakenAway() {
        card.storeData(enable(SECOND));
        card.storeData("BF330C5A0A" + FIRST);
        String smdp = "0C13" + "736D64702E73696D7761792E696E76616C6964" + "5A0A";
        String disabled = "BF2F28800101" + "81020520" + smdp + FIRST;
        String enabled = "BF2F28800102" + "81020640" + smdp + SECOND;
        String deleted = "BF2F28800103" + "81020410" + smdp + FIRST;
        assertEquals("BF288184A08181" + disabled + enabled + deleted + "9000", card.storeData("BF2800"));
        assertEquals("BF282DA02B" + enabled + "9000", card.storeData("BF280481020640"));
        assertEquals("BF30038001009000", card.storeData("BF3003800101"));
        assertEquals("BF30038001009000", card.storeData("BF3003800103"));
        assertEquals("BF282DA02B" + enabled + "9000", card.storeData("BF2800"));
    }

    @Test
    void theOldestNotificationGoesWhenThereIsNoRoom() {
        for (int round = 0; round < 150; round++) {
            assertEquals("BF31038001009000", card.storeData(enable(round % 2 == 0 ? SECOND : FIRST)));
        }
        String list = card.storeData("BF2800");
        assertTrue(list.contains("8002012C"), "the last one, 300, is there");
        assertEquals(16, list.split("BF2F", -1).length - 1);
        assertEquals("BF30038001009000", card.storeData("BF30048002012C"));
    }

    @Test
    void aListThatTakesSeveralAnswers() {
        String text = "41".repeat(60);
        SimulatedCard full = SimulatedCard.empty();
        for (int number = 0; number < 8; number++) {
            String fields = "5A0A98881201000000" + String.format("%02d", number) + "00F0" + "9120" + "42".repeat(32) + "923C" + text;
            assertEquals(0x9000, full.sw(String.format("80600000%02X", fields.length() / 2 + 2) + "E3" + String.format("%02X", fields.length() / 2) + fields));
        }
        assertEquals(0x6A84, full.sw("8060000011E30F5A0A988812010000009900F0950102"), "no room for a ninth");
        String list = full.storeData("BF2D00");
        assertEquals(8, list.split(text, -1).length - 1);
        assertTrue(list.startsWith("BF2D8203") && list.endsWith("9000"));
        byte[] first = full.transmit("80E2910003BF2D00");
        assertEquals(0x6100, SimulatedCard.sw(first), "256 bytes at a time");
        assertEquals(258, first.length);
    }

    @Test
    void anAnswerIsGoneWhenTheCardHasChangedOrSomethingElseCame() {
        assertEquals(0x6985, card.sw("80C0000010"));
        assertEquals(0x9000, SimulatedCard.sw(card.transmit("80E2910006BF3E035C015A")));
        assertEquals(0x6985, card.sw("80C0000010"), "nothing is left of an answer that came whole");
    }

    @ParameterizedTest
    @ValueSource(strings = {"BF7F00", "BF3600", "BF2100", "E300", "5A00"})
    void functionsThatTheCardHasNot(String request) {
        assertEquals("6A88", card.storeData(request));
    }

    @Test
    void aRequestThatIsTooLongIsRefusedAndForgotten() {
        byte[] request = new byte[300];
        assertEquals(0x6A80, SimulatedCard.sw(card.storeData(request, 100)));
        assertEquals(0x6A86, card.sw("80E2910306BF3E035C015A"));
        assertEquals("BF3E125A10" + EID + "9000", card.storeData("BF3E035C015A"));
    }

    // --- contents ---------------------------------------------------------------------------------------------------------------

    @Test
    void contentsAreSealed() {
        String one = profile(STRANGER, "07", "00", "02", "");
        assertEquals(0x6985, card.sw(String.format("80600000%02X", one.length() / 2) + one), "after the last one");
        SimulatedCard keyed = SimulatedCard.empty();
        assertEquals(0x9000, keyed.sw("8030000024" + "22".repeat(32) + "00000001"));
        assertEquals(0x6985, keyed.sw(String.format("80600000%02X", one.length() / 2) + one), "with a key");
        assertEquals(0x6985, SimulatedCard.madeUp().sw(String.format("80600000%02X", one.length() / 2) + one), "made up");
    }

    @Test
    void theSameIccidTwiceIsRefused() {
        SimulatedCard twice = SimulatedCard.empty();
        String one = profile(FIRST, "00", "00", "02", "");
        assertEquals(0x9000, twice.sw(String.format("80600000%02X", one.length() / 2) + one));
        assertEquals(0x6A80, twice.sw(String.format("80600000%02X", one.length() / 2) + one));
    }

    @Test
    void madeUpNumbersHaveTheirCheckDigits() {
        SimulatedCard one = SimulatedCard.madeUp();
        String eid = one.storeData("BF3E035C015A").substring(10, 42);
        assertTrue(eid.startsWith("8999900100"));
        assertEquals(1, new java.math.BigInteger(eid).mod(java.math.BigInteger.valueOf(97)).intValue());
        String list = one.storeData("BF2D055C035A9F70");
        assertEquals(3, list.split("5A0A", -1).length - 1);
        assertEquals(1, list.split("9F700101", -1).length - 1, "one is enabled");
        for (String rest : Arrays.copyOfRange(list.split("5A0A"), 1, 4)) {
            assertTrue(hasLuhnDigit(digits(rest.substring(0, 20))), rest);
        }
    }

    private static String digits(String swapped) {
        StringBuilder digits = new StringBuilder();
        for (int at = 0; at < swapped.length(); at += 2) {
            digits.append(swapped.charAt(at + 1)).append(swapped.charAt(at));
        }
        return digits.toString().replace("F", "");
    }

    private static boolean hasLuhnDigit(String digits) {
        int sum = 0;
        for (int place = 0; place < digits.length(); place++) {
            int value = (digits.charAt(digits.length() - 1 - place) - '0') * (place % 2 == 0 ? 1 : 2);
            sum += value > 9 ? value - 9 : value;
        }
        return sum % 10 == 0;
    }

    @Test
    void whatItIsAndWhatItIsNot() {
        assertTrue(Vectors.hex(card.select(SimulatedCard.SIMWAY)).contains("84" + "08" + SimulatedCard.SIMWAY));
        assertTrue(card.storeData("BF2200").startsWith("BF22"));
        assertEquals("BF3C178115" + "6C70612E64732E73696D7761792E696E76616C6964" + "9000", card.storeData("BF3C00"));
        assertEquals("BF4302A0009000", card.storeData("BF4300"));
        assertEquals(0x6E00, card.sw("00E2910006BF3E035C015A"), "class 00");
        assertEquals(0x6882, card.sw("84E2910006BF3E035C015A"), "secure messaging");
    }
}
