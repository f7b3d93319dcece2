// SPDX-License-Identifier: Apache-2.0

import Events
import Ledger
import Routes
import Scripting

/// One side of a rehearsal: what a configuration says, with its plugins' files.
struct RehearsedGeneration {
    /// As the report calls it.
    var name: String
    var table: RouteTable
    var folder: PluginFolder

    /// A candidate on disk, checked as `fairlead check` does: a missing secret doesn't refuse it, as nothing is sent.
    ///
    /// - Returns: nil where it is refused; `findings` say why.
    static func candidate(_ config: String) -> (side: RehearsedGeneration?, findings: [Finding]) {
        let checked = Check.check(config, strictEnvironment: false)
        guard let table = checked.table else { return (nil, checked.findings) }
        do {
            let folder = try PluginFolder(GenerationBuilder.path(table.server.plugins, besides: config))
            return (RehearsedGeneration(name: config, table: table, folder: folder), checked.findings)
        } catch {
            return (nil, checked.findings + [Finding(.plugin(error.description))])
        }
    }

    /// One that ran, from the files in the ledger, with variables and secrets as they are here and now.
    static func stored(_ generation: LedgerGeneration, _ ledger: LedgerReader) throws(Failure) -> RehearsedGeneration {
        let files = try ledger.files(of: generation)
        let details = generation.details
        let compiled = RouteCompiler.compile(
            details.config, from: StoredSources(files: files), strictEnvironment: false)
        guard let table = compiled.table else {
            throw Failure(
                .notFound,
                "the files of generation \(generation.number) can't be read any more"
                    + (compiled.diagnostics.first.map { ": \($0.message)" } ?? "")
                    + "; name another with --against, one of `fairlead generations`")
        }
        let path = GenerationBuilder.path(table.server.plugins, besides: details.config)
        var plugins: [String: [UInt8]] = [:]
        for (name, bytes) in files where name.hasPrefix(path + "/") {
            plugins[String(name.dropFirst(path.count + 1))] = bytes
        }
        return RehearsedGeneration(
            name: "generation \(generation.number)", table: table, folder: PluginFolder(path: path, files: plugins))
    }

    func fingerprint(of route: SubscriberRoute) -> String { GenerationBuilder.fingerprint(of: route, in: folder) }
}

extension PluginFolder {
    /// A folder as it was.
    init(path: String, files: [String: [UInt8]]) {
        self.path = path
        self.files = files
    }
}
