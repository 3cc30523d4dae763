import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.Arrays;
import tiedae.PACKAGE.CAMELModel;

/** FOLDER with x.bin: writes code.bin and y.bin, then times calls through JNI and calls in C. */
final class JniBench {
    public static void main(String[] arguments) throws Exception {
        Path folder = Paths.get(arguments[0]);
        byte[] samples = Files.readAllBytes(folder.resolve("x.bin"));
        Files.write(folder.resolve("code.bin"), CAMELModel.encode(samples));
        Files.write(folder.resolve("y.bin"), CAMELModel.reconstruct(samples));
        byte[] sample = Arrays.copyOf(samples, CAMELModel.INPUTS);
        Turns.print(() -> CAMELModel.encode(sample), sample);
    }
}
