// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// The exit codes of every command; `ExitCode.success` and `.failure` are 0 and 1, and ArgumentParser's own 64 means
/// wrong usage.
extension ExitCode {
    /// The input was refused.
    static let refused = ExitCode(2)
    /// What was asked for takes a restart.
    static let needsRestart = ExitCode(3)
    /// It was not done in time, and nothing has changed.
    static let timedOut = ExitCode(4)
    /// `EX_CONFIG` of sysexits.h: the server can't start with this configuration.
    static let badConfiguration = ExitCode(78)
}
