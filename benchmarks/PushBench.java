import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Paths;
import tiedae.PACKAGE.CAMELModel;
import tiedae.PACKAGE.CAMELStream;

/** FILE of one window, int16: times pushes of it for its code, and calls in C. */
final class PushBench {
    public static void main(String[] arguments) throws Exception {
        byte[] bytes = Files.readAllBytes(Paths.get(arguments[0]));
        short[] window = new short[bytes.length / 2];
        ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).asShortBuffer().get(window);
        CAMELStream<byte[]> stream = new CAMELStream<>(CAMELModel.WINDOW, CAMELModel::encode);
        Turns.print(() -> stream.push(window), bytes);
    }
}
