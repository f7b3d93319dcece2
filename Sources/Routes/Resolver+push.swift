// SPDX-License-Identifier: Apache-2.0

import Events

extension Resolver {
    /// One line of a `push` block.
    func apply(_ part: Checked, to push: inout PushRoute, _ origins: inout [String: SettingOrigin]) {
        let keyword = part.keyword.name
        origins[keyword == "header" ? "header \(part.string(0))" : keyword] = .line(part.statement.place)
        switch keyword {
        case "sign":
            push.signing = part.values.compactMap {
                if case .secret(let secret) = $0.value { secret } else { nil }
            }
        case "header": header(part, &push)
        case "mode": mode(part, &push)
        case "handshake": handshake(part, &push)
        case "breaker": breaker(part, &push)
        default: break
        }
    }

    private func mode(_ part: Checked, _ push: inout PushRoute) {
        push.mode = part.string(0) == "structured" ? .structured : .binary
        guard push.mode == .binary, push.batch != nil else { return }
        diagnostics.error(
            .conflict, "`batch` sends JSON arrays of events, which `mode binary` has no form for",
            hint: "remove one of the two", in: part.statement.source, part.values[0].range)
    }

    private func handshake(_ part: Checked, _ push: inout PushRoute) {
        guard case .string(let origin) = part.values[0].value else {
            push.handshake = part.string(0) == "yes" ? PushRoute.Handshake() : nil
            return
        }
        push.handshake = PushRoute.Handshake(origin: origin)
        let isName =
            !origin.isEmpty && origin.utf8.count <= Limits.hostNameBytesMax
            && origin.utf8.allSatisfy {
                switch $0 {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"):
                    true
                default: false
                }
            }
        if !isName {
            diagnostics.error(
                .wrongArgument, "\"\(Self.shortened(origin))\" is no host name",
                hint: "write the name by which the endpoint knows you, such as \"events.example.com\"",
                in: part.statement.source, part.values[0].range)
        }
    }

    private func breaker(_ part: Checked, _ push: inout PushRoute) {
        guard case .integer(let failures) = part.values[0].value else {
            push.breaker = nil
            return
        }
        var breaker = BreakerPolicy()
        breaker.failures = failures
        if part.values.count > 4 {
            breaker.first = part.duration(2)
            breaker.last = part.duration(4)
            if breaker.first < Limits.breakerProbeMin {
                diagnostics.error(
                    .outOfRange, "probes come at least \(DurationText.format(Limits.breakerProbeMin)) apart",
                    in: part.statement.source, part.values[2].range)
            } else if breaker.last < breaker.first {
                diagnostics.error(
                    .outOfRange, "the longest time between probes is shorter than the first",
                    hint: "write the shorter one first", in: part.statement.source, part.values[4].range)
            }
        }
        push.breaker = breaker
    }

    private func header(_ part: Checked, _ push: inout PushRoute) {
        let name = part.string(0)
        let isToken =
            !name.isEmpty && name.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && !#"(),/:;<=>?@[\]{}""#.utf8.contains($0) }
        guard isToken else {
            diagnostics.error(
                .wrongArgument, "\"\(Self.shortened(name))\" can't be a header's name", in: part.statement.source,
                part.values[0].range)
            return
        }
        if case .string(let text) = part.values[1].value {
            // What came from outside may be a secret.
            let outside = origin(of: part.statement.arguments[1])
            push.headers[name] = outside.map { .secret(Secret(name: $0, value: text)) } ?? .string(text)
        }
        if case .secret(let secret) = part.values[1].value { push.headers[name] = .secret(secret) }
    }
}
