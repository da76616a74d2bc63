package simway.runtime;

import java.lang.reflect.InvocationTargetException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import javacard.framework.AID;
import javacard.framework.APDU;
import javacard.framework.Applet;
import javacard.framework.CardRuntimeException;
import javacard.framework.JCSystem;
import javacard.framework.MultiSelectable;

/**
 * A card with one applet class on it, installed under one AID or several: what a Java Card Runtime Environment does for it.
 *
 * <p>Logical channels 0 to 3, SELECT by AID, MANAGE CHANNEL, and T=0 as in {@link Delivery}. Not thread-safe; one machine at a time runs in
 * a thread, and its applet's classes are its own.
 */
public final class Machine {
    /** Answer to reset of a card that offers T=0, as LPAs and SIM tools like it. */
    static final byte[] ATR = HexFormat.of().parseHex("3B9F96801FC78031E073FE211356434152442D3031D1");
    static final int CHANNELS = 4;
    private static final int SELECT = 0xA4;
    private static final int MANAGE_CHANNEL = 0x70;
    private static final int BY_AID = 0x04;
    private static final int UNKNOWN_ERROR = 0x6F00;

    private static final ThreadLocal<Machine> CURRENT = new ThreadLocal<>();

    private final Loader loader;
    private final Class<?> appletClass;
    private final Memory memory = new Memory(this);
    private final Map<String, Applet> applets = new LinkedHashMap<>();
    private final Map<Applet, AID> aids = new LinkedHashMap<>();
    private final byte[] buffer = Exchange.newBuffer();
    private final Delivery[] deliveries = new Delivery[CHANNELS];
    private final Applet[] selected = new Applet[CHANNELS];
    private Exchange exchange;
    private boolean selecting;

    /** A new card: installs the applet under each AID, with the same parameters. */
    public Machine(String appletClass, List<byte[]> instances, byte[] parameters) {
        CURRENT.set(this);
        loader = new Loader(appletClass);
        memory.addTransient(buffer, JCSystem.CLEAR_ON_RESET);
        try {
            this.appletClass = loader.loadClass(appletClass);
            for (byte[] aid : instances) {
                install(aid, parameters);
            }
        } catch (ReflectiveOperationException error) {
            throw new IllegalArgumentException("no applet to install: " + appletClass, error);
        }
        reset();
    }

    private void install(byte[] aid, byte[] parameters) throws ReflectiveOperationException {
        byte[] all = new byte[aid.length + parameters.length + 3];
        all[0] = (byte) aid.length;
        System.arraycopy(aid, 0, all, 1, aid.length);
        all[aid.length + 2] = (byte) parameters.length;
        System.arraycopy(parameters, 0, all, aid.length + 3, parameters.length);
        try {
            appletClass.getMethod("install", byte[].class, short.class, byte.class).invoke(null, all, (short) 0, (byte) all.length);
        } catch (InvocationTargetException error) {
            throw new IllegalArgumentException("the applet refused its installation", error.getCause());
        }
    }

    // --- what the API asks for --------------------------------------------------------------------------------------------------------

    /** The machine whose applet runs in this thread. */
    public static Machine current() {
        return CURRENT.get();
    }

    public Memory memory() {
        return memory;
    }

    /** The command under way. */
    public Exchange exchange() {
        return exchange;
    }

    public boolean isSelecting() {
        return selecting;
    }

    public AID selectedAid() {
        return aids.get(selected[exchange.channel()]);
    }

    /** An instance of the applet announces itself. */
    public void register(Applet applet, AID aid) {
        byte[] bytes = new byte[16];
        byte length = aid.getBytes(bytes, (short) 0);
        applets.put(HexFormat.of().formatHex(bytes, 0, length), applet);
        aids.put(applet, aid);
    }

    // --- the persistent memory --------------------------------------------------------------------------------------------------------

    Image image() {
        return Image.of(loader, memory, roots(), appletClass);
    }

    /** Puts an image back; {@code IllegalArgumentException} where it is not one of this applet. */
    void restore(Image image) {
        image.into(loader, memory, roots(), appletClass);
    }

    private List<Applet> roots() {
        return new ArrayList<>(applets.values());
    }

    // --- the card as a reader sees it ---------------------------------------------------------------------------------------------------

