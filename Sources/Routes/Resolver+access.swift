// SPDX-License-Identifier: Apache-2.0

/// Who may do what: tokens, TLS, and where the server listens.
extension Resolver {
    func resolveToken(_ entry: Checked) {
        let name = entry.string(0)
        let source = entry.statement.source
        guard !name.isEmpty else {
            diagnostics.error(
                .badName, "a token's name can't be empty", hint: "logs name who did something by it", in: source,
                entry.values[0].range)
            return
        }
        guard let at = declare(entry, "token", tokenNames[name]) else { return }
        tokenNames[name] = at
        guard case .secret(let secret) = entry.values[1].value else { return }
        var token = TokenRoute(name: name, secret: secret)
        token.place = entry.statement.place
        let block = entry.statement.block ?? Block(statements: [], open: entry.statement.range)
        let lines = check(block.statements, in: .token)
        for line in lines {
            switch line.keyword.name {
            case "publish":
                token.publish = line.values.compactMap { value in
                    if case .name(let topic) = value.value, refusedAsSystem(topic, value.range, source) { return nil }
                    return pattern(value, source)
                }
            case "pull": token.pull = line.values.compactMap { pulled($0, source) }
            case "read": token.read = true
            case "admin": token.admin = true
            default: break
            }
        }
        if block.statements.isEmpty, !block.isDamaged {
            diagnostics.error(
                .missingStatement, "token \"\(Self.shortened(name))\" may do nothing",
                hint: "it needs `publish`, `pull`, `read` or `admin`", in: source, entry.values[0].range)
        }
        refuseWeakSecret(token, entry)
        table.server.tokens.append(token)
    }

    /// Whoever presents a secret is one token, and an empty one would be presented by everybody.
    private func refuseWeakSecret(_ token: TokenRoute, _ entry: Checked) {
        let range = entry.values[1].range
        let source = entry.statement.source
        guard !token.secret.value.isEmpty else {
            guard !reported.contains("\(source.path):\(range.lowerBound)") else { return }
            diagnostics.error(
                .secretMissing, "the secret of token \"\(Self.shortened(token.name))\" is empty",
                hint: "put a long random text there", in: source, range)
            return
        }
        guard let other = tokenSecrets[token.secret.value], let first = tokenNames[other] else {
            tokenSecrets[token.secret.value] = token.name
            return
        }
        diagnostics.error(
            .conflict, "tokens \"\(Self.shortened(other))\" and \"\(Self.shortened(token.name))\" have the same secret",
            hint: "give each its own (the first is at \(first.place))", related: first.related("the first"),
            in: source, range)
    }

    private func pulled(_ value: PlacedBound, _ source: SourceText) -> String? {
        guard case .name(let name) = value.value, isKnown(subscriber: name, value.range, source) else { return nil }
        guard let subscriber = subscriberIndex[name].map({ table.subscribers[$0] }) else { return name }
        let method: String
        switch subscriber.delivery {
        case .pull: return name
        case .run: method = "run"
        case .push: method = "push"
        }
        diagnostics.error(
            .conflict, "subscriber \"\(name)\" is not pulled: it has `\(method)`", hint: "remove it, or make it `pull`",
            related: subscriberNames[name]?.related("the subscriber") ?? [], in: source, value.range)
        return nil
    }

    func resolveTLS(_ entry: Checked) {
        let block = entry.statement.block ?? Block(statements: [], open: entry.statement.range)
        let lines = check(block.statements, in: .tls)
        var tls = TLSRoute(certificate: "", key: "")
        for line in lines {
            if line.keyword.name == "key" { tls.key = line.string(0) } else { tls.certificate = line.string(0) }
        }
        if !block.isDamaged, lines.count == block.statements.count {
            let missing = ["certificate", "key"].filter { name in !lines.contains { $0.keyword.name == name } }
            if !missing.isEmpty {
                diagnostics.error(
                    .missingStatement, "`tls` needs \(missing.map { "`\($0)`" }.joined(separator: " and "))",
                    hint: #"for instance: certificate "cert.pem"; key "key.pem""#, in: entry.statement.source,
                    entry.statement.range)
            }
        }
        table.server.tls = tls
    }

    /// Without tokens, whoever reaches the server may do everything; that is for this machine only.
    func refuseOpenListening(_ checked: [Checked]) {
        guard !table.server.insecure, !HostName.isLoopback(table.server.host),
            let entry = checked.first(where: { $0.keyword.name == "listen" })
        else { return }
        diagnostics.error(
            .unprotected, "anybody who reaches \(table.server.host) may publish, pull and administer",
            hint: "declare a token, listen on 127.0.0.1, or write at the top level: insecure yes",
            in: entry.statement.source, entry.values[0].range)
    }
}
