package simway.runtime;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;

/** {@code java -jar simway-card.jar}: the Simway applet as a card in a reader of pcscd. */
public final class Main {
    private static final String USAGE = """
        usage: java -jar simway-card.jar [--vpcd HOST:PORT] [--state-file PATH] [--contents PATH] [--transport-code HEX]
                                         [--orders]

          --vpcd HOST:PORT    the vpcd reader to sit in (default 127.0.0.1:35963; the second reader is one port higher)
          --state-file PATH   where the card's memory lies; a new card when there is none (default var/javacard/card.bin)
          --contents PATH     EID and profiles of a new card: a BF3E or E3 object a line, in hexadecimal (default: made up)
          --transport-code HEX  what PERSONALISE of a new card asks for (default: nothing)
          --orders            no card at first; takes orders on standard input, one a line, fields with tabs between:
                                insert STATE_FILE CONTENTS BEFORE AFTER CODE   becomes that card, with this transport
                                                                               code; power goes at those writes
                                none | pull | put back                         gone; out of the reader; in again
        """;
    private static final int USAGE_ERROR = 2;

    private Main() {
    }

    public static void main(String[] arguments) throws IOException {
        try {
            run(List.of(arguments));
        } catch (IllegalArgumentException error) {
            System.err.println(error.getMessage());
            System.exit(USAGE_ERROR);
        }
    }

    private static void run(List<String> arguments) throws IOException {
        String reader = "127.0.0.1:35963";
        Path state = Path.of("var/javacard/card.bin");
        List<byte[]> contents = List.of();
        byte[] code = new byte[0];
        boolean orders = false;
        for (int at = 0; at < arguments.size(); at++) {
            switch (arguments.get(at)) {
                case "--vpcd" -> reader = value(arguments, ++at);
                case "--state-file" -> state = Path.of(value(arguments, ++at));
                case "--contents" -> contents = contents(value(arguments, ++at));
                case "--transport-code" -> code = HexFormat.of().parseHex(value(arguments, ++at));
                case "--orders" -> orders = true;
                default -> throw new IllegalArgumentException(USAGE);
            }
        }
        Slot slot = new Slot(address(reader), !orders);
        if (orders) {
            Thread thread = new Thread(slot, "reader");
            thread.setDaemon(true);
            thread.start();
            takeOrders(slot);
        } else {
            if (state.getParent() != null) {
                Files.createDirectories(state.getParent());
            }
            slot.become(Card.open(new StateFile(state), contents, code));
            slot.run();
        }
    }

    private static String value(List<String> arguments, int at) {
        if (at >= arguments.size()) {
            throw new IllegalArgumentException(USAGE);
        }
        return arguments.get(at);
    }

    private static InetSocketAddress address(String text) {
        int colon = text.lastIndexOf(':');
        if (colon < 1 || !text.substring(colon + 1).matches("\\d{1,5}")) {
            throw new IllegalArgumentException("--vpcd takes HOST:PORT, not " + text);
        }
        return new InetSocketAddress(text.substring(0, colon), Integer.parseInt(text.substring(colon + 1)));
    }

    private static List<byte[]> contents(String path) throws IOException {
        List<byte[]> objects = new ArrayList<>();
        for (String line : Files.readAllLines(Path.of(path))) {
            if (!line.isBlank()) {
                objects.add(HexFormat.of().parseHex(line.strip()));
            }
        }
        return objects;
    }

    /** Until standard input ends: whoever gives orders and dies takes the card along. */
    private static void takeOrders(Slot slot) throws IOException {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String order = in.readLine(); order != null; order = in.readLine()) {
            try {
                carryOut(order.split("\t"), slot);
                System.out.println("done");
            } catch (InterruptedException error) {
                return;
            } catch (IOException | IllegalArgumentException error) {
                System.out.println("error: " + error.getMessage());
            }
        }
    }

    private static void carryOut(String[] order, Slot slot) throws IOException, InterruptedException {
        switch (order[0]) {
            case "insert" -> {
                slot.become(null);
                byte[] code = HexFormat.of().parseHex(order.length > 5 ? order[5] : "");
                Card card = Card.open(new StateFile(Path.of(order[1])), contents(order[2]), code);
                card.cut(Long.parseLong(order[3]), Long.parseLong(order[4]));
                slot.become(card);
                slot.awaitInside();
            }
            case "none" -> slot.become(null);
            case "pull" -> slot.pull();
            case "put back" -> slot.putBack();
            default -> throw new IllegalArgumentException("no such order: " + order[0]);
        }
    }
}
