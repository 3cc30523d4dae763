import PACKAGE.*;
import java.io.*;
import java.nio.*;
import java.nio.channels.FileChannel;
import java.nio.file.*;
import java.util.*;

/** Follows the lines of tests/apps/stream_drivers.py: a command and its words, answered by "ok" and facts, or by the error. */
final class Streams {
    public static void main(String[] arguments) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            System.out.println(answer(line.split(" ")));
        }
    }

    private static String answer(String[] words) {
        try {
            return "ok" + run(words[0], words);
        } catch (IllegalArgumentException | IllegalStateException | IOException | CAMELModelException error) {
            return error.getMessage();
        }
    }

    private static String run(String command, String[] words) throws IOException {
        switch (command) {
            case "write":
                return write(new CAMELWriter(new FileOutputStream(words[1]), format(words, 2)), words, 5);
            case "append":
                return write(CAMELWriter.append(FileChannel.open(Paths.get(words[1]), StandardOpenOption.READ, StandardOpenOption.WRITE)), words, 2);
            case "read":
                try (FileChannel file = FileChannel.open(Paths.get(words[1]))) {
                    return read(new CAMELReader(file), words);
                }
            case "packets":
                return packets(format(words, 1), values(words[4]), words[5]);
            case "stream":
                return stream(words);
            default:
                throw new AssertionError(command);
        }
    }

    private static CAMELFormat format(String[] words, int at) {
        int bound = Integer.parseInt(words[at + 1]);
        CAMELFormat format = CAMELFormat.lossy();
        switch (words[at]) {
            //EXACT case "1": format = CAMELFormat.within(bound); break;
            //EXACT case "2": format = CAMELFormat.lossless(); break;
            default:
        }
        return format.framesOf(Integer.parseInt(words[at + 2]));
    }

    private static String write(CAMELWriter writer, String[] words, int at) throws IOException {
        VALUE[] values = values(words[at]);
        int used = 0;
        String failures = "";
        for (int i = at + 1; i < words.length; i++) {
            if (words[i].equals("!")) { // a write that has to fail
                try {
                    writer.write(values);
                } catch (IOException error) {
                    failures += " | " + error.getMessage();
                }
                continue;
            }
            switch (words[i]) {
                case "close":
                    writer.close();
                    break;
                case "flush":
                    writer.flush();
                    break;
                case "end":
                    //RECORD writer.endRecord();
                    break;
                default:
                    int stop = Math.min(values.length, used + Integer.parseInt(words[i]));
                    writer.write(Arrays.copyOfRange(values, used, stop));
                    used = stop;
            }
        }
        return failures;
    }

    private static String read(CAMELReader reader, String[] words) throws IOException {
        long start = Long.parseLong(words[3]);
        long stop = Long.parseLong(words[4]);
        Output found = new Output();
        if (words[2].equals("all")) {
            for (VALUE[] frame : reader) {
                found.put(frame);
            }
        } else if (words[2].equals("steps")) {
            //RECORD found.put(reader.readSteps(start, stop));
        } else {
            found.put(reader.read(start, stop));
        }
        found.write(words[5]);
        return " " + reader.samples() + " " + reader.isWhole();
    }

    private static String packets(CAMELFormat format, VALUE[] values, String path) throws IOException {
        Output decoded = new Output();
        int size = 0;
        for (byte[] frame : format.frames(values)) {
            decoded.put(format.samples(frame));
            size += frame.length;
        }
        decoded.write(path);
        return " " + size;
    }

    private static String stream(String[] words) throws IOException {
        Output found = new Output();
        String failures = "";
        //RECORD int hop = Integer.parseInt(words[2]);
        //RECORD CAMELStream<?> stream = of(words[1], hop);
        VALUE[] values = values(words[3]);
        int used = 0;
        for (int i = 5; i < words.length; i++) {
            failing = words[i].startsWith("!"); // a push that has to fail, and takes nothing
            int count = Integer.parseInt(failing ? words[i].substring(1) : words[i]);
            VALUE[] piece = Arrays.copyOfRange(values, used, Math.min(values.length, used + count));
            //NAN if (failing) piece[count - 1] = (VALUE) Double.NaN;
            try {
                //RECORD found.any(stream.push(piece));
                used += piece.length;
            } catch (IllegalArgumentException | IllegalStateException error) {
                failures += " | " + error.getMessage();
            }
        }
        found.write(words[4]);
        return failures;
    }

    private static boolean failing;

    private static byte[] encoded(VALUE[] windows) {
        if (failing) {
            throw new IllegalStateException("the result fails");
        }
        return CAMELModel.encode(windows);
    }

    //RECORD private static CAMELStream<?> of(String result, int hop) {
    //RECORD     switch (result) {
    //RECORD         case "code": return new CAMELStream<>(hop, Streams::encoded);
    //RECORD         case "reconstruction": return new CAMELStream<>(hop, CAMELModel::reconstruct);
    //RECORD         case "score": return new CAMELStream<>(hop, CAMELModel::score);
    //RECORD         case "anomaly": return new CAMELStream<>(hop, CAMELModel::isAnomaly);
    //RECORD         default: return new CAMELStream<>(hop, CAMELFormat.lossy().framesOf(1)::frames);
    //RECORD     }
    //RECORD }

    private static VALUE[] values(String path) throws IOException {
        ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(Paths.get(path))).order(ByteOrder.LITTLE_ENDIAN);
        VALUE[] values = new VALUE[bytes.remaining() / SIZE];
        bytesVIEW.get(values);
        return values;
    }

    private static final class Output {
        private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();

        void put(Object values) {
            for (int i = 0; i < java.lang.reflect.Array.getLength(values); i++) {
                any(java.lang.reflect.Array.get(values, i));
            }
        }

        void any(Object value) {
            ByteBuffer one = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN);
            if (value instanceof List) {
                ((List<?>) value).forEach(this::any);
            } else if (value.getClass().isArray()) {
                put(value);
            } else if (value instanceof Byte) {
                bytes.write((Byte) value);
            } else if (value instanceof Boolean) {
                bytes.write((Boolean) value ? 1 : 0);
            } else if (value instanceof Short) {
                bytes.write(one.putShort((Short) value).array(), 0, 2);
            } else if (value instanceof Float) {
                bytes.write(one.putFloat((Float) value).array(), 0, 4);
            } else {
                bytes.write(one.putDouble((Double) value).array(), 0, 8);
            }
        }

        void write(String path) throws IOException {
            Files.write(Paths.get(path), bytes.toByteArray());
        }
    }
}
