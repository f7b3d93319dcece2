// SPDX-License-Identifier: Apache-2.0

import Testing

/// What the crash harness takes for a breach, so that its silence means something.
struct DeliveryTrailTests {
    private static let keys = ["a": ["a0", "a1", "a2"], "b": ["b0"]]

    /// Each step is `life:id` and a sign: `+` settled, `-` again, `x` dead, `?` unsure.
    private func violations(_ text: String) -> [String] {
        var trail = DeliveryTrail()
        for word in text.split(separator: " ") {
            let parts = word.dropLast().split(separator: ":")
            let outcome: DeliveryTrail.Outcome =
                switch word.last {
                case "+": .settled
                case "-": .again
                case "x": .dead
                default: .unsure
                }
            trail.append(.init(life: String(parts[0]), id: String(parts[1]), outcome: outcome))
        }
        return trail.violations(of: Self.keys)
    }

    @Test(arguments: [
        "1:a0+ 1:b0+ 1:a1+ 1:a2+",
        "1:a0- 1:b0+ 1:a0- 1:a0+ 1:a1x 1:a2+",
        "1:a0+ 1:a1x 1:a1+ 1:a2+ 1:b0+",
        // The kill took the acknowledgements of a1 and a0 with it.
        "1:a0+ 1:a1+ 2:a0+ 2:a1+ 2:a2+ 2:b0+",
        // Nobody knows whether a0 was settled before the kill.
        "1:a0? 2:a1+ 2:a2+ 2:b0+",
        // The endpoint is late in seeing what came before the kill.
        "1:a0+ 2:a0+ 1:a1+ 2:a1+ 2:a2+ 2:b0+",
    ]) func whatAKillMayDoIsNoBreach(_ trail: String) {
        #expect(violations(trail).isEmpty)
    }

    @Test(arguments: [
        ("1:a0+ 1:a2+ 1:a1+ 1:a2+ 1:b0+", "came before number 1 was settled"),
        ("1:a0- 1:a1+ 1:a0+ 1:a1+ 1:a2+ 1:b0+", "came before number 0 was settled"),
        ("1:a0+ 1:a0+ 1:a1+ 1:a2+ 1:b0+", "came after number 0, settled"),
        ("1:a0+ 1:a1+ 2:a0+ 2:a2- 2:a1+ 2:a2+ 2:b0+", "came after number 0, settled"),
        ("1:a0+ 2:a1- 2:a0+ 2:a1+ 2:a2+ 2:b0+", "came after number 1, again"),
        ("1:a0+ 1:a1+ 1:b0+", "key a: 2 of 3 were settled"),
        ("1:a0+ 1:a1+ 1:a2- 1:b0+", "key a: 2 of 3 were settled"),
        ("1:a0+ 1:a1+ 1:a2+ 1:b0+ 1:c0+", "c0 was delivered and is not in the journal"),
    ]) func aGapALeapAndALossAreBreaches(_ trail: String, _ words: String) {
        #expect(violations(trail).contains { $0.contains(words) }, "\(violations(trail))")
    }
}
