// SPDX-License-Identifier: Apache-2.0

import Crypto
package import Events

/// Signs what is posted, after Standard Webhooks 1.0.0 (https://www.standardwebhooks.com): scheme v1 with a shared
/// secret, v1a with a key pair.
package struct WebhookSignature: Sendable {
    private let key: Key

    private enum Key: Sendable {
        case shared(SymmetricKey)
        case pair(Curve25519.Signing.PrivateKey)
    }

    /// What a secret looks like that can sign.
    package static let forms = "whsec_ and base64, whsk_ and the base64 of an ed25519 key, or any other text"

    /// `whsec_` and base64; `whsk_` and the base64 of an ed25519 seed, alone or with the public key behind it; or any
    /// other text, whose bytes are the shared secret then. nil where it is empty, the base64 is broken, the two keys are
    /// no pair, or it is a public key (`whpk_`), which can't sign.
    package init?(secret: String) {
        if let bytes = Self.decode(secret, prefix: "whsec_") {
            guard let bytes, !bytes.isEmpty else { return nil }
            key = .shared(SymmetricKey(data: bytes))
        } else if let bytes = Self.decode(secret, prefix: "whsk_") {
            guard let bytes, let pair = Self.pair(bytes) else { return nil }
            key = .pair(pair)
        } else {
            guard !secret.isEmpty, !secret.hasPrefix("whpk_") else { return nil }
            key = .shared(SymmetricKey(data: Array(secret.utf8)))
        }
    }

    private static func decode(_ secret: String, prefix: String) -> [UInt8]?? {
        guard secret.hasPrefix(prefix) else { return nil }
        return .some(Base64.decode(String(secret.dropFirst(prefix.count)), paddingRequired: false).map(Array.init))
    }

    private static func pair(_ bytes: [UInt8]) -> Curve25519.Signing.PrivateKey? {
        let seedBytes = 32
        guard bytes.count == seedBytes || bytes.count == 2 * seedBytes,
            let pair = try? Curve25519.Signing.PrivateKey(rawRepresentation: bytes.prefix(seedBytes))
        else { return nil }
        let publicKey = bytes.dropFirst(seedBytes)
        return publicKey.isEmpty || Array(pair.publicKey.rawRepresentation) == Array(publicKey) ? pair : nil
    }

    /// `v1,` and the HMAC-SHA256, or `v1a,` and the ed25519 signature, of `id.timestamp.body` in base64; `timestamp` in
    /// whole seconds since 1970.
    package func sign(id: String, timestamp: Int64, body: [UInt8]) throws -> String {
        let head = Array("\(id).\(timestamp).".utf8)
        switch key {
        case .shared(let key):
            var authentication = HMAC<SHA256>(key: key)
            authentication.update(data: head)
            authentication.update(data: body)
            return "v1," + Base64.encode(authentication.finalize())
        case .pair(let key): return "v1a," + Base64.encode(try key.signature(for: head + body))
        }
    }

    /// Names the request: the same for each attempt at a delivery and different for every other delivery, so that an
    /// endpoint can tell a repetition; without dots, and not of the publisher's making. Of a batch, the same where it
    /// holds the same deliveries.
    package static func id(subscriber: String, deliveries: some Sequence<DeliveryID>) -> String {
        var hash = SHA256()
        hash.update(data: Array(subscriber.utf8))
        for delivery in deliveries {
            hash.update(data: Array("\u{0}\(delivery.topic.name)\u{0}\(delivery.offset)".utf8))
        }
        return "msg_" + hash.finalize().prefix(16).hexadecimal
    }
}
