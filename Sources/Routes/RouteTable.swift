// SPDX-License-Identifier: Apache-2.0

package import Events
package import Filtering

/// What routes.conf and its includes say, checked and resolved: every name refers to something, every default is
/// filled in. Immutable. Whatever depends on the machine (plugins on disk, the environment) has been read by whoever
/// gave the resolver its sources.
package struct RouteTable: Sendable {
    package var server = ServerSettings()
    package var mail: MailSettings = .directory("data/mail")
    /// By declaration. System topics (`$dead`, `$config`, `$alert`) are always there, with defaults where not declared.
    package var topics: [TopicRoute] = []
    package var subscribers: [SubscriberRoute] = []
    package var tests: [RouteTest] = []
    package var keep = KeepSettings()

    package init() {}
}

/// How long what happened is remembered.
package struct KeepSettings: Hashable, Sendable {
    package var attempts: Duration = .seconds(7 * 86_400)
    /// nil keeps dead letters until somebody deals with them.
    package var dead: Duration?

    package init() {}
}

/// The server itself. What doesn't say otherwise can change only by a restart.
package struct ServerSettings: Hashable, Sendable {
    package var host = "127.0.0.1"
    package var port = 8080
    /// The data folder; relative to the folder of routes.conf.
    package var data = "data"
    /// The folder of plugins; relative to the folder of routes.conf. May change by reload.
    package var plugins = "Plugins"
    /// Whether it may listen beyond loopback without a token.
    package var insecure = false
    /// nil serves plain HTTP.
    package var tls: TLSRoute?
    /// By declaration; none lets everybody in. May change by reload.
    package var tokens: [TokenRoute] = []
    /// Bytes of one event, as publishers send it. May change by reload.
    package var eventBytesMax = Limits.eventBytesMax

    package init() {}
}

/// A client's token and what it may do: at least one of the scopes.
package struct TokenRoute: Hashable, Sendable {
    package var name: String
    package var secret: Secret
    /// Topics that it may publish to; patterns never mean system topics.
    package var publish: [TopicPattern] = []
    /// Names of pull subscribers.
    package var pull: [String] = []
    package var read = false
    package var admin = false
    package var place: Place?

    package init(name: String, secret: Secret) {
        self.name = name
        self.secret = secret
    }
}

/// PEM files; relative to the folder of routes.conf.
package struct TLSRoute: Hashable, Sendable {
    package var certificate: String
    package var key: String

    package init(certificate: String, key: String) {
        self.certificate = certificate
        self.key = key
    }
}

package enum MailSettings: Hashable, Sendable {
    /// Each message becomes one `.eml` file there.
    case directory(String)
    case smtp(host: String, port: Int, user: String?, password: Secret?, from: String?)
}

/// A value that may be used and never shown.
package struct Secret: Hashable, Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// The name in `secret("NAME")`.
    package var name: String
    package var value: String

    package init(name: String, value: String) {
        self.name = name
        self.value = value
    }

    package var description: String { "secret(\"\(name)\")" }
    package var debugDescription: String { description }
    package var customMirror: Mirror { Mirror(self, children: ["name": name]) }
}

package struct TopicRoute: Hashable, Sendable {
    package var name: String
    /// nil keeps for ever.
    package var retainAge: Duration?
    package var retainBytes: Int?
    /// What a subscriber has not settled stays, whatever its age and size (`unless unsettled`).
    package var keepsUnsettled = false
    /// Of its `retain` line.
    package var retainPlace: Place?
    package var key: KeyPath?
    /// How long an equal (source, id) is taken for the same event; nil: never.
    package var dedupe: Duration?
    /// nil syncs before every 202; otherwise at least this often (`sync interval 1s`).
    package var syncInterval: Duration?
    package var place: Place?

    package init(name: String) {
        self.name = name
    }

    /// `key data.order_id` or `key subject`.
    package enum KeyPath: Hashable, Sendable {
        case attribute(String)
        case data(DataPath)
    }
}

