import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.Arrays;
import tiedae.PACKAGE.CAMELModel;
import tiedae.PACKAGE.CAMELStream;

/** FILE of one window, int16: times pushes of it for its code, and calls in C, in turns, and prints both in ns. */
final class PushBench {
    private static final int ROUNDS = 400;
    private static final int CALLS = 50;

    private static native double encodeInC(byte[] sample, int calls);

    public static void main(String[] arguments) throws Exception {
        byte[] bytes = Files.readAllBytes(Paths.get(arguments[0]));
        short[] window = new short[bytes.length / 2];
        ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).asShortBuffer().get(window);
        CAMELStream<byte[]> stream = new CAMELStream<>(CAMELModel.WINDOW, CAMELModel::encode);
        System.loadLibrary("bench");
        double[] java = new double[ROUNDS];
        double[] c = new double[ROUNDS];
        for (int warm = 0; warm < 2; warm++) {
            for (int i = 0; i < ROUNDS; i++) {
                long start = System.nanoTime();
                for (int call = 0; call < CALLS; call++) {
                    stream.push(window);
                }
                java[i] = (double) (System.nanoTime() - start) / CALLS;
                c[i] = encodeInC(bytes, CALLS);
            }
        }
        System.out.println("[" + Arrays.toString(java) + "," + Arrays.toString(c) + "]");
    }
}
