// Follows the lines of tests/apps/stream_drivers.py: a command and its words, answered by "ok" and facts, or by the error.
import Foundation
import CAMEL

func formatOf(_ kind: String, _ bound: String, _ most: String) throws -> CAMELFormat {
    var format = CAMELFormat.lossy
    //EXACT if kind == "1" { format = try CAMELFormat.within(Int(bound)!) }
    //EXACT if kind == "2" { format = CAMELFormat.lossless }
    format = try format.frames(of: Int(most)!)
    return format
}

func values(_ path: String) throws -> [VALUE] {
    let data = try Data(contentsOf: URL(fileURLWithPath: path))
    var values = [VALUE](repeating: 0, count: data.count / MemoryLayout<VALUE>.size)
    _ = values.withUnsafeMutableBytes { data.copyBytes(to: $0) }
    return values
}

func save<T>(_ found: [T], _ path: String) throws {
    try found.withUnsafeBytes { Data($0) }.write(to: URL(fileURLWithPath: path))
}

func write(_ writer: CAMELWriter, _ input: String, _ operations: [String]) throws -> String {
    var given = try values(input)
    var failures = ""
    for operation in operations {
        switch operation {
        case "close": try writer.close()
        case "!": // a write that has to fail
            do {
                try writer.write(given)
            } catch {
                failures += " | \(error)"
            }
        case "flush": try writer.flush()
        case "end":
            //RECORD try writer.endRecord()
            break
        default:
            let count = min(given.count, Int(operation)!)
            try writer.write(Array(given[..<count]))
            given.removeFirst(count)
        }
    }
    return failures
}

func pieces<T>(_ words: [String], _ push: ([VALUE]) throws -> [T]) throws -> String {
    var (given, found) = (try values(words[3]), [T]())
    var failures = ""
    for word in words[5...] {
        failing = word.hasPrefix("!") // a push that has to fail, and takes nothing
        let count = min(given.count, Int(word.drop { $0 == "!" })!)
        var piece = Array(given[..<count])
        //NAN if failing { piece[count - 1] = .nan }
        do {
            found += try push(piece)
            given.removeFirst(count)
        } catch {
            failures += " | \(error)"
        }
    }
    try save(found, words[4])
    return failures
}

var failing = false

struct ResultFails: Error, CustomStringConvertible {
    let description = "the result fails"
}

//RECORD func encoded(_ windows: [VALUE]) throws -> [UInt8] {
//RECORD     if failing { throw ResultFails() }
//RECORD     return try CAMELModel.encode(windows)
//RECORD }

func stream(_ words: [String]) throws -> String {
    //RECORD let hop = Int(words[2])!
    switch words[1] {
    //RECORD case "code": return try pieces(words, CAMELStream(hop: hop, encoded).push)
    //RECORD case "reconstruction": return try pieces(words, CAMELStream(hop: hop, CAMELModel.reconstruct).push)
    //RECORD case "score": return try pieces(words, CAMELStream(hop: hop) { try CAMELModel.score($0).map { $0.score } }.push)
    //RECORD case "anomaly": return try pieces(words, CAMELStream(hop: hop) { try CAMELModel.score($0).map { $0.isAnomaly } }.push)
    //RECORD case "frame": return try pieces(words, CAMELStream(hop: hop) { try CAMELFormat.lossy.frames(of: 1).frames($0).flatMap { $0 } }.push)
    default: return "no stream"
    }
}

func read(_ words: [String]) async throws -> String {
    let reader = try CAMELReader(FileHandle(forReadingFrom: URL(fileURLWithPath: words[1])))
    var found = [VALUE]()
    switch words[2] {
    case "all": for try await frame in reader { found += frame }
    case "steps":
        //RECORD found = try reader.readSteps(Int(words[3])!..<Int(words[4])!)
        break
    default: found = try reader.read(Int(words[3])!..<Int(words[4])!)
    }
    try save(found, words[5])
    return " \(reader.samples) \(reader.isWhole)"
}

func packets(_ words: [String]) throws -> String {
    let format = try formatOf(words[1], words[2], words[3])
    let frames = try format.frames(values(words[4]))
    try save(frames.flatMap { try format.samples($0) }, words[5])
    return " \(frames.reduce(0) { $0 + $1.count })"
}

func run(_ words: [String]) async throws -> String {
    let url = URL(fileURLWithPath: words[1])
    switch words[0] {
    case "write":
        let format = try formatOf(words[2], words[3], words[4])
        if !FileManager.default.fileExists(atPath: words[1]) { FileManager.default.createFile(atPath: words[1], contents: nil) }
        return try write(CAMELWriter(FileHandle(forWritingTo: url), format: format), words[5], Array(words[6...]))
    case "append": return try write(.append(to: FileHandle(forUpdating: url)), words[2], Array(words[3...]))
    case "read": return try await read(words)
    case "packets": return try packets(words)
    default: return try stream(words)
    }
}

while let line = readLine() {
    do {
        print("ok" + (try await run(line.split(separator: " ").map(String.init))))
    } catch {
        print(error.localizedDescription)
    }
}