package struct SubscriberRoute: Sendable {
    package var name: String
    package var from: [TopicPattern]
    /// nil takes everything.
    package var filter: Filter?
    package var delivery: DeliveryMethod
    package var retry = RetryPolicy()
    /// Deliveries in flight at once. For pull: leases.
    package var concurrency = 1
    package var rate: Rate?
    package var ordered = false
    /// Nothing is delivered before it has lain this long.
    package var deliverAfter: Duration?
    /// Nothing is delivered once it has lain this long.
    package var ttl: Duration?
    package var start: StartPosition = .latest
    package var grants: [Grant] = []
    package var limits = PluginLimits()
    package var paused = false
    package var onDead: DeadAction = .keep
    package var onBadReload: BadReloadAction = .rollback
    /// The subscriber whose cursor this one takes over (`was old_name`).
    package var was: String?
    package var place: Place?
    /// Equal where the block, after expansion, says the same; used to tell what a reload changes. Layout and comments
    /// don't count. Secrets count by value.
    package var fingerprint: String = ""
    /// Where settings come from, by keyword (`rate`; within blocks `attempts`, `backoff`, `timeout`, `cpu`, `memory`,
    /// `lease`, `sign`), and by name where there are several (`allow mail`, `header X-Shop`). What is not here is a default. No part of the fingerprint.
    package var origins: [String: SettingOrigin] = [:]
    /// Whether replays to this subscriber are refused (`replay deny`).
    package var refusesReplay = false

    package init(name: String, from: [TopicPattern], filter: Filter?, delivery: DeliveryMethod) {
        self.name = name
        self.from = from
        self.filter = filter
        self.delivery = delivery
    }

    package func takes(from topic: Topic) -> Bool {
        from.contains { $0.matches(topic.name) }
    }
}

/// What follows a dead letter, which is kept in any case.
package enum DeadAction: Hashable, Sendable {
    case keep
    /// The subscriber pauses.
    case pause
    /// The event is published to this topic as well.
    case publish(String)
}

/// What follows where a reload changed a subscriber and its first deliveries fail.
package enum BadReloadAction: String, Hashable, Sendable {
    /// It goes back to what it was before.
    case rollback
    /// It pauses.
    case pause
    /// It is reported.
    case keep
}

package enum DeliveryMethod: Sendable {
    /// Lua. With `batch`, the handler takes up to `count` events every `every`.
    case run(plugin: String, settings: [Setting], batch: BatchPolicy?)
    case push(PushRoute)
    case pull(lease: Duration)
}

package struct BatchPolicy: Hashable, Sendable {
    package var count: Int
    package var every: Duration

    package init(count: Int, every: Duration) {
        self.count = count
        self.every = every
    }
}

package struct PushRoute: Hashable, Sendable {
    package var url: String
    /// Signing secrets, current first (Standard Webhooks `whsec_…`); more than one while rotating.
    package var signing: [Secret] = []
    /// Extra request headers.
    package var headers: [String: SettingValue] = [:]
    package var mode: ContentMode = .binary
    package var handshake: Handshake?
    /// nil: never opens.
    package var breaker: BreakerPolicy? = BreakerPolicy()
    /// nil: each event is a request of its own.
    package var batch: BatchPolicy?

    package init(url: String) {
        self.url = url
    }

    /// How one event fills a request (CloudEvents HTTP binding).
    package enum ContentMode: String, Hashable, Sendable {
        /// Attributes in headers, the data as the body.
        case binary
        /// All of it as one JSON object.
        case structured
    }

    /// The endpoint is asked for consent before anything is posted to it.
    package struct Handshake: Hashable, Sendable {
        /// Who asks; nil: this host's name.
        package var origin: String?

        package init(origin: String? = nil) {
            self.origin = origin
        }
    }
}

/// When an endpoint counts as down, and how it is tried then.
package struct BreakerPolicy: Hashable, Sendable {
    /// Failures in a row.
    package var failures = 10
    /// Time until the first probe; doubles with each that fails, up to `last`.
    package var first: Duration = .seconds(5)
    package var last: Duration = .seconds(300)

    package init() {}
}

