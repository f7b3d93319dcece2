// SPDX-License-Identifier: Apache-2.0

/// What the compiler asks of the machine.
package protocol RouteSources: Sendable {
    func bytes(of path: String) throws -> [UInt8]
    /// Sorted. `pattern` is joined to the folder of the file that includes it.
    func files(matching pattern: String) throws -> [String]
    func environment(_ name: String) -> String?
    func secret(_ name: String) throws -> String?
}
