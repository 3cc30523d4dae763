// Swift was not run on this file. The generator's CI compiles the C part alone; its tests build and run the package where they find
// Swift.
import CHeartbeat

/// The model heartbeat: samples to codes and back; .tae files.
///
/// A sample is 64 values in the data's unit of measure, in C order of the shape 64; arrays hold samples one after the other.
/// A code is 16 bytes. Results are those of Python, in every value.
///
/// Nothing is kept between calls: threads may call all functions at once. Before the first call, golden samples are computed; where a
/// value is not that of Python, every call throws `wrongBuild`, with what differs.
public enum HeartbeatModel {
    /// Values of a sample.
    public static let inputs = 64

    /// Bytes of a code.
    public static let units = 16

    /// Samples in a frame of the files that are written here. Each frame decodes by itself.
    public static let samplesPerFrame = 64

    private static let difference: String? = {
        var text = [CChar](repeating: 0, count: 96)
        return heartbeat_app_check(&text, text.count) == 0 ? nil : String(cString: text)
    }()

    /// Codes of samples.
    public static func encode(_ samples: [Int16]) throws -> [UInt8] {
        let count = try self.count("samples", samples.count, inputs)
        var codes = [UInt8](repeating: 0, count: count * units)
        try require(heartbeat_app_encode(samples, count, &codes))
        return codes
    }

    /// Samples that codes decode to.
    public static func decode(_ codes: [UInt8]) throws -> [Int16] {
        let count = try self.count("codes", codes.count, units)
        var samples = [Int16](repeating: 0, count: count * inputs)
        try require(heartbeat_app_decode(codes, count, &samples))
        return samples
    }

    /// What samples become through their codes.
    public static func reconstruct(_ samples: [Int16]) throws -> [Int16] {
        let count = try self.count("samples", samples.count, inputs)
        var reconstructed = [Int16](repeating: 0, count: samples.count)
        try require(heartbeat_app_reconstruct(samples, count, &reconstructed))
        return reconstructed
    }

    /// The bytes of a lossy .tae file: it decodes to what the codes of the samples do.
    public static func compress(_ samples: [Int16]) throws -> [UInt8] {
        try compressed(samples, kind: 0, maxError: 0)
    }

    /// The samples of a .tae file of this model; throws where anything is damaged or missing.
    public static func decompress(_ file: [UInt8]) throws -> [Int16] {
        try decompressed(file, recovers: false)
    }

    /// The samples in the whole frames of a .tae file that may be damaged or cut off; throws for one without any.
    public static func recover(_ file: [UInt8]) throws -> [Int16] {
        try decompressed(file, recovers: true)
    }

    private static func compressed(_ samples: [Int16], kind: Int32, maxError: UInt32) throws -> [UInt8] {
        let count = try self.count("samples", samples.count, inputs)
        guard count > 0 else { throw HeartbeatModelError.argument("samples: got none, must be one or more") }
        var bytes: UnsafeMutablePointer<UInt8>?
        var size = 0
        try require(heartbeat_app_compress(samples, count, kind, maxError, &bytes, &size))
        defer { heartbeat_app_free(bytes) }
        return Array(UnsafeBufferPointer(start: bytes, count: size))
    }

    private static func decompressed(_ file: [UInt8], recovers: Bool) throws -> [Int16] {
        _ = try count("file", file.count, 1)
        var count = 0
        let status = heartbeat_app_count(file, file.count, &count)
        if status != 0 && !(recovers && status == damaged && count > 0) { try require(status) }
        var samples = [Int16](repeating: 0, count: count * inputs)
        let found = heartbeat_app_decompress(file, file.count, &samples, count, &count)
        if found != 0 && !(recovers && found == damaged && count > 0) { try require(found) }
        samples.removeLast(samples.count - count * inputs)
        return samples
    }

    private static let damaged: Int32 = 5

    private static func count(_ what: String, _ values: Int, _ each: Int) throws -> Int {
        if let difference = difference { throw HeartbeatModelError.wrongBuild(difference) }
        guard values % each == 0 else {
            throw HeartbeatModelError.argument("\(what): got \(values) values, must be a multiple of \(each)")
        }
        return values / each
    }

    private static func require(_ status: Int32) throws {
        switch status {
        case 0: return
        case 2: throw HeartbeatModelError.argument("got wrong arguments")
        case 3: throw HeartbeatModelError.tooLarge
        case 6: throw HeartbeatModelError.otherModel
        case 7: throw HeartbeatModelError.unsupported
        case 8: throw HeartbeatModelError.noMemory
        default: throw HeartbeatModelError.damaged
        }
    }
}

public enum HeartbeatModelError: Error, Equatable {
    /// An array of wrong length, or a value that cannot be; with a sentence.
    case argument(String)
    /// Bytes of a .tae file are changed or missing.
    case damaged
    /// A .tae file is another model's.
    case otherModel
    /// A .tae file is of a version or kind that this model does not decode.
    case unsupported
    /// A .tae file holds more samples than memory has addresses.
    case tooLarge
    case noMemory
    /// A golden sample came out otherwise here than in Python.
    case wrongBuild(String)
}
