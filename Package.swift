// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0

import PackageDescription

/// CI refuses warnings; a developer's half-finished build only shows them.
let warnings: [SwiftSetting] =
    Context.environment["CI"] == nil
    ? [] : [.treatAllWarnings(as: .error), .treatWarning("DeprecatedDeclaration", as: .warning)]

let settings: [SwiftSetting] =
    [
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("InternalImportsByDefault"),
        .enableUpcomingFeature("MemberImportVisibility"),
    ] + warnings

let package = Package(
    name: "fairlead",
    products: [.executable(name: "fairlead", targets: ["fairlead"])],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-extras", from: "1.35.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    ],
    targets: [
        // The C part: every call that Lua may answer with a longjmp, and every use of simdjson.
        .systemLibrary(name: "CLua", pkgConfig: "lua5.4", providers: [.apt(["liblua5.4-dev"])]),
        .systemLibrary(name: "CCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-openssl-dev"])]),
        .target(
            name: "CFairlead",
            dependencies: ["CLua", "CCurl"],
            // simdjson's pkg-config file carries a flag that SwiftPM refuses with a warning; its header stands in the
            // default place.
            linkerSettings: [.linkedLibrary("simdjson")]
        ),

        .target(name: "Events", dependencies: ["CFairlead"], swiftSettings: settings),
        .target(name: "Filtering", dependencies: ["Events", "CFairlead"], swiftSettings: settings),
        .target(name: "Routes", dependencies: ["Filtering", "Events"], swiftSettings: settings),
        .target(
            name: "Journal",
            dependencies: [
                "Events", "CFairlead", .product(name: "Logging", package: "swift-log"),
                .product(name: "Metrics", package: "swift-metrics"),
            ],
            swiftSettings: settings
        ),
        .target(
            name: "Ledger",
            dependencies: [
                "Events",
                .product(name: "GRDB", package: "GRDB.swift"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: settings
        ),
        .target(
            name: "Broker",
            dependencies: [
                "Routes", "Filtering", "Events", "Journal", "Ledger",
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "HeapModule", package: "swift-collections"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Metrics", package: "swift-metrics"),
            ],
            swiftSettings: settings
        ),
        .target(
            name: "Scripting",
            dependencies: [
                "Events", "CFairlead",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: settings
        ),
        .target(
            name: "Gateway",
            dependencies: [
                "Broker", "Routes", "Filtering", "Events",
                .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Metrics", package: "swift-metrics"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
                .product(name: "NIOHTTPTypesHTTP1", package: "swift-nio-extras"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ],
            // In the program itself: it stays one file.
            resources: [.embedInCode("Dashboard")],
            swiftSettings: settings
        ),
        .executableTarget(
            name: "fairlead",
            dependencies: [
                "Gateway", "Broker", "Routes", "Filtering", "Journal", "Ledger", "Scripting", "Events",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Metrics", package: "swift-metrics"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOFoundationCompat", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
            ],
            swiftSettings: settings
        ),

        .executableTarget(
            name: "matching-bench", dependencies: ["Filtering", "Events"], path: "Benchmarks/Matching",
            swiftSettings: settings
        ),

        .executableTarget(
            name: "scripting-bench",
            dependencies: ["Scripting", "Gateway", "Events", .product(name: "Logging", package: "swift-log")],
            path: "Benchmarks/Scripting", swiftSettings: settings
        ),

        // A broker played through by seeds: `simulate` runs many, BrokerTests some.
        .target(
            name: "Simulation",
            dependencies: [
                "Broker", "Filtering", "Ledger", "Routes", "Events", "CFairlead",
                .product(name: "Logging", package: "swift-log"),
            ],
            path: "Tests/Simulation", swiftSettings: settings
        ),
        .executableTarget(
            name: "simulate",
            dependencies: ["Simulation", .product(name: "ArgumentParser", package: "swift-argument-parser")],
            path: "Tests/Simulate", swiftSettings: settings
        ),

        .testTarget(
            name: "EventsTests",
            dependencies: ["Events", "CFairlead"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "FilteringTests",
            dependencies: ["Filtering", "Events", "CFairlead"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "RoutesTests",
            dependencies: ["Routes", "Filtering", "Events"],
            exclude: ["Fixtures"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "JournalTests",
            dependencies: ["Journal", "Events", "CFairlead", .product(name: "Logging", package: "swift-log")],
            swiftSettings: settings
        ),
        .testTarget(
            name: "LedgerTests",
            dependencies: [
                "Ledger", "Events", "CFairlead",
                .product(name: "GRDB", package: "GRDB.swift"), .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "ScriptingTests",
            dependencies: ["Scripting", "Events", "CFairlead", .product(name: "Logging", package: "swift-log")],
            swiftSettings: settings
        ),
        .testTarget(
            name: "GatewayTests",
            dependencies: [
                "Gateway", "Broker", "Routes", "Events",
                .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdTesting", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Metrics", package: "swift-metrics"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            swiftSettings: settings
        ),
        // Starts the built program.
        .testTarget(
            name: "SystemTests",
            dependencies: ["fairlead", "Journal"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "BrokerTests",
            dependencies: [
                "Simulation", "Broker", "Filtering", "Journal", "Ledger", "Routes", "Events", "CFairlead",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: settings
        ),
    ],
    cLanguageStandard: .gnu11,
    cxxLanguageStandard: .gnucxx17
)

// `FUZZ=1 swift build --product RoutesFuzz`: the fuzzers, and what they look into instrumented. Nothing else links then.
if Context.environment["FUZZ"] != nil {
    let sanitize = SwiftSetting.unsafeFlags(["-sanitize=fuzzer"])
    for target in package.targets where ["Events", "Filtering", "Routes"].contains(target.name) {
        target.swiftSettings = settings + [sanitize]
    }
    for (name, dependencies) in [("RoutesFuzz", ["Routes", "Events"]), ("FilterFuzz", ["Filtering"])] {
        package.targets.append(
            .executableTarget(
                name: name, dependencies: dependencies.map { .byName(name: $0) }, path: "Tests/Fuzz/\(name)",
                swiftSettings: settings + [sanitize],
                // gold, the default, stumbles over the instrumentation's debug information.
                linkerSettings: [.unsafeFlags(["-sanitize=fuzzer", "-use-ld=lld"])]))
    }
}
