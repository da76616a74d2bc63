package simway.applet;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.objectweb.asm.ClassReader;
import org.objectweb.asm.Opcodes;
import org.objectweb.asm.Type;
import org.objectweb.asm.tree.AbstractInsnNode;
import org.objectweb.asm.tree.ClassNode;
import org.objectweb.asm.tree.FieldInsnNode;
import org.objectweb.asm.tree.FieldNode;
import org.objectweb.asm.tree.LdcInsnNode;
import org.objectweb.asm.tree.MethodInsnNode;
import org.objectweb.asm.tree.MethodNode;
import org.objectweb.asm.tree.TypeInsnNode;
import org.objectweb.asm.tree.analysis.Analyzer;
import org.objectweb.asm.tree.analysis.AnalyzerException;

/**
 * What a card's converter would refuse, found without one: the class files keep to the Java Card language (Virtual Machine
 * Specification, Classic Edition, 2.2): no int, long, float, String, no arrays of arrays, no other classes, nothing new after install.
 */
class SubsetTest {
    private static final Set<String> ALLOWED_PACKAGES = Set.of("javacard/framework", "javacard/security", "simway/applet");

    static List<ClassNode> classes() throws IOException {
        List<ClassNode> nodes = new ArrayList<>();
        try (Stream<Path> files = Files.walk(Path.of(System.getProperty("simway.classes")))) {
            for (Path file : files.filter(path -> path.toString().endsWith(".class")).sorted().toList()) {
                ClassNode node = new ClassNode();
                new ClassReader(Files.readAllBytes(file)).accept(node, 0);
                nodes.add(node);
            }
        }
        assertTrue(nodes.size() > 10);
        return nodes;
    }

    @ParameterizedTest
    @MethodSource("classes")
    void typesAreThoseOfACard(ClassNode node) {
        for (FieldNode field : node.fields) {
            check(Type.getType(field.desc), node.name + "." + field.name);
        }
        for (MethodNode method : node.methods) {
            Type type = Type.getMethodType(method.desc);
            check(type.getReturnType(), node.name + "." + method.name);
            for (Type argument : type.getArgumentTypes()) {
                check(argument, node.name + "." + method.name);
            }
        }
    }

    private static void check(Type type, String where) {
        Type element = type.getSort() == Type.ARRAY ? type.getElementType() : type;
        boolean nested = type.getSort() == Type.ARRAY && type.getDimensions() > 1;
        boolean known = switch (element.getSort()) {
            case Type.VOID, Type.BOOLEAN, Type.BYTE, Type.SHORT -> true;
            case Type.OBJECT -> isAllowed(element.getInternalName());
            default -> false;
        };
        assertTrue(known && !nested, where + " has a type that cards have not: " + type);
    }

    private static boolean isAllowed(String name) {
        return name.equals("java/lang/Object") || ALLOWED_PACKAGES.contains(name.substring(0, name.lastIndexOf('/')));
    }

    @ParameterizedTest
    @MethodSource("classes")
    void codeUsesOnlyWhatACardHas(ClassNode node) {
        for (MethodNode method : node.methods) {
            String where = node.name + "." + method.name;
            boolean atInstall = Set.of("<init>", "<clinit>", "install", "newDigest").contains(method.name);
            for (AbstractInsnNode code : method.instructions) {
                assertTrue(!(code instanceof LdcInsnNode), where + " has a constant that does not fit into 16 bits, or a text");
                assertTrue(code.getOpcode() != Opcodes.INVOKEDYNAMIC, where);
                assertTrue(atInstall || !isAllocation(code.getOpcode()), where + " allocates after install");
                if (code instanceof MethodInsnNode call) {
                    assertTrue(isAllowed(call.owner), where + " calls " + call.owner + "." + call.name);
                } else if (code instanceof FieldInsnNode field) {
                    assertTrue(isAllowed(field.owner), where + " uses " + field.owner + "." + field.name);
                } else if (code instanceof TypeInsnNode type) {
                    assertTrue(isAllowed(type.desc), where + " names " + type.desc);
                }
            }
        }
    }

    private static boolean isAllocation(int opcode) {
        return opcode == Opcodes.NEW || opcode == Opcodes.NEWARRAY || opcode == Opcodes.ANEWARRAY || opcode == Opcodes.MULTIANEWARRAY;
    }

    @ParameterizedTest
    @MethodSource("classes")
    void noIntermediateValueNeedsAnInt(ClassNode node) throws AnalyzerException {
        for (MethodNode method : node.methods) {
            Analyzer<ShortArithmetic.Width> analyzer = new Analyzer<>(new ShortArithmetic(node.name + "." + method.name));
            analyzer.analyze(node.name, method);
        }
    }

    @ParameterizedTest
    @MethodSource("classes")
    void noLocalVariableIsAnInt(ClassNode node) {
        for (MethodNode method : node.methods) {
            for (AbstractInsnNode code : method.instructions) {
                assertTrue(code.getOpcode() != Opcodes.IINC, node.name + "." + method.name + " counts in an int");
            }
        }
        assertEquals(0, node.innerClasses.size(), node.name);
    }
}
