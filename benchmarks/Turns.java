import java.util.Arrays;

/** Times calls in Java and the same calls in C, in turns. */
final class Turns {
    private static final int ROUNDS = 400;
    private static final int CALLS = 50;

    static {
        System.loadLibrary("bench");
    }

    /** Nanoseconds of a call in C that encodes a sample. */
    private static native double encodeInC(byte[] sample, int calls);

    /** Prints the nanoseconds of a call in each round, in Java and in C. */
    static void print(Runnable call, byte[] sample) {
        double[] java = new double[ROUNDS];
        double[] c = new double[ROUNDS];
        for (int warm = 0; warm < 2; warm++) {
            for (int i = 0; i < ROUNDS; i++) {
                long start = System.nanoTime();
                for (int done = 0; done < CALLS; done++) {
                    call.run();
                }
                java[i] = (double) (System.nanoTime() - start) / CALLS;
                c[i] = encodeInC(sample, CALLS);
            }
        }
        System.out.println("[" + Arrays.toString(java) + "," + Arrays.toString(c) + "]");
    }
}
