// SPDX-License-Identifier: Apache-2.0

package import Events
package import Logging

/// What the host gives to plugins, from outside; a test gives fakes.
package struct ScriptServices: Sendable {
    /// Asked from lane threads, which may block. Must show a settlement's writes once the sink has called ``Settlements/whenTaken``.
    package var state: any StateReader
    package var http: any HTTPSender
    package var mail: any MailSender
    package var files: any FileAppending
    package var clock: any Clock
    package var logger: Logger
    /// A variable of the process's environment.
    package var environment: @Sendable (String) -> String?
    /// Takes `ctx.metric(name, amount)` of a subscriber.
    package var metric: @Sendable (_ subscriber: String, _ name: String, _ amount: Double) -> Void

    /// After how long a topic drops events that somebody has not settled; nil where it doesn't, or that isn't known.
    package var kept: @Sendable (_ topic: String) -> Duration? = { _ in nil }

    /// Set in tests of plugins: moves their clock in place of sleeping.
    var advance: (@Sendable (Duration) -> Void)?

    package init(
        state: any StateReader, http: any HTTPSender, mail: any MailSender, files: any FileAppending, clock: any Clock,
        logger: Logger,
        environment: @escaping @Sendable (String) -> String?,
        metric: @escaping @Sendable (_ subscriber: String, _ name: String, _ amount: Double) -> Void
    ) {
        self.state = state
        self.http = http
        self.mail = mail
        self.files = files
        self.clock = clock
        self.logger = logger
        self.environment = environment
        self.metric = metric
    }
}
