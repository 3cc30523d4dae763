import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.reflect.Array;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.Objects;

/**
 * Calls methods of a model's class. Lines of standard input: CALLS THREADS METHOD INPUT OUTPUT [NUMBER]. INPUT is a file of
 * little-endian values, or null; OUTPUT is where the result goes. Each line is answered by "ok", "differs" where calls have
 * different results, or the exception; then the KiB that this process grew by in the second half of the calls.
 */
final class Harness {
    private static Class<?> model;

    public static void main(String[] arguments) throws Exception {
        model = Class.forName(arguments[0]);
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            System.out.println(answer(line.split(" ")));
        }
    }

    private static String answer(String[] words) throws Exception {
        Method method = method(words[2]);
        Object[] given = new Object[words.length > 5 ? 2 : 1];
        given[0] = words[3].equals("null") ? null : read(Paths.get(words[3]), method.getParameterTypes()[0].getComponentType());
        if (given.length > 1) {
            given[1] = Integer.valueOf(words[5]);
        }
        Object[] found = new Object[Integer.parseInt(words[1])];
        int calls = Integer.parseInt(words[0]);
        called(method, given, calls, found);
        long before = resident();
        if (calls > 1) {
            called(method, given, calls, found);
        }
        long grown = resident() - before;
        for (Object each : found) {
            if (!equal(each, found[0])) {
                return "differs " + grown;
            }
        }
        if (found[0] instanceof String) {
            return found[0] + " " + grown;
        }
        Files.write(Paths.get(words[4]), bytes(found[0]));
        return "ok " + grown;
    }

    /** The same calls in as many threads as there are results. */
    private static void called(Method method, Object[] given, int calls, Object[] found) throws InterruptedException {
        Thread[] threads = new Thread[found.length];
        for (int i = 0; i < threads.length; i++) {
            int own = i;
            threads[i] = new Thread(() -> found[own] = repeated(method, given, calls));
            threads[i].start();
        }
        for (Thread thread : threads) {
            thread.join();
        }
    }

    private static Object repeated(Method method, Object[] given, int calls) {
        Object first = call(method, given);
        for (int i = 1; i < calls; i++) {
            if (!equal(call(method, given), first)) {
                return "differs";
            }
        }
        return first;
    }

    private static Object call(Method method, Object[] given) {
        try {
            return method.invoke(null, given);
        } catch (InvocationTargetException thrown) {
            String reason = "";
            try {
                reason = " " + thrown.getCause().getClass().getMethod("reason").invoke(thrown.getCause());
            } catch (ReflectiveOperationException none) {
                // of the exceptions of Java
            }
            return thrown.getCause().getClass().getSimpleName() + reason + ": " + thrown.getCause().getMessage();
        } catch (IllegalAccessException wrong) {
            throw new AssertionError(wrong);
        }
    }

    private static boolean equal(Object one, Object other) {
        return Objects.deepEquals(one, other);
    }

    private static Method method(String name) {
        for (Method each : model.getMethods()) {
            if (each.getName().equals(name)) {
                return each;
            }
        }
        throw new AssertionError(name);
    }

    private static int size(Class<?> type) {
        return type == byte.class || type == boolean.class ? 1 : type == short.class ? 2 : type == float.class ? 4 : 8;
    }

    private static Object read(Path path, Class<?> type) throws Exception {
        ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(path)).order(ByteOrder.LITTLE_ENDIAN);
        Object values = Array.newInstance(type, bytes.remaining() / size(type));
        for (int i = 0; i < Array.getLength(values); i++) {
            if (type == byte.class) {
                Array.setByte(values, i, bytes.get());
            } else if (type == short.class) {
                Array.setShort(values, i, bytes.getShort());
            } else if (type == float.class) {
                Array.setFloat(values, i, bytes.getFloat());
            } else {
                Array.setDouble(values, i, bytes.getDouble());
            }
        }
        return values;
    }

    private static byte[] bytes(Object values) {
        Class<?> type = values.getClass().getComponentType();
        ByteBuffer bytes = ByteBuffer.allocate(Array.getLength(values) * size(type)).order(ByteOrder.LITTLE_ENDIAN);
        for (int i = 0; i < Array.getLength(values); i++) {
            if (type == byte.class) {
                bytes.put(Array.getByte(values, i));
            } else if (type == boolean.class) {
                bytes.put((byte) (Array.getBoolean(values, i) ? 1 : 0));
            } else if (type == short.class) {
                bytes.putShort(Array.getShort(values, i));
            } else if (type == float.class) {
                bytes.putFloat(Array.getFloat(values, i));
            } else {
                bytes.putDouble(Array.getDouble(values, i));
            }
        }
        return bytes.array();
    }

    private static long resident() throws Exception {
        for (String line : Files.readAllLines(Paths.get("/proc/self/status"))) {
            if (line.startsWith("VmRSS:")) {
                return Long.parseLong(line.replaceAll("\\D", ""));
            }
        }
        return 0;
    }
}
