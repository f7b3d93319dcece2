// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

@main
struct Fairlead: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fairlead",
        abstract: "An event router: topics in routes.conf, subscribers in Lua.",
        discussion: """
            Publishers send events to topics. routes.conf says who gets which, and subscribers are Lua scripts in \
            Plugins/, HTTP endpoints that are pushed to, or clients that pull.

            Exit codes: 0 done, 1 failed, 2 refused (bad input), 3 needs a restart, 4 not done in time, 64 usage, \
            78 bad configuration at start.
            """,
        version: version,
        subcommands: [
            Serve.self, Check.self, Fmt.self, Test.self, Explain.self, Run.self, Plugin.self, Plan.self, Rehearse.self,
            Reload.self, Rollback.self,
            Publish.self, Pull.self, Tail.self, Status.self, Why.self, Generations.self,
            Dead.self, State.self, OpenAPICommand.self, AsyncAPICommand.self,
            Replay.self, Import.self, Pause.self, Resume.self, Forget.self, Verify.self, Doctor.self, Sink.self,
            Bench.self,
        ])

    static let version = "0.1.0"
}
