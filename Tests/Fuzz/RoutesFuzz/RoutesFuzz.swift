// SPDX-License-Identifier: Apache-2.0

import Events
import Routes

// For libFuzzer: routes.conf of any bytes. A trap, or a text that the formatter changes twice or otherwise than in
// its layout, is a find. The formatter's own check must never have to hold it back where the text was right.

private struct OneFile: RouteSources {
    struct Missing: Error {}

    var content: [UInt8]

    func bytes(of path: String) throws -> [UInt8] {
        guard path == "routes.conf" else { throw Missing() }
        return content
    }
    func files(matching pattern: String) throws -> [String] { [] }
    func environment(_ name: String) -> String? { name.hasPrefix("A") ? "1s" : nil }
    func secret(_ name: String) throws -> String? { name.hasPrefix("A") ? "secret" : nil }
}

private func compile(_ bytes: [UInt8]) -> RouteTable? {
    let compiled = RouteCompiler.compile("routes.conf", from: OneFile(content: bytes), strictEnvironment: false)
    for diagnostic in compiled.diagnostics { precondition(!diagnostic.description.isEmpty) }
    return compiled.table
}

private func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = Array(UnsafeBufferPointer(start: start, count: count))
    let table = compile(bytes)
    let once = RouteFormatter.format(bytes)
    let twice = RouteFormatter.format(once.bytes)
    precondition(twice.bytes == once.bytes, "formatted twice is not formatted once")
    guard let table else { return 0 }
    precondition(once.refusal == nil, "a right text was held back: \(once.refusal ?? "")")
    let formatted = compile(once.bytes)
    precondition(formatted != nil, "a right text became wrong")
    precondition(formatted?.subscribers.map(\.fingerprint) == table.subscribers.map(\.fingerprint))
    precondition(formatted.map { RouteDiff(from: table, to: $0).isEmpty } == true, "the table changed")
    return 0
}

/// SwiftPM gives the program's entry a name of its own, so that libFuzzer's `main` can't be it.
@_silgen_name("LLVMFuzzerRunDriver")
private func runDriver(
    _ count: UnsafeMutablePointer<CInt>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
    _ callback: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt

@main struct RoutesFuzz {
    static func main() {
        var count = CommandLine.argc
        var arguments = CommandLine.unsafeArgv
        _ = runDriver(&count, &arguments, { fuzz($0, $1) })
    }
}
