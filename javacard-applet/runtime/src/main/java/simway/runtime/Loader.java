package simway.runtime;

import java.io.IOException;
import java.io.InputStream;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import org.objectweb.asm.ClassReader;
import org.objectweb.asm.ClassVisitor;
import org.objectweb.asm.ClassWriter;
import org.objectweb.asm.MethodVisitor;
import org.objectweb.asm.Opcodes;

/**
 * Loads the classes of an applet's package afresh, as another card has them, with each write to memory reported to {@link Memory}.
 *
 * <p>The class files are those that a CAP is made from; only on the way into this Java are stores replaced by calls.
 */
final class Loader extends ClassLoader {
    private static final String MEMORY = "simway/runtime/Memory";
    private final String appletClass;
    private final String prefix;

    Loader(String appletClass) {
        super(Loader.class.getClassLoader());
        this.appletClass = appletClass;
        prefix = appletClass.substring(0, appletClass.lastIndexOf('.') + 1);
    }

    boolean isOfApplet(Class<?> type) {
        return type.getClassLoader() == this;
    }

    @Override
    protected Class<?> loadClass(String name, boolean resolve) throws ClassNotFoundException {
        synchronized (getClassLoadingLock(name)) {
            if (!name.startsWith(prefix)) {
                return super.loadClass(name, resolve);
            }
            Class<?> loaded = findLoadedClass(name);
            return loaded != null ? loaded : define(name);
        }
    }

    private Class<?> define(String name) throws ClassNotFoundException {
        try (InputStream in = getParent().getResourceAsStream(name.replace('.', '/') + ".class")) {
            if (in == null) {
                throw new ClassNotFoundException(name);
            }
            byte[] code = instrument(in.readAllBytes());
            Class<?> type = defineClass(name, code, 0, code.length);
            needNoVariables(type);
            return type;
        } catch (IOException error) {
            throw new ClassNotFoundException(name, error);
        }
    }

    /** The image of a card holds static variables of the applet's own class only. */
    private void needNoVariables(Class<?> type) {
        for (Field field : type.getDeclaredFields()) {
            if (Modifier.isStatic(field.getModifiers()) && !Modifier.isFinal(field.getModifiers()) && !type.getName().equals(appletClass)) {
                throw new IllegalStateException("a static variable outside the applet's class would be lost: " + field);
            }
        }
    }

    private static byte[] instrument(byte[] code) {
        ClassWriter writer = new ClassWriter(0);
        new ClassReader(code).accept(new ClassVisitor(Opcodes.ASM9, writer) {
            @Override
            public MethodVisitor visitMethod(int access, String name, String descriptor, String signature, String[] exceptions) {
                MethodVisitor inner = super.visitMethod(access, name, descriptor, signature, exceptions);
                return name.equals("<clinit>") ? inner : new Stores(inner);
            }
        }, 0);
        return writer.toByteArray();
    }

    private static final class Stores extends MethodVisitor {
        Stores(MethodVisitor inner) {
            super(Opcodes.ASM9, inner);
        }

        @Override
        public void visitInsn(int opcode) {
            if (opcode == Opcodes.BASTORE) {
                call("store", "([BIB)V");
            } else if (opcode == Opcodes.SASTORE) {
                call("store", "([SIS)V");
            } else {
                super.visitInsn(opcode);
            }
        }

        @Override
        public void visitFieldInsn(int opcode, String owner, String name, String descriptor) {
            boolean store = opcode == Opcodes.PUTFIELD || opcode == Opcodes.PUTSTATIC;
            if (store) {
                call("beforeField", "()V");
            }
            super.visitFieldInsn(opcode, owner, name, descriptor);
            if (store) {
                call("afterField", "()V");
            }
        }

        private void call(String name, String descriptor) {
            super.visitMethodInsn(Opcodes.INVOKESTATIC, MEMORY, name, descriptor, false);
        }
    }
}
