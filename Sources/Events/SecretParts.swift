// SPDX-License-Identifier: Apache-2.0

/// What gives a secret away when somebody quotes it. Whoever is asked for a URL sees what stands behind its host, and says so in
/// a refusal; whoever is sent `Bearer …` may quote the second word.
package enum SecretParts {
    /// All of `secret`, then its telling parts, the longest first.
    package static func of(_ secret: String) -> [String] {
        var words = Substring(secret)
        var parts: [String] = []
        if let scheme = secret.firstRange(of: "://") {
            let host = secret[scheme.upperBound...].prefix { !"/?#".contains($0) }
            words = secret[host.endIndex...]
            parts.append(String(words))
        }
        parts += words.split { " /?&=#".contains($0) }.map(String.init)
        return [secret]
            + parts.filter { $0.utf8.count >= Limits.secretPartBytesMin && $0 != secret }
            .sorted { $0.utf8.count > $1.utf8.count }
    }

    /// `text` with `name` in the place of the secret and its parts.
    package static func hide(_ secret: String, in text: String, as name: String) -> String {
        of(secret).reduce(text) { text, part in
            let text = text.replacing(part, with: name)
            // A URL's beginning is no secret.
            guard !part.contains("://"), let cut = cutOff(part, at: text) else { return text }
            return text.dropLast(cut) + name
        }
    }

    /// How many characters of `part` the text ends in: an excerpt may stop in the middle of a secret.
    private static func cutOff(_ part: String, at text: String) -> Int? {
        stride(from: part.count - 1, through: Limits.secretCutCharactersMin, by: -1).first {
            text.hasSuffix(part.prefix($0))
        }
    }
}
