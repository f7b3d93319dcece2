// SPDX-License-Identifier: Apache-2.0

/// What may stand behind a keyword.
indirect enum Shape: Sendable {
    case one(ArgumentType)
    /// One or more, with commas between them.
    case many(ArgumentType)
    case word(String)
    case sequence([Shape])
    case optional(Shape)
    case choice([Shape])

    /// As the manual writes it.
    var text: String {
        switch self {
        case .one(let type): type.symbol
        case .many(let type): "\(type.symbol), …"
        case .word(let word): word
        case .sequence(let shapes): shapes.map(\.text).joined(separator: " ")
        case .optional(let shape): "[\(shape.text)]"
        case .choice(let shapes): shapes.map(\.alternativeText).joined(separator: " | ")
        }
    }

    /// As one of several.
    private var alternativeText: String {
        guard case .sequence(let shapes) = self else { return text }
        return shapes.map { shape in
            if case .choice = shape { "(\(shape.text))" } else { shape.text }
        }.joined(separator: " ")
    }
}

enum ArgumentType: Hashable, Sendable {
    /// Of a subscriber, policy, plugin or `let`.
    case name
    case topicName, topicPattern
    case string, text, url
    case duration, size, rate, percent, time
    case integer(ClosedRange<Int>)
    case secret, keyPath, address, environmentName
    /// Anything a setting may be.
    case value

    /// As a sentence says what is expected.
    var name: String {
        switch self {
        case .name: "a name"
        case .topicName: "a topic's name"
        case .topicPattern: "a topic"
        case .string, .text: "a text in quotes"
        case .url: "a URL in quotes"
        case .duration: "a duration such as 30s"
        case .size: "a size such as 16MiB"
        case .rate: "a rate such as 50/s"
        case .percent: "a percentage such as 20%"
        case .time: #"a time such as "2026-03-09T14:05:00Z""#
        case .integer: "a number"
        case .secret: #"secret("NAME")"#
        case .keyPath: "a path such as data.order_id"
        case .address: "an address such as 127.0.0.1:8080"
        case .environmentName: "a variable's name"
        case .value: "a value"
        }
    }

    var symbol: String {
        switch self {
        case .name: "NAME"
        case .topicName: "TOPIC"
        case .topicPattern: "PATTERN"
        case .string: "STRING"
        case .text: "TEXT"
        case .url: "URL"
        case .duration: "DURATION"
        case .size: "SIZE"
        case .rate: "RATE"
        case .percent: "PERCENT"
        case .time: "TIME"
        case .integer: "NUMBER"
        case .secret: "SECRET"
        case .keyPath: "PATH"
        case .address: "ADDRESS"
        case .environmentName: "VARIABLE"
        case .value: "VALUE"
        }
    }
}

/// An argument that fits its type.
enum Bound {
    case word(String)
    case name(String)
    case string(String)
    case duration(Duration)
    case size(Int)
    case rate(Rate)
    case percent(Int)
    case integer(Int)
    case secret(Secret)
    case keyPath(TopicRoute.KeyPath)
    case address(String, Int)
    case setting(SettingValue)
}

struct PlacedBound {
    var value: Bound
    var range: Range<Int>
}

/// Matches arguments against a shape, and remembers how far it got and what would have fitted there.
struct ShapeMatch {
    enum Refusal {
        /// Of another type altogether; another choice may still fit.
        case otherType
        /// Nearly right: this is the message to give.
        case bad(DiagnosticCode, String, hint: String?)
        /// Reported already.
        case reported
    }

    enum Reading {
        case value(Bound)
        case refused(Refusal)
    }

    let arguments: [Argument]
    let read: (Argument, ArgumentType) -> Reading
    private(set) var bound: [PlacedBound] = []
    /// The furthest argument that did not fit, and what was expected there.
    private(set) var furthest = 0
    private(set) var expected: [String] = []
    private(set) var refusal: Refusal?

    init(_ arguments: [Argument], read: @escaping (Argument, ArgumentType) -> Reading) {
        self.arguments = arguments
        self.read = read
    }

    /// Matches from argument `at` on; returns the place behind, or nil.
    mutating func match(_ shape: Shape, _ at: Int) -> Int? {
        switch shape {
        case .one(let type): return one(type, at)
        case .many(let type):
            guard var next = one(type, at) else { return nil }
            while next < arguments.count, arguments[next].followsComma {
                guard let after = one(type, next) else { return nil }
                next = after
            }
            if next < arguments.count { expect("`,`", next, nil) }
            return next
        case .word(let word):
            if at < arguments.count, case .word(word) = arguments[at].value {
                bound.append(PlacedBound(value: .word(word), range: arguments[at].range))
                return at + 1
            }
            expect("`\(word)`", at, nil)
            return nil
        case .sequence(let shapes):
            var next = at
            for shape in shapes {
                guard let after = match(shape, next) else { return nil }
                next = after
            }
            return next
        case .optional(let shape):
            let before = bound.count
            if let next = match(shape, at) { return next }
            bound.removeSubrange(before...)
            return at
        case .choice(let shapes):
            let before = bound.count
            for shape in shapes {
                if let next = match(shape, at) { return next }
                bound.removeSubrange(before...)
            }
            return nil
        }
    }

    private mutating func one(_ type: ArgumentType, _ at: Int) -> Int? {
        guard at < arguments.count else {
            expect(type.name, at, nil)
            return nil
        }
        switch read(arguments[at], type) {
        case .value(let value):
            bound.append(PlacedBound(value: value, range: arguments[at].range))
            return at + 1
        case .refused(.otherType):
            expect(type.name, at, nil)
        case .refused(let refusal):
            expect(type.name, at, refusal)
        }
        return nil
    }

    private mutating func expect(_ what: String, _ at: Int, _ refusal: Refusal?) {
        if at > furthest {
            furthest = at
            expected = []
            self.refusal = nil
        }
        guard at == furthest else { return }
        if !expected.contains(what) { expected.append(what) }
        if self.refusal == nil { self.refusal = refusal }
    }
}
