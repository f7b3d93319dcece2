// SPDX-License-Identifier: Apache-2.0

import Crypto
package import Events

/// Signs what is posted, after Standard Webhooks 1.0.0 (https://www.standardwebhooks.com), scheme v1.
package struct WebhookSignature: Sendable {
    private let key: SymmetricKey

    /// `whsec_` and base64, or any other text, whose bytes are the key then; nil where it is empty or the base64 is
    /// broken.
    package init?(secret: String) {
        let prefix = "whsec_"
        if secret.hasPrefix(prefix) {
            guard let bytes = Base64.decode(String(secret.dropFirst(prefix.count)), paddingRequired: false),
                !bytes.isEmpty
            else { return nil }
            key = SymmetricKey(data: bytes)
        } else {
            guard !secret.isEmpty else { return nil }
            key = SymmetricKey(data: Array(secret.utf8))
        }
    }

    /// `v1,` and the HMAC-SHA256 of `id.timestamp.body` in base64; `timestamp` in whole seconds since 1970.
    package func sign(id: String, timestamp: Int64, body: [UInt8]) -> String {
        var authentication = HMAC<SHA256>(key: key)
        authentication.update(data: Array("\(id).\(timestamp).".utf8))
        authentication.update(data: body)
        return "v1," + Base64.encode(authentication.finalize())
    }

    /// The same for each attempt at a delivery and different for every other delivery, so that an endpoint can tell a
    /// repetition; without dots, and not of the publisher's making.
    package static func id(subscriber: String, delivery: DeliveryID) -> String {
        let digest = SHA256.hash(data: Array("\(subscriber)\u{0}\(delivery.topic.name)\u{0}\(delivery.offset)".utf8))
        return "msg_" + digest.prefix(16).map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined()
    }
}
