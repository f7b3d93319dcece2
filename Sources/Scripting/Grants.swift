// SPDX-License-Identifier: Apache-2.0

import Events

#if canImport(Glibc)
    import Glibc
#endif

/// What one subscriber's plugin may touch, ready to be asked.
struct Grants: Sendable {
    private var hosts: [HostPattern] = []
    private var topics: Set<String> = []
    private var variables: Set<String> = []
    private(set) var mail = false
    /// Folders that may be appended to, as routes.conf names them.
    private(set) var folders: [String] = []

    init(_ grants: [PluginGrant]) {
        for grant in grants {
            switch grant {
            case .mail: mail = true
            case .http(let pattern): hosts.append(HostPattern(pattern))
            case .publish(let topic): topics.insert(topic)
            case .env(let name): variables.insert(name)
            case .file(let folder): folders.append(folder)
            }
        }
    }

    /// What the grants that name the host let it be; nil where none does.
    func reach(to host: String, port: Int) -> OutboundRequest.Reach? {
        let naming = hosts.filter { $0.matches(host: host, port: port) }
        if naming.isEmpty { return nil }
        return naming.contains { $0.isLocal } ? .anywhere : .publicOnly
    }

    /// Whether every host that `pattern` names is granted.
    func coversHTTP(_ pattern: String) -> Bool {
        let wanted = HostPattern(pattern)
        return hosts.contains { $0.covers(wanted) }
    }

    func covers(_ grant: PluginGrant) -> Bool {
        switch grant {
        case .mail: mail
        case .http(let pattern): coversHTTP(pattern)
        case .publish(let topic): allowsPublish(to: topic)
        case .env(let name): allowsVariable(name)
        case .file(let folder): folder.isEmpty ? !folders.isEmpty : folders.contains(folder)
        }
    }

    func allowsPublish(to topic: String) -> Bool { topics.contains(topic) }
    func allowsVariable(_ name: String) -> Bool { variables.contains(name) }
}

/// `hooks.slack.com`, `*.example.com`, `127.0.0.1:9099`, `private:stock.internal:8080`. Without a port, any port.
struct HostPattern: Hashable, Sendable {
    static let localPrefix = "private:"

    /// Whoever wrote it knows that the host is in the local network: it is an address itself, `localhost`, or said to be
    /// private. Any other name stands for a host of the public Internet, whatever its DNS says.
    var isLocal: Bool
    var host: String
    var anySubdomain: Bool
    var port: Int?

    init(_ text: String) {
        var rest = Substring(text.lowercased())
        port = nil
        let isMarked = rest.hasPrefix(Self.localPrefix)
        if isMarked { rest = rest.dropFirst(Self.localPrefix.count) }
        if let colon = rest.lastIndex(of: ":"), let number = Int(rest[rest.index(after: colon)...]),
            !rest[..<colon].contains(":") || rest[..<colon].hasSuffix("]")
        {
            port = number
            rest = rest[..<colon]
        }
        if rest.hasSuffix(".") { rest = rest.dropLast() }
        anySubdomain = rest.hasPrefix("*.")
        host = String(anySubdomain ? rest.dropFirst(2) : rest)
        isLocal = isMarked || host == "localhost" || Self.isAddress(host)
    }

    /// As written in full. Short forms such as `127.1` are names here, and so is what they lead to refused.
    private static func isAddress(_ host: String) -> Bool {
        var block = in6_addr()
        guard host.hasPrefix("["), host.hasSuffix("]") else { return inet_pton(AF_INET, host, &block) == 1 }
        return inet_pton(AF_INET6, String(host.dropFirst().dropLast()), &block) == 1
    }

    func matches(host other: String, port otherPort: Int) -> Bool {
        if let port, port != otherPort { return false }
        return anySubdomain ? other.hasSuffix("." + host) : other == host
    }

    func covers(_ other: HostPattern) -> Bool {
        if let port, port != other.port { return false }
        if other.anySubdomain { return anySubdomain && (other.host == host || other.host.hasSuffix("." + host)) }
        return anySubdomain ? other.host.hasSuffix("." + host) : other.host == host
    }
}

/// The part of a URL that a grant looks at.
struct URLParts: Hashable, Sendable {
    var scheme: String
    /// In lower case; an IPv6 address with its brackets.
    var host: String
    var port: Int

    /// nil where it is no absolute http or https URL. Strict, since a parser that sees another host than the one
    /// that is connected to would open every grant: no user, no backslash, no control characters or blanks.
    init?(_ url: String) {
        guard url.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F && $0 != UInt8(ascii: "\\") }) else { return nil }
        let lower = url.lowercased()
        let rest: Substring
        if lower.hasPrefix("https://") {
            scheme = "https"
            rest = lower.dropFirst(8)
        } else if lower.hasPrefix("http://") {
            scheme = "http"
            rest = lower.dropFirst(7)
        } else {
            return nil
        }
        let authority = rest.prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        guard !authority.isEmpty, !authority.contains("@"), !authority.contains("%") else { return nil }
        port = scheme == "https" ? 443 : 80
        var name = authority
        if authority.hasPrefix("[") {
            guard let close = authority.firstIndex(of: "]") else { return nil }
            name = authority[...close]
            let after = authority[authority.index(after: close)...]
            if !after.isEmpty {
                guard after.hasPrefix(":"), let number = Int(after.dropFirst()) else { return nil }
                port = number
            }
        } else if let colon = authority.firstIndex(of: ":") {
            guard let number = Int(authority[authority.index(after: colon)...]) else { return nil }
            port = number
            name = authority[..<colon]
        }
        guard !name.isEmpty, (1...65_535).contains(port) else { return nil }
        // A trailing dot names the same host.
        host = String(name.hasSuffix(".") ? name.dropLast() : name)
    }

    /// For messages: without the path, which may be a secret.
    var origin: String { "\(scheme)://\(authority)" }

    var authority: String { port == (scheme == "https" ? 443 : 80) ? host : "\(host):\(port)" }
}

extension [PluginGrant] {
    /// Whether all that `grant` names is granted by these.
    package func cover(_ grant: PluginGrant) -> Bool { Grants(self).covers(grant) }
}