    /** Power off and on; the ATR. */
    public byte[] reset() {
        CURRENT.set(this);
        memory.reset();
        Arrays.fill(selected, null);
        Arrays.fill(deliveries, null);
        deliveries[0] = new Delivery();
        return ATR.clone();
    }

    /** One command; its answer with the status word. {@link PowerCut} where a cut was asked for: then only {@code reset} is left. */
    public byte[] transmit(byte[] apdu) {
        CURRENT.set(this);
        Command command = Command.parse(apdu);
        if (command == null) {
            return Delivery.answer(0x6700);
        }
        if (!command.hasClass()) {
            return Delivery.answer(0x6E00);
        }
        if (command.channel() >= CHANNELS || deliveries[command.channel()] == null) {
            return Delivery.answer(0x6881);
        }
        Delivery delivery = deliveries[command.channel()];
        byte[] waiting = delivery.fetch(command);
        return waiting != null ? waiting : process(command, delivery);
    }

    private byte[] process(Command command, Delivery delivery) {
        exchange = new Exchange(command, buffer);
        int sw;
        if (command.isInterindustry() && command.ins() == MANAGE_CHANNEL) {
            return manageChannel(command, delivery);
        }
        if (command.isInterindustry() && command.ins() == SELECT && command.p1() == BY_AID) {
            sw = select(command);
        } else {
            Applet applet = selected[command.channel()];
            boolean file = command.isInterindustry() && command.ins() == SELECT;
            sw = applet == null ? file ? 0x6A82 : 0x6D00 : run(applet);
        }
        return delivery.deliver(command, exchange.outgoing(), sw);
    }

    private int run(Applet applet) {
        try {
            applet.process(new APDU(exchange));
            return 0x9000;
        } catch (CardRuntimeException end) {
            return end.getReason() & 0xFFFF;
        } catch (RuntimeException error) {
            System.err.println("the applet failed: " + error);
            return UNKNOWN_ERROR;
        } finally {
            if (memory.inTransaction()) {
                memory.abortTransaction();
            }
        }
    }

    private int select(Command command) {
        Applet applet = applets.get(HexFormat.of().formatHex(command.data()));
        if (applet == null) {
            return 0x6A82;
        }
        int channel = command.channel();
        boolean elsewhereToo = isSelectedBeside(applet, channel);
        deselect(channel);
        boolean willing = applet instanceof MultiSelectable many && elsewhereToo ? many.select(true) : applet.select();
        if (!willing) {
            return 0x6999;
        }
        selected[channel] = applet;
        selecting = true;
        try {
            return run(applet);
        } finally {
            selecting = false;
        }
    }

    private boolean isSelectedBeside(Applet applet, int channel) {
        for (int other = 0; other < CHANNELS; other++) {
            if (other != channel && selected[other] == applet) {
                return true;
            }
        }
        return false;
    }

    private void deselect(int channel) {
        Applet applet = selected[channel];
        selected[channel] = null;
        if (applet == null) {
            return;
        }
        if (applet instanceof MultiSelectable many && isSelectedBeside(applet, channel)) {
            many.deselect(true);
        } else {
            applet.deselect();
        }
        if (Arrays.stream(selected).allMatch(left -> left == null)) {
            memory.clearOnDeselect();
        }
    }

    /** MANAGE CHANNEL (ETSI TS 102 221, 11.1.17). */
    private byte[] manageChannel(Command command, Delivery delivery) {
        if (command.p1() == 0x80) {
            int channel = command.p2() != 0 ? command.p2() : command.channel();
            if (channel == 0 || channel >= CHANNELS || deliveries[channel] == null) {
                return Delivery.answer(0x6881);
            }
            deselect(channel);
            deliveries[channel] = null;
            return Delivery.answer(0x9000);
        }
        if (command.p1() != 0) {
            return Delivery.answer(0x6A86);
        }
        if (command.p2() == 0 && command.expected() != 1) {
            return Delivery.answer(0x6C01);
        }
        int channel = command.p2() != 0 ? command.p2() : freeChannel();
        if (channel >= CHANNELS || deliveries[channel] != null) {
            return Delivery.answer(0x6A81);
        }
        deliveries[channel] = new Delivery();
        byte[] number = command.p2() != 0 ? new byte[0] : new byte[] {(byte) channel};
        return delivery.deliver(command, number, 0x9000);
    }

    private int freeChannel() {
        int channel = 1;
        while (channel < CHANNELS && deliveries[channel] != null) {
            channel++;
        }
        return channel;
    }
}
