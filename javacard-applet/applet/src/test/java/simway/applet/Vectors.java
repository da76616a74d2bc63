package simway.applet;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.List;
import java.util.stream.StreamSupport;

/** The golden vectors of {@code protocol}, read where they lie. */
final class Vectors {
    private Vectors() {
    }

    static JsonObject file(String name) {
        try {
            return JsonParser.parseString(Files.readString(Path.of(System.getProperty("simway.vectors"), name))).getAsJsonObject();
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    static List<JsonObject> cases(String name) {
        return StreamSupport.stream(file(name).getAsJsonArray("cases").spliterator(), false).map(JsonElement::getAsJsonObject).toList();
    }

    /** Bytes that are listed as pieces with what each means. */
    static byte[] pieces(JsonArray pieces) {
        StringBuilder all = new StringBuilder();
        pieces.forEach(piece -> all.append(piece.getAsJsonArray().get(0).getAsString()));
        return hex(all.toString());
    }

    static byte[] hex(String text) {
        return HexFormat.of().parseHex(text);
    }

    static String hex(byte[] data) {
        return HexFormat.of().withUpperCase().formatHex(data);
    }
}
