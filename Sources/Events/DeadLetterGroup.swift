// SPDX-License-Identifier: Apache-2.0

/// What dead letters have in common that failed in the same way: the place in the script, and the reason without what
/// differs from event to event.
package struct DeadLetterGroup: Hashable, Sendable {
    /// Sixteen hexadecimal digits, the same for the same failure over restarts and reloads.
    package var id: String
    /// `slack.lua:14`, where a script failed.
    package var place: String?

    package init(id: String, place: String?) {
        self.id = id
        self.place = place
    }

    package init(reason: String, trace: String?) {
        place = trace.flatMap(Self.place) ?? Self.place(in: reason)
        var hash = FNV1a()
        hash.add(place ?? "")
        hash.add("\n")
        hash.add(Self.normalised(reason))
        id = hash.hexadecimal
    }

    /// The reason with numbers, identifiers and quoted text taken out.
    package static func normalised(_ reason: String) -> String {
        var text = ""
        var word = ""
        var quote: Character?
        func endWord() {
            // An identifier: a UUID, an order's number, a timestamp, a hash.
            text += word.contains(where: \.isNumber) ? "#" : word
            word = ""
        }
        for character in reason.prefix(Limits.groupedReasonCharacters) {
            if let open = quote {
                if character == open {
                    quote = nil
                    text += "…\(open)"
                }
            } else if character == "\"" {
                endWord()
                quote = character
                text.append(character)
            } else if character.isLetter || character.isNumber || character == "-" || character == "_" {
                word.append(character)
            } else {
                endWord()
                text.append(character)
            }
        }
        endWord()
        return text
    }

    /// The first `file.lua:line` there is.
    private static func place(in text: String) -> String? {
        guard let found = text.firstRange(of: #/[A-Za-z0-9_.\/-]+\.lua:[0-9]+/#) else { return nil }
        return String(text[found])
    }

    /// http://www.isthe.com/chongo/tech/comp/fnv/, 64 bits.
    private struct FNV1a {
        private var value: UInt64 = 0xCBF2_9CE4_8422_2325

        mutating func add(_ text: String) {
            for byte in text.utf8 { value = (value ^ UInt64(byte)) &* 0x100_0000_01B3 }
        }

        var hexadecimal: String {
            let digits = String(value, radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }
    }
}
