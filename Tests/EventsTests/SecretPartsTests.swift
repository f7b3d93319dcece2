// SPDX-License-Identifier: Apache-2.0

import Events
import Testing

struct SecretPartsTests {
    @Test(arguments: [
        ("s3cret", ["s3cret"]), ("Bearer 0123456789abcdef", ["Bearer 0123456789abcdef", "0123456789abcdef"]),
        ("https://hooks.example.com", ["https://hooks.example.com"]),
        (
            "https://hooks.example.com/services/T0/0123456789ab?key=abcdefghijklmnop",
            [
                "https://hooks.example.com/services/T0/0123456789ab?key=abcdefghijklmnop",
                "/services/T0/0123456789ab?key=abcdefghijklmnop", "abcdefghijklmnop", "0123456789ab",
            ]
        ),
    ])
    func whatGivesASecretAwayIsAllOfItAndItsLongWords(_ secret: String, _ parts: [String]) {
        #expect(SecretParts.of(secret) == parts)
    }

    @Test(arguments: [
        ("404: no /services/T0/0123456789ab here", "404: no NAME here"), ("404: no 0123456789ab", "404: no NAME"),
        ("404: cut off in /services/T0/01234", "404: cut off in NAME"),
        ("404: cut off in 012345", "404: cut off in NAME"),
        ("POST https://hooks.example.com: 404", "POST https://hooks.example.com: 404"),
        ("no connection to https://hooks.example.com", "no connection to https://hooks.example.com"),
    ])
    func whateverOfItIsQuotedItsNameStandsThere(_ text: String, _ hidden: String) {
        let secret = "https://hooks.example.com/services/T0/0123456789ab"
        #expect(SecretParts.hide(secret, in: text, as: "NAME") == hidden)
    }
}
