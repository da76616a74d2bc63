package simway.applet;

import java.util.List;
import org.objectweb.asm.Opcodes;
import org.objectweb.asm.Type;
import org.objectweb.asm.tree.AbstractInsnNode;
import org.objectweb.asm.tree.analysis.AnalyzerException;
import org.objectweb.asm.tree.analysis.Interpreter;
import org.objectweb.asm.tree.analysis.Value;

/**
 * Follows how wide values are: a sum, difference, product or shift may not fit into a short until it was cast.
 *
 * <p>On a card without int, such a value may go into further sums, products, left shifts and bit operations, whose lower 16 bits do not
 * depend on what was lost; comparing, dividing, shifting right, indexing, returning, storing or passing it would give another result
 * than here, and a converter refuses it (Virtual Machine Specification, Classic Edition, 2.2.3.1).
 */
final class ShortArithmetic extends Interpreter<ShortArithmetic.Width> {
    enum Width implements Value {
        SHORT, WIDE, REFERENCE;

        @Override
        public int getSize() {
            return 1;
        }
    }

    private final String where;

    ShortArithmetic(String where) {
        super(Opcodes.ASM9);
        this.where = where;
    }

    private void needShort(AbstractInsnNode code, Width... values) throws AnalyzerException {
        for (Width value : values) {
            if (value == Width.WIDE) {
                throw new AnalyzerException(code, where + ": a result is used before it was cast to short, by opcode " + code.getOpcode());
            }
        }
    }

    @Override
    public Width newValue(Type type) {
        if (type == null) {
            return Width.SHORT;
        }
        if (type.getSort() == Type.VOID) {
            return null;
        }
        return type.getSort() == Type.OBJECT || type.getSort() == Type.ARRAY ? Width.REFERENCE : Width.SHORT;
    }

    @Override
    public Width newOperation(AbstractInsnNode code) {
        boolean reference = code.getOpcode() == Opcodes.ACONST_NULL || code.getOpcode() == Opcodes.NEW;
        return reference || code.getOpcode() == Opcodes.GETSTATIC ? Width.REFERENCE : Width.SHORT;
    }

    @Override
    public Width copyOperation(AbstractInsnNode code, Width value) throws AnalyzerException {
        if (code.getOpcode() == Opcodes.ISTORE) {
            needShort(code, value);
        }
        return value;
    }

    @Override
    public Width unaryOperation(AbstractInsnNode code, Width value) throws AnalyzerException {
        switch (code.getOpcode()) {
            case Opcodes.I2S, Opcodes.I2B:
                return Width.SHORT;
            case Opcodes.INEG:
                return Width.WIDE;
            case Opcodes.NEWARRAY, Opcodes.ANEWARRAY, Opcodes.CHECKCAST:
                needShort(code, value);
                return Width.REFERENCE;
            case Opcodes.GETFIELD:
                return newValue(Type.getType(((org.objectweb.asm.tree.FieldInsnNode) code).desc));
            default:
                needShort(code, value);
                return Width.SHORT;
        }
    }

    @Override
    public Width binaryOperation(AbstractInsnNode code, Width one, Width other) throws AnalyzerException {
        switch (code.getOpcode()) {
            case Opcodes.IADD, Opcodes.ISUB, Opcodes.IMUL:
                return Width.WIDE;
            case Opcodes.ISHL:
                needShort(code, other);
                return Width.WIDE;
            case Opcodes.IAND, Opcodes.IOR, Opcodes.IXOR:
                return one == Width.WIDE || other == Width.WIDE ? Width.WIDE : Width.SHORT;
            case Opcodes.IDIV:
                needShort(code, one, other);
                return Width.WIDE;
            case Opcodes.AALOAD:
                needShort(code, other);
                return Width.REFERENCE;
            default:
                needShort(code, one, other);
                return Width.SHORT;
        }
    }

    @Override
    public Width ternaryOperation(AbstractInsnNode code, Width array, Width index, Width value) throws AnalyzerException {
        needShort(code, index, value);
        return null;
    }

    @Override
    public Width naryOperation(AbstractInsnNode code, List<? extends Width> values) throws AnalyzerException {
        needShort(code, values.toArray(new Width[0]));
        String descriptor = ((org.objectweb.asm.tree.MethodInsnNode) code).desc;
        return newValue(Type.getReturnType(descriptor));
    }

    @Override
    public void returnOperation(AbstractInsnNode code, Width value, Width expected) throws AnalyzerException {
        needShort(code, value);
    }

    @Override
    public Width merge(Width one, Width other) {
        return one == Width.WIDE || other == Width.WIDE ? Width.WIDE : one;
    }
}
