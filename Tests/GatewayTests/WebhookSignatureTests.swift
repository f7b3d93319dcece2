// SPDX-License-Identifier: Apache-2.0

import Crypto
import Events
import Gateway
import Testing

/// The vectors are those of Standard Webhooks 1.0.0.
struct WebhookSignatureTests {
    static let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    static let pair = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
    static let publicKey = "1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
    static let body = Array(#"{"test": 2432232314}"#.utf8)

    @Test func signaturesAreThoseOfTheStandard() throws {
        let signature = try #require(WebhookSignature(secret: Self.secret))
        #expect(
            try signature.sign(
                id: "msg_p5jXN8AQM9LWM0D4loKWxJek", timestamp: 1_614_265_330, body: Array(#"{"test": 2432232314}"#.utf8)
            )
                == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
    }

    @Test func aSecretMayLackItsPadding() throws {
        let body = Array("x".utf8)
        let padded = try #require(WebhookSignature(secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS="))
        let bare = try #require(WebhookSignature(secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS"))
        #expect(try padded.sign(id: "a", timestamp: 1, body: body) == bare.sign(id: "a", timestamp: 1, body: body))
    }

    /// Computed with Python's hmac.
    @Test func aSecretMayBePlainText() throws {
        let signature = try #require(WebhookSignature(secret: "Jefe"))
        #expect(
            try signature.sign(id: "msg_1", timestamp: 1, body: Array("x".utf8))
                == "v1,8Ali5r9Pb4bQh7AS85XHQfjhYzR0I3Tepdj5FBXFlMY=")
    }

    @Test func keyPairsSignAsTheStandardsDo() throws {
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek"
        let signature = try #require(WebhookSignature(secret: Self.pair))
        let text = try signature.sign(id: id, timestamp: 1_614_265_330, body: Self.body)
        #expect(
            text
                == "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==")

        let key = try Curve25519.Signing.PublicKey(
            rawRepresentation: try #require(Base64.decode(Self.publicKey, paddingRequired: true)))
        let bytes = try #require(Base64.decode(String(text.dropFirst(4)), paddingRequired: true))
        let signed = Array("\(id).1614265330.".utf8) + Self.body
        #expect(key.isValidSignature(bytes, for: signed))
        #expect(!key.isValidSignature(bytes, for: signed + [0]))
    }

    @Test func theSeedAloneIsAKeyPairToo() throws {
        let both = try #require(Base64.decode(String(Self.pair.dropFirst(5)), paddingRequired: true))
        let seed = try #require(WebhookSignature(secret: "whsk_" + Base64.encode(both.prefix(32))))
        let pair = try #require(WebhookSignature(secret: Self.pair))
        #expect(
            try seed.sign(id: "a", timestamp: 1, body: [1]) == pair.sign(id: "a", timestamp: 1, body: [1]))
    }

    @Test(arguments: [
        "", "whsec_", "whsec_***", "whsk_", "whsk_***", "whsk_AAAA", "whpk_" + publicKey,
        // The public key of another pair.
        "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvw==",
    ])
    func aSecretThatCantSignIsRefused(_ secret: String) {
        #expect(WebhookSignature(secret: secret) == nil)
    }

    @Test func idsAreStableAndHaveNoDots() {
        func id(_ subscriber: String, _ offsets: Offset...) -> String {
            WebhookSignature.id(
                subscriber: subscriber,
                deliveries: offsets.map { DeliveryID(topic: .named("orders.eu"), offset: $0) })
        }
        #expect(id("a.b", 7) == id("a.b", 7))
        #expect(id("a.b", 7).hasPrefix("msg_") && !id("a.b", 7).contains(".") && id("a.b", 7).utf8.count == 36)
        let all = [id("a.b", 7), id("a.c", 7), id("a.b", 8), id("a.b", 7, 8), id("a.b", 8, 7)]
        #expect(Set(all).count == all.count)
    }
}
