import java.nio.file.Files;
import java.nio.file.Paths;
import tiedae.image.ImageFormat;

/** FRAME SAMPLES: decodes a lossless frame of one sample. */
final class Packets {
    public static void main(String[] paths) throws Exception {
        byte[] frame = Files.readAllBytes(Paths.get(paths[0]));
        Files.write(Paths.get(paths[1]), ImageFormat.lossless().framesOf(1).samples(frame));
    }
}
