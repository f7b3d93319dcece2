// SPDX-License-Identifier: Apache-2.0

import Filtering

// For libFuzzer: a filter of any bytes. A trap, or a canonical text that is no filter or another one, is a find.

private func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = Array(UnsafeBufferPointer(start: start, count: count))
    for isStatement in [false, true] {
        var parser = FilterParser(bytes, from: 0, isStatement: isStatement)
        do {
            let filter = Filter(try parser.parse())
            precondition(parser.end <= bytes.count)
            // The canonical form may be longer than a filter may be written.
            guard filter.text.utf8.count < 4_000 else { continue }
            let again = try? Filter.parse(filter.text)
            precondition(again == filter, "\(filter.text) is read as \(again?.text ?? "nothing")")
        } catch {
            precondition(!error.description.isEmpty)
            precondition(error.range.upperBound <= bytes.count)
        }
    }
    return 0
}

/// SwiftPM gives the program's entry a name of its own, so that libFuzzer's `main` can't be it.
@_silgen_name("LLVMFuzzerRunDriver")
private func runDriver(
    _ count: UnsafeMutablePointer<CInt>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
    _ callback: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt

@main struct FilterFuzz {
    static func main() {
        var count = CommandLine.argc
        var arguments = CommandLine.unsafeArgv
        _ = runDriver(&count, &arguments, { fuzz($0, $1) })
    }
}
