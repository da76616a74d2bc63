package simway.runtime;

import java.io.ByteArrayOutputStream;
import java.lang.reflect.Array;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.Deque;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Set;
import java.util.function.BiConsumer;

/**
 * What an applet's persistent memory holds, as plain bytes.
 *
 * <p>An applet makes all its objects at install, so their graph is the same on every card of the same applet: an image is the values of
 * all numbers in it, in the order of a walk over it, with a hash of the graph's shape so that no other applet's image is taken for it.
 */
record Image(byte[] shape, byte[] values) {
    /** Walks over the graph and notes all values. */
    static Image of(Loader loader, Memory memory, List<?> roots, Class<?> applet) {
        ByteArrayOutputStream values = new ByteArrayOutputStream();
        StringBuilder shape = new StringBuilder();
        new Walk(loader, memory, shape, (owner, slot) -> {
            short value = slot.read(owner);
            values.write(value >> 8);
            values.write(value);
        }).over(roots, applet);
        return new Image(sha256(shape), values.toByteArray());
    }

    /** Puts the values into a graph of the same shape; {@code IllegalArgumentException} where it is not. */
    void into(Loader loader, Memory memory, List<?> roots, Class<?> applet) {
        if (!Arrays.equals(shape, of(loader, memory, roots, applet).shape)) {
            throw new IllegalArgumentException("it is the memory of another applet, or of another version of it");
        }
        ByteBuffer rest = ByteBuffer.wrap(values);
        new Walk(loader, memory, new StringBuilder(), (owner, slot) -> slot.write(owner, rest.getShort())).over(roots, applet);
    }

    private static byte[] sha256(CharSequence text) {
        try {
            return MessageDigest.getInstance("SHA-256").digest(text.toString().getBytes(StandardCharsets.UTF_8));
        } catch (GeneralSecurityException error) {
            throw new IllegalStateException("this Java has no SHA-256", error);
        }
    }

    /** One number in an object: a field, or an element of an array. */
    private record Slot(Field field, int index) {
        short read(Object owner) {
            try {
                if (field == null) {
                    return ((Number) Array.get(owner, index)).shortValue();
                }
                return field.getType() == boolean.class ? (short) (field.getBoolean(owner) ? 1 : 0) : field.getShort(owner);
            } catch (IllegalAccessException error) {
                throw new IllegalStateException(error);
            }
        }

        void write(Object owner, short value) {
            try {
                if (field == null && owner instanceof byte[] bytes) {
                    bytes[index] = (byte) value;
                } else if (field == null) {
                    ((short[]) owner)[index] = value;
                } else if (field.getType() == boolean.class) {
                    field.setBoolean(owner, value != 0);
                } else if (field.getType() == byte.class) {
                    field.setByte(owner, (byte) value);
                } else {
                    field.setShort(owner, value);
                }
            } catch (IllegalAccessException error) {
                throw new IllegalStateException(error);
            }
        }
    }

    private static final class Walk {
        private final Loader loader;
        private final Memory memory;
        private final StringBuilder shape;
        private final BiConsumer<Object, Slot> visit;
        private final Set<Object> seen = Collections.newSetFromMap(new IdentityHashMap<>());
        private final Deque<Object> waiting = new ArrayDeque<>();

        Walk(Loader loader, Memory memory, StringBuilder shape, BiConsumer<Object, Slot> visit) {
            this.loader = loader;
            this.memory = memory;
            this.shape = shape;
            this.visit = visit;
        }

        void over(List<?> roots, Class<?> applet) {
            roots.forEach(this::meet);
            fields(applet, null, Modifier.STATIC);
            while (!waiting.isEmpty()) {
                Object object = waiting.remove();
                if (object.getClass().isArray()) {
                    elements(object);
                } else {
                    fields(object.getClass(), object, 0);
                }
            }
        }

        private void meet(Object object) {
            boolean ofApplet = object != null && loader.isOfApplet(object.getClass());
            boolean array = object != null && object.getClass().isArray() && memory.isPersistent(object);
            shape.append(object == null ? "null" : object.getClass().getName()).append(' ');
            if ((ofApplet || array) && seen.add(object)) {
                waiting.add(object);
            }
        }

        private void elements(Object array) {
            int length = Array.getLength(array);
            shape.append(length).append(' ');
            for (int index = 0; index < length; index++) {
                if (array instanceof Object[] objects) {
                    meet(objects[index]);
                } else {
                    visit.accept(array, new Slot(null, index));
                }
            }
        }

        private void fields(Class<?> type, Object owner, int kind) {
            if (!loader.isOfApplet(type)) {
                return;
            }
            Field[] fields = type.getDeclaredFields();
            Arrays.sort(fields, Comparator.comparing(Field::getName));
            for (Field field : fields) {
                boolean constant = Modifier.isStatic(field.getModifiers()) && Modifier.isFinal(field.getModifiers());
                if (!constant && (field.getModifiers() & Modifier.STATIC) == kind) {
                    field.setAccessible(true);
                    shape.append(field.getName()).append(' ');
                    follow(field, owner);
                }
            }
            fields(type.getSuperclass(), owner, kind);
        }

        private void follow(Field field, Object owner) {
            try {
                if (field.getType().isPrimitive()) {
                    visit.accept(owner, new Slot(field, 0));
                } else {
                    meet(field.get(owner));
                }
            } catch (IllegalAccessException error) {
                throw new IllegalStateException(error);
            }
        }
    }
}
