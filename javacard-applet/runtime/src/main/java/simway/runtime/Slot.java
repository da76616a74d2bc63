package simway.runtime;

import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.StandardSocketOptions;
import java.nio.ByteBuffer;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.SocketChannel;
import java.util.concurrent.locks.LockSupport;
import jdk.net.ExtendedSocketOptions;

/**
 * A reader of pcscd, through vpcd (vsmartcard): the card connects to it by TCP and stays, but while it is pulled.
 *
 * <p>A message is a 2-byte big-endian length and a body. One-byte bodies from the reader are 00 power off, 01 power on, 02 reset (no
 * answer to these) and 04 (answer: the ATR); any other body is a command, and exactly one answer goes back. TCP_QUICKACK is set anew
 * before every read: vpcd sends length and body in two segments, and without it its second one would wait 40 ms for our delayed
 * acknowledgement of the first, each time.
 */
final class Slot implements Runnable {
    private static final int POWER_OFF = 0x00;
    private static final int POWER_ON = 0x01;
    private static final int RESET = 0x02;
    private static final int ATR = 0x04;
    private static final long RETRY_NS = 50_000_000;

    private final InetSocketAddress reader;
    private final boolean talks;
    private Card card;
    private SocketChannel connection;
    private boolean pulled;
    private boolean powered;
    private boolean toldTrouble;

    /** {@code talks}: says on standard error when the card goes in and out. */
    Slot(InetSocketAddress reader, boolean talks) {
        this.reader = reader;
        this.talks = talks;
    }

    /** Makes the card in the reader another one; null: one that is gone as soon as it is spoken to. */
    synchronized void become(Card card) {
        this.card = card;
        powered = false;
    }

    /** Takes the card out of the reader. */
    synchronized void pull() throws IOException {
        pulled = true;
        if (connection != null) {
            connection.close();
        }
    }

    /** Puts it in again; blocks until it is in. */
    synchronized void putBack() throws InterruptedException {
        pulled = false;
        notifyAll();
        awaitInside();
    }

    /** Blocks until the card is in the reader. */
    synchronized void awaitInside() throws InterruptedException {
        while (connection == null) {
            wait();
        }
    }

    /** Serves the reader for ever. */
    @Override
    public void run() {
        while (true) {
            try {
                awaitPutBack();
                serve();
            } catch (ClosedChannelException error) {
                say("the card was pulled");
            } catch (IOException error) {
                tell(error);
                LockSupport.parkNanos(RETRY_NS);
            } catch (PowerCut cut) {
                say("the card has lost its power");
            } catch (InterruptedException error) {
                return;
            }
        }
    }

    private synchronized void awaitPutBack() throws InterruptedException {
        while (pulled) {
            wait();
        }
    }

    private void tell(IOException trouble) {
        if (!toldTrouble) {
            say("no reader at " + where() + " (" + trouble.getMessage() + "): is pcscd running, with vpcd? Trying on.");
        }
        toldTrouble = true;
    }

    private String where() {
        return reader.getHostString() + ":" + reader.getPort();
    }

    private void say(String text) {
        if (talks) {
            System.err.println(text);
        }
    }

    private void serve() throws IOException {
        try (SocketChannel channel = SocketChannel.open(reader)) {
            channel.setOption(StandardSocketOptions.TCP_NODELAY, true);
            hold(channel);
            say("the card is in the reader at " + where());
            toldTrouble = false;
            ByteBuffer in = ByteBuffer.allocate(2 + 0xFFFF).flip();
            while (await(channel, in, 2)) {
                int length = in.getShort() & 0xFFFF;
                if (!await(channel, in, length)) {
                    return;
                }
                byte[] message = new byte[length];
                in.get(message);
                answer(channel, handle(message));
            }
        } finally {
            hold(null);
        }
    }

    private synchronized void hold(SocketChannel channel) throws IOException {
        connection = channel;
        notifyAll();
        powered = false;
        if (channel != null && pulled) {
            channel.close();
        }
    }

    /** Reads until so many bytes are there; false when the reader let go of the card. */
    private static boolean await(SocketChannel channel, ByteBuffer in, int length) throws IOException {
        while (in.remaining() < length) {
            in.compact();
            channel.setOption(ExtendedSocketOptions.TCP_QUICKACK, true);
            int count = channel.read(in);
            in.flip();
            if (count < 0) {
                return false;
            }
        }
        return true;
    }

    private static void answer(SocketChannel channel, byte[] body) throws IOException {
        if (body == null) {
            return;
        }
        ByteBuffer out = ByteBuffer.allocate(2 + body.length).putShort((short) body.length).put(body).flip();
        while (out.hasRemaining()) {
            channel.write(out);
        }
    }

    /** The answer to one message; null where none is due. {@link PowerCut} where the card is gone: its connection ends. */
    private synchronized byte[] handle(byte[] message) throws IOException {
        int order = message.length == 1 ? message[0] : -1;
        switch (order) {
            case ATR:
                return Machine.ATR;
            case POWER_OFF:
                powered = false;
                return null;
            case POWER_ON, RESET:
                powered = card != null;
                if (powered) {
                    card.reset();
                }
                return null;
            default:
                if (!powered) { // a card without power is mute: the reader is to find it gone
                    throw new PowerCut();
                }
                return card.transmit(message);
        }
    }
}