/// One line of a plugin's settings block, still untyped: the plugin's own `config` says what it should be.
package struct Setting: Hashable, Sendable {
    package var name: String
    package var value: SettingValue
    package var place: Place?

    package init(name: String, value: SettingValue, place: Place? = nil) {
        self.name = name
        self.value = value
        self.place = place
    }
}

package indirect enum SettingValue: Hashable, Sendable {
    case string(String)
    /// A bare word: a topic's name, an enum's case.
    case name(String)
    case integer(Int64)
    case number(Double)
    case boolean(Bool)
    case duration(Duration)
    /// Bytes.
    case size(Int)
    case rate(Rate)
    case percent(Int)
    case secret(Secret)
    case list([SettingValue])
    case block([Setting])
    /// What a variable or a file held, and the `env("…")` or `file("…")` that is shown in its place.
    case read(String, SettingValue)
}

package struct RetryPolicy: Hashable, Sendable {
    /// nil: without end.
    package var attempts: Int? = 8
    package var backoff: Backoff = .exponential(from: .seconds(1), to: .seconds(600))
    /// Spread on either side of each delay.
    package var jitterPercent = 20
    /// Longest that one attempt may take.
    package var timeout: Duration = .seconds(10)

    package init() {}

    package enum Backoff: Hashable, Sendable {
        case constant(Duration)
        /// Doubles from the first to the second.
        case exponential(from: Duration, to: Duration)
    }
}

package struct Rate: Hashable, Sendable {
    package var count: Int
    package var per: Duration

    package init(count: Int, per: Duration) {
        self.count = count
        self.per = per
    }

    /// As in routes.conf: `50/s`; nil where the text is no rate, or one of nothing.
    package init?(text: String) {
        guard case .value(let rate) = Quantity.rate(text), rate.count > 0 else { return nil }
        self = rate
    }

    package var perSecond: Double { Double(count) / max(0.001, per.seconds) }
}

package enum StartPosition: Hashable, Sendable {
    case earliest
    case latest
    case offset(Offset)
    case time(Timestamp)
}

/// Something that a plugin may touch: one `allow` line each.
package enum Grant: Hashable, Sendable {
    case mail
    /// A host name, `*.example.com`, with an optional port.
    case http(String)
    case publish(String)
    case env(String)
    /// A folder that may be appended to.
    case file(String)
}

package struct PluginLimits: Hashable, Sendable {
    /// Processor time of one event.
    package var cpu: Duration = .milliseconds(100)
    /// Bytes of one subscriber's Lua state.
    package var memory = 32 << 20

    package init() {}
}

/// `orders`, `orders.*` (one segment), `**` (all but system topics).
package struct TopicPattern: Hashable, Sendable {
    package var text: String
    package var place: Place?

    package init(_ text: String, place: Place? = nil) {
        self.text = text
        self.place = place
    }

    package static func == (a: TopicPattern, b: TopicPattern) -> Bool { a.text == b.text }
    package func hash(into hasher: inout Hasher) { hasher.combine(text) }
}

/// Where the value of a setting comes from.
package enum SettingOrigin: Hashable, Sendable, CustomStringConvertible {
    case standard
    case line(Place)
    /// A line of the named retry policy.
    case policy(String, Place)

    package var description: String {
        switch self {
        case .standard: "default"
        case .line(let place): place.description
        case .policy(let name, let place): "retry \(name), \(place)"
        }
    }
}

/// An in-file `test` block.
package struct RouteTest: Sendable {
    package var name: String
    package var publications: [(topic: String, event: Event)]
    package var expected: [String]
    package var rejected: [String]
    package var place: Place?

    package init(
        name: String, publications: [(topic: String, event: Event)], expected: [String], rejected: [String],
        place: Place? = nil
    ) {
        self.name = name
        self.publications = publications
        self.expected = expected
        self.rejected = rejected
        self.place = place
    }
}

/// Where something stands in a file; line and column from 1.
package struct Place: Hashable, Sendable, CustomStringConvertible {
    package var file: String
    package var line: Int
    package var column: Int

    package init(file: String, line: Int, column: Int) {
        self.file = file
        self.line = line
        self.column = column
    }

    package var description: String { "\(file):\(line):\(column)" }
}
