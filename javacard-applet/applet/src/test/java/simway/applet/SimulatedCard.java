package simway.applet;

import com.licel.jcardsim.base.Simulator;
import com.licel.jcardsim.utils.AIDUtil;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.util.Arrays;
import javacard.framework.Applet;

/**
 * A new card of jCardSim with the applet on it, under both AIDs, selected under its own.
 *
 * <p>One at a time: jCardSim has one card in a Java. It has no logical channels, no 61xx of its own and does not roll back transactions; nothing here tests such things.
 */
final class SimulatedCard {
    static final String SIMWAY = "F053494D57415901";
    static final String ISD_R = "A0000005591010FFFFFFFF8900000100";
    private static final byte[] EMPTY = {0};

    private final Simulator simulator = new Simulator();

    private SimulatedCard(byte[] parameters) {
        Class<? extends Applet> type = freshClass();
        install(type, SIMWAY, parameters);
        install(type, ISD_R, parameters);
        select(SIMWAY);
    }

    /** With made-up contents. */
    static SimulatedCard madeUp() {
        return new SimulatedCard(new byte[0]);
    }

    /** Without contents. */
    static SimulatedCard empty() {
        return new SimulatedCard(EMPTY);
    }

    /** With made-up contents and a transport code. */
    static SimulatedCard withTransportCode(String code) {
        return new SimulatedCard(Vectors.hex("01" + code));
    }

    private void install(Class<? extends Applet> type, String aid, byte[] parameters) {
        byte[] bytes = Vectors.hex(aid);
        ByteArrayOutputStream all = new ByteArrayOutputStream();
        all.write(bytes.length);
        all.writeBytes(bytes);
        all.write(0);
        all.write(parameters.length);
        all.writeBytes(parameters);
        simulator.installApplet(AIDUtil.create(bytes), type, all.toByteArray(), (short) 0, (byte) all.size());
    }

    /** The answer to SELECT. */
    byte[] select(String aid) {
        return transmit("00A40400" + String.format("%02X", aid.length() / 2) + aid + "00");
    }

    void powerCycle() {
        simulator.reset();
    }

    /** One command; data and status word. */
    byte[] transmit(byte[] apdu) {
        return simulator.transmitCommand(apdu);
    }

    byte[] transmit(String apdu) {
        return transmit(Vectors.hex(apdu));
    }

    /** The status word alone. */
    int sw(String apdu) {
        return sw(transmit(apdu));
    }

    static int sw(byte[] answer) {
        return (answer[answer.length - 2] & 0xFF) << 8 | answer[answer.length - 1] & 0xFF;
    }

    static byte[] data(byte[] answer) {
        return Arrays.copyOf(answer, answer.length - 2);
    }

    /** An ES10 request in blocks of a size; the whole answer, fetched part by part, with its last status word. */
    byte[] storeData(byte[] request, int blockBytes) {
        byte[] answer = new byte[0];
        int blocks = Math.max(1, (request.length + blockBytes - 1) / blockBytes);
        for (int block = 0; block < blocks; block++) {
            byte[] part = Arrays.copyOfRange(request, block * blockBytes, Math.min(request.length, (block + 1) * blockBytes));
            boolean last = block == blocks - 1;
            String header = String.format("80E2%s%02X%02X", last ? "91" : "11", block, part.length);
            answer = transmit(header + Vectors.hex(part));
            if (!last && sw(answer) != 0x9000) {
                return answer;
            }
        }
        ByteArrayOutputStream whole = new ByteArrayOutputStream();
        whole.writeBytes(data(answer));
        while (sw(answer) >> 8 == 0x61) {
            answer = transmit(String.format("80C00000%02X", sw(answer) & 0xFF));
            whole.writeBytes(data(answer));
        }
        whole.write(sw(answer) >> 8);
        whole.write(sw(answer) & 0xFF);
        return whole.toByteArray();
    }

    String storeData(String request) {
        return Vectors.hex(storeData(Vectors.hex(request), 255));
    }

    /** The applet's classes anew: two cards share no static variable. */
    private static Class<? extends Applet> freshClass() {
        ClassLoader loader = new ClassLoader(SimulatedCard.class.getClassLoader()) {
            @Override
            protected Class<?> loadClass(String name, boolean resolve) throws ClassNotFoundException {
                if (!name.startsWith("simway.applet.")) {
                    return super.loadClass(name, resolve);
                }
                Class<?> loaded = findLoadedClass(name);
                return loaded != null ? loaded : define(name);
            }

            private Class<?> define(String name) throws ClassNotFoundException {
                try (InputStream in = getParent().getResourceAsStream(name.replace('.', '/') + ".class")) {
                    byte[] code = in.readAllBytes();
                    return defineClass(name, code, 0, code.length);
                } catch (IOException error) {
                    throw new ClassNotFoundException(name, error);
                }
            }
        };
        try {
            return loader.loadClass("simway.applet.SimwayApplet").asSubclass(Applet.class);
        } catch (ClassNotFoundException error) {
            throw new IllegalStateException(error);
        }
    }
}
