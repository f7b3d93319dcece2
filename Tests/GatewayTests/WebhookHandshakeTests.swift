// SPDX-License-Identifier: Apache-2.0

import Events
import HTTPTypes
import Hummingbird
import Routes
import Synchronization
import Testing

@testable import Gateway

/// The consent that an endpoint gives before anything is posted to it, over loopback.
@Suite(.timeLimit(.minutes(1)))
struct WebhookHandshakeTests {
    static func route(_ url: String, origin: String? = "shop.example.com") -> PushRoute {
        var route = PushRoute(url: url)
        route.handshake = PushRoute.Handshake(origin: origin)
        return route
    }

    /// What was asked, and what became of three deliveries, where OPTIONS is answered with `consent`.
    func pushed(
        _ consent: [String: String], status: Int = 200, rate: Rate? = nil, concurrency: Int = 3
    ) async throws -> (asked: [Asked], settled: Settlements) {
        let asked = Collected<Asked>()
        let sender = HTTPClientSender()
        let settled = try await withEndpoint { request in
            asked.add(request)
            guard request.method == "OPTIONS" else { return Response(status: .noContent) }
            var headers = HTTPFields()
            for (name, value) in consent { headers[HTTPField.Name(name)!] = value }
            return Response(status: .init(code: status), headers: headers)
        } _: { url in
            try await WebhookTests.settlements(
                of: WebhookTests.deliveries(3), Self.route(url), sender, rate: rate, concurrency: concurrency)
        }
        try await sender.shutdown()
        return (asked.all, settled)
    }

    @Test(arguments: [
        (["webhook-allowed-origin": "*"], 200), (["webhook-allowed-origin": "Shop.Example.com"], 405),
        (["webhook-allowed-origin": "a.b, shop.example.com", "webhook-allowed-rate": "*"], 204),
    ])
    func whoConsentsIsSentEverythingAndToldWhoSends(_ consent: [String: String], _ status: Int) async throws {
        let (asked, settled) = try await pushed(consent, status: status)
        #expect(asked.map(\.method) == ["OPTIONS", "POST", "POST", "POST"])
        #expect(asked.allSatisfy { $0.headers["webhook-request-origin"] == "shop.example.com" })
        #expect(asked.allSatisfy { $0.path == "/hook" })
        #expect(asked[0].headers["webhook-request-rate"] == nil)
        #expect(settled.acks.count == 3)
        #expect(settled.allowance == EndpointAllowance(requestsPerMinute: nil))
    }

    @Test(arguments: [
        (
            [:],
            "the endpoint answered 200 to OPTIONS without WebHook-Allowed-Origin: it has not consented; without `handshake` it isn't asked"
        ),
        (
            ["webhook-allowed-origin": "other.example.com"],
            #"the endpoint allows events from "other.example.com", and not from "shop.example.com""#
        ),
        (
            ["webhook-allowed-origin": "*", "webhook-allowed-rate": "0"],
            #"the endpoint allows events at a rate of "0", which is no number per minute"#
        ),
    ])
    func whoDoesNotConsentIsSentNothing(_ consent: [String: String], _ reason: String) async throws {
        let (asked, settled) = try await pushed(consent)
        #expect(asked.map(\.method) == ["OPTIONS"])
        #expect(settled.others.map(\.outcome) == Array(repeating: .retry(after: nil, reason: reason), count: 3))
        #expect(settled.others.map(\.endpoint) == [.refusing, .refusing, .refusing])
    }

    @Test func aRateThatIsAllowedIsHandedOnBeforeAnythingIsSent() async throws {
        let (asked, settled) = try await pushed(
            ["webhook-allowed-origin": "*", "webhook-allowed-rate": "120"], rate: Rate(count: 5, per: .seconds(1)))
        #expect(asked.map(\.method) == ["OPTIONS"])
        #expect(asked[0].headers["webhook-request-rate"] == "300")
        #expect(settled.allowance == EndpointAllowance(requestsPerMinute: 120))
        #expect(settled.others.map(\.outcome) == [.returned, .returned, .returned])
    }

    @Test func whoStopsWhileItAsksGivesBackWhatWaits() async throws {
        let gate = Gate()
        let sender = FakeSender { _ throws(OutboundFailure) in
            await gate.pass()
            throw .timeout
        }
        let settled = Collected<Settlements>()
        let destination = try WebhookDestination(
            subscriber: "s", route: Self.route("http://x"), timeout: .seconds(60), concurrency: 1, sender: sender,
            clock: FixedClock())
        destination.start { settled.add($0) }
        destination.deliver(WebhookTests.deliveries(2))
        await until { gate.waiting == 1 }
        async let stopped: Void = destination.stop(.reload, deadline: .seconds(60))
        await until { !settled.all.isEmpty }
        gate.open()
        await stopped
        #expect(settled.all.flatMap(\.others).map(\.outcome) == [.returned, .returned])
    }
}
