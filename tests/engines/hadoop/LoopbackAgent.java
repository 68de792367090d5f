import java.lang.instrument.ClassFileTransformer;
import java.lang.instrument.Instrumentation;
import java.security.ProtectionDomain;
import jdk.internal.org.objectweb.asm.ClassReader;
import jdk.internal.org.objectweb.asm.ClassVisitor;
import jdk.internal.org.objectweb.asm.ClassWriter;
import jdk.internal.org.objectweb.asm.Label;
import jdk.internal.org.objectweb.asm.MethodVisitor;
import jdk.internal.org.objectweb.asm.Opcodes;
import jdk.internal.org.objectweb.asm.Type;

/**
 * Lets a Java process that would listen on all addresses listen on 127.0.0.1 alone.
 *
 * Hadoop has no setting for it in two places: a NodeManager's shuffle port, and what a job's application master serves.
 * Every socket of Java is bound by sun.nio.ch.Net.bind, so that is where "any address" becomes the loopback one.
 */
public final class LoopbackAgent {
    private static final String NET = "sun/nio/ch/Net";
    private static final Type ADDRESS = Type.getObjectType("java/net/InetAddress");

    public static void premain(String options, Instrumentation instrumentation) throws Exception {
        instrumentation.addTransformer(new ClassFileTransformer() {
            @Override
            public byte[] transform(ClassLoader loader, String name, Class<?> old, ProtectionDomain domain, byte[] code) {
                return NET.equals(name) ? changed(code) : null;
            }
        }, true);
        instrumentation.retransformClasses(Class.forName(NET.replace('/', '.')));
    }

    private static byte[] changed(byte[] code) {
        ClassReader reader = new ClassReader(code);
        ClassWriter writer = new ClassWriter(reader, ClassWriter.COMPUTE_MAXS);
        reader.accept(new ClassVisitor(Opcodes.ASM7, writer) {
            @Override
            public MethodVisitor visitMethod(int access, String name, String types, String generic, String[] thrown) {
                MethodVisitor method = super.visitMethod(access, name, types, generic, thrown);
                boolean isStatic = (access & Opcodes.ACC_STATIC) != 0;
                int slot = slotOfAddress(types);
                return name.equals("bind") && isStatic && slot >= 0 ? new Prologue(method, slot) : method;
            }
        }, 0);
        return writer.toByteArray();
    }

    private static int slotOfAddress(String types) {
        int slot = 0;
        for (Type type : Type.getArgumentTypes(types)) {
            if (type.equals(ADDRESS)) {
                return slot;
            }
            slot += type.getSize();
        }
        return -1;
    }

    /** Begins a method with: if (address.isAnyLocalAddress()) address = InetAddress.getLoopbackAddress(); */
    private static final class Prologue extends MethodVisitor {
        private final int slot;

        Prologue(MethodVisitor method, int slot) {
            super(Opcodes.ASM7, method);
            this.slot = slot;
        }

        @Override
        public void visitCode() {
            super.visitCode();
            Label otherwise = new Label();
            String address = ADDRESS.getInternalName();
            visitVarInsn(Opcodes.ALOAD, slot);
            visitMethodInsn(Opcodes.INVOKEVIRTUAL, address, "isAnyLocalAddress", "()Z", false);
            visitJumpInsn(Opcodes.IFEQ, otherwise);
            visitMethodInsn(
                Opcodes.INVOKESTATIC, address, "getLoopbackAddress", "()" + ADDRESS.getDescriptor(), false);
            visitVarInsn(Opcodes.ASTORE, slot);
            visitLabel(otherwise);
            visitFrame(Opcodes.F_SAME, 0, null, 0, null);
        }
    }
}
