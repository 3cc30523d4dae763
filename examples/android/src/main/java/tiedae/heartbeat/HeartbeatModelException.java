package tiedae.heartbeat;

/** A .tae file that HeartbeatModel does not decode, or a build that computes other values than Python. */
public final class HeartbeatModelException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /** Why. */
    public enum Reason {
        /** Bytes are changed or missing. */
        DAMAGED,
        /** The file is another model's. */
        OTHER_MODEL,
        /** A version or kind of file that this model does not decode. */
        UNSUPPORTED,
        /** More samples than an array holds. */
        TOO_LARGE,
        /** A golden sample came out otherwise here than in Python. */
        WRONG_BUILD
    }

    private final Reason reason;

    HeartbeatModelException(Reason reason, String difference) {
        super("heartbeat: " + difference + ", this build does not compute what Python does");
        this.reason = reason;
    }

    HeartbeatModelException(int status) {
        super(text(status));
        this.reason = reasonOf(status);
    }

    /** Why it was thrown. */
    public Reason reason() {
        return reason;
    }

    private static Reason reasonOf(int status) {
        switch (status) {
            case 3:
                return Reason.TOO_LARGE;
            case 6:
                return Reason.OTHER_MODEL;
            case 7:
                return Reason.UNSUPPORTED;
            default:
                return Reason.DAMAGED;
        }
    }

    private static String text(int status) {
        switch (reasonOf(status)) {
            case TOO_LARGE:
                return "file: holds more samples than an array";
            case OTHER_MODEL:
                return "file: is of another model, must be of heartbeat";
            case UNSUPPORTED:
                return "file: is of a version or kind that heartbeat does not decode";
            default:
                return "file: is damaged or cut off; recover gives the samples of its whole frames";
        }
    }
}
