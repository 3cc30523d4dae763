package tiedae.heartbeat;

/**
 * The model heartbeat: samples to codes and back; .tae files.
 *
 * <p>A sample is 64 values in the data's unit of measure, in C order of the shape 64; arrays hold samples one after the other.
 * A code is 16 unsigned bytes. Results are those of Python, in every value.
 *
 * <p>Nothing is kept between calls: threads may call all methods at once, and there is nothing to close. Arguments are never null or
 * changed; an array of wrong length throws IllegalArgumentException. Before the first call, golden samples are computed; where a
 * value is not that of Python, every call throws HeartbeatModelException, with what differs.
 */
public final class HeartbeatModel {
    /** Values of a sample. */
    public static final int INPUTS = 64;

    /** Bytes of a code. */
    public static final int UNITS = 16;

    /** Samples in a frame of the files that are written here. Each frame decodes by itself. */
    public static final int SAMPLES_PER_FRAME = 64;

    private static final int ARGUMENT = 2;
    private static final int NO_MEMORY = 8;
    private static final String DIFFERENCE;

    static {
        System.loadLibrary("heartbeat_jni");
        DIFFERENCE = check0();
    }

    private HeartbeatModel() {
    }

    /** Codes of samples. */
    public static byte[] encode(short[] samples) {
        int count = count("samples", samples == null ? -1 : samples.length, INPUTS);
        byte[] codes = new byte[length(count, UNITS)];
        require(encode0(samples, codes));
        return codes;
    }

    /** Samples that codes decode to. */
    public static short[] decode(byte[] codes) {
        int count = count("codes", codes == null ? -1 : codes.length, UNITS);
        short[] samples = new short[length(count, INPUTS)];
        require(decode0(codes, samples));
        return samples;
    }

    /** What samples become through their codes. */
    public static short[] reconstruct(short[] samples) {
        count("samples", samples == null ? -1 : samples.length, INPUTS);
        short[] reconstructed = new short[samples.length];
        require(reconstruct0(samples, reconstructed));
        return reconstructed;
    }

    /** The bytes of a lossy .tae file: it decodes to what the codes of the samples do. */
    public static byte[] compress(short[] samples) {
        return compressed(samples, 0, 0);
    }

    /** The samples of a .tae file of this model. HeartbeatModelException where anything is damaged or missing. */
    public static short[] decompress(byte[] file) {
        return decompressed(file, false);
    }

    /** The samples in the whole frames of a .tae file that may be damaged or cut off; HeartbeatModelException for one without any. */
    public static short[] recover(byte[] file) {
        return decompressed(file, true);
    }

    private static byte[] compressed(short[] samples, int kind, int maxError) {
        if (count("samples", samples == null ? -1 : samples.length, INPUTS) == 0) {
            throw new IllegalArgumentException("samples: got none, must be one or more");
        }
        int[] status = new int[1];
        byte[] file = compress0(samples, kind, maxError, status);
        require(status[0]);
        return file;
    }

    private static short[] decompressed(byte[] file, boolean recover) {
        count("file", file == null ? -1 : file.length, 1);
        int[] status = new int[1];
        short[] samples = decompress0(file, recover, status);
        require(status[0]);
        return samples;
    }

    private static int count(String what, int length, int each) {
        if (DIFFERENCE != null) {
            throw new HeartbeatModelException(HeartbeatModelException.Reason.WRONG_BUILD, DIFFERENCE);
        }
        if (length < 0) {
            throw new IllegalArgumentException(what + ": got null, must be an array");
        }
        if (length % each != 0) {
            throw new IllegalArgumentException(what + ": got " + length + " values, must be a multiple of " + each);
        }
        return length / each;
    }

    private static int length(int count, int each) {
        if (count > Integer.MAX_VALUE / each) {
            throw new IllegalArgumentException("got " + count + " samples, must be at most " + Integer.MAX_VALUE / each);
        }
        return count * each;
    }

    private static void require(int status) {
        if (status == 0) {
            return;
        }
        if (status == ARGUMENT) {
            throw new IllegalArgumentException("got wrong arguments");
        }
        if (status == NO_MEMORY) {
            throw new OutOfMemoryError("heartbeat: no native memory is left");
        }
        throw new HeartbeatModelException(status);
    }

    private static native String check0();

    private static native int encode0(short[] samples, byte[] codes);

    private static native int decode0(byte[] codes, short[] samples);

    private static native int reconstruct0(short[] samples, short[] reconstructed);

    private static native byte[] compress0(short[] samples, int kind, int maxError, int[] status);

    private static native short[] decompress0(byte[] file, boolean recover, int[] status);
}
