import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.Arrays;
import tiedae.PACKAGE.CAMELModel;

/** FOLDER with x.bin: writes code.bin and y.bin, then times calls through JNI and calls in C in turns, and prints both in ns. */
final class JniBench {
    private static final int ROUNDS = 400;
    private static final int CALLS = 50;

    private static native double encodeInC(byte[] samples, int calls);

    public static void main(String[] arguments) throws Exception {
        Path folder = Paths.get(arguments[0]);
        byte[] samples = Files.readAllBytes(folder.resolve("x.bin"));
        Files.write(folder.resolve("code.bin"), CAMELModel.encode(samples));
        Files.write(folder.resolve("y.bin"), CAMELModel.reconstruct(samples));
        System.loadLibrary("bench");
        byte[] sample = Arrays.copyOf(samples, CAMELModel.INPUTS);
        double[] java = new double[ROUNDS];
        double[] c = new double[ROUNDS];
        for (int warm = 0; warm < 2; warm++) {
            for (int i = 0; i < ROUNDS; i++) {
                long start = System.nanoTime();
                for (int call = 0; call < CALLS; call++) {
                    CAMELModel.encode(sample);
                }
                java[i] = (double) (System.nanoTime() - start) / CALLS;
                c[i] = encodeInC(sample, CALLS);
            }
        }
        System.out.println("[" + Arrays.toString(java) + "," + Arrays.toString(c) + "]");
    }
}
