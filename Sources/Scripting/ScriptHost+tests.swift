// SPDX-License-Identifier: Apache-2.0

import CFairlead
import Events
import Logging

/// How one test of a plugin ended.
package struct PluginTestResult: Hashable, Sendable {
    /// `Plugins/slack_test.lua`
    package var file: String
    /// nil where the file itself could not be loaded.
    package var name: String?
    /// nil: it passed.
    package var problem: PluginProblem?

    package var passed: Bool { problem == nil }
}

extension ScriptHost {
    /// Runs the tests of every `*_test.lua` among `files`, one after the other, in the real sandbox with everything
    /// outside it faked.
    ///
    /// - Parameter files: the plugins' folder as a snapshot, bytes by path relative to it.
    package func runTests(_ files: [String: [UInt8]]) async -> [PluginTestResult] {
        var results: [PluginTestResult] = []
        for path in files.keys.sorted() where path.hasSuffix("_test.lua") {
            results += await runTests(path, files)
        }
        return results
    }

    private func runTests(_ path: String, _ files: [String: [UInt8]]) async -> [PluginTestResult] {
        let file = PluginSource.chunkName(path)
        let bench = PluginTestBench(host: self, files: files)
        let binding = PluginBinding(
            subscriber: "test", source: PluginSource(name: "test", files: files, entry: path),
            cpu: Limits.pluginTestCPU, timeout: Limits.pluginTestTimeout)
        let runner: PluginRunner
        do {
            runner = try await loadTests(binding, bench)
        } catch {
            return error.problems.map { PluginTestResult(file: file, problem: $0) }
        }
        if let problem = await runner.runCase(0) { return [PluginTestResult(file: file, problem: problem)] }
        var results: [PluginTestResult] = []
        for (index, name) in await bench.cases.enumerated() {
            let problem = await runner.runCase(index + 1)
            await bench.reset()
            results.append(PluginTestResult(file: file, name: name, problem: problem))
        }
        return results
    }
}

extension PluginRunner {
    /// Runs a case of a test file; 0 makes it name its cases.
    func runCase(_ index: Int) async -> PluginProblem? {
        await withCheckedContinuation { continuation in
            lane.submit {
                self.run(index) { outcome, trace in
                    switch outcome {
                    case .retry(_, let reason), .dead(let reason), .drop(let reason):
                        continuation.resume(returning: PluginProblem(luaError: reason, trace: trace ?? ""))
                    case .ack, .returned: continuation.resume(returning: nil)
                    }
                }
            }
        }
    }
}
