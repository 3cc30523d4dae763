// swift-tools-version:5.5
import PackageDescription

let package = Package(
    name: "Heartbeat",
    products: [.library(name: "Heartbeat", targets: ["Heartbeat"])],
    targets: [
        .target(name: "CHeartbeat"),
        .target(name: "Heartbeat", dependencies: ["CHeartbeat"]),
        .testTarget(name: "HeartbeatTests", dependencies: ["Heartbeat"]),
    ],
    cLanguageStandard: .c99
)
