// SPDX-License-Identifier: Apache-2.0

import Events
import Testing

@testable import Scripting

/// What a grant lets a plugin reach, beyond the host's name.
@Suite(.timeLimit(.minutes(1)))
struct HTTPGrantTests {
    private func harness(_ body: String, _ grants: [String], settings: [PluginSetting] = []) async throws -> Harness {
        try await Harness(
            "return function(event, ctx) \(body) end", settings: settings, grants: grants.map { .http($0) })
    }

    /// A name's addresses are whatever its DNS says; only a grant that says so lets it be a local one.
    @Test(arguments: [
        ("hooks.slack.com", "https://hooks.slack.com/x", OutboundRequest.Reach.publicOnly),
        ("*.example.com", "https://a.example.com/", .publicOnly),
        ("stock.internal:8080", "http://stock.internal:8080/", .publicOnly),
        // A short form of 127.0.0.1 is a name here.
        ("127.1", "http://127.1/", .publicOnly),
        ("2130706433", "http://2130706433/", .publicOnly),
        ("localhost.example.com", "http://localhost.example.com/", .publicOnly),
        ("localhost", "http://localhost:9099/", .anywhere),
        ("127.0.0.1:9099", "http://127.0.0.1:9099/", .anywhere),
        ("10.0.0.5:8080", "http://10.0.0.5:8080/", .anywhere),
        ("[::1]:9099", "http://[::1]:9099/", .anywhere),
        ("private:stock.internal:8080", "http://stock.internal:8080/", .anywhere),
        ("private:*.internal", "http://stock.internal/", .anywhere),
    ])
    func aGrantSaysWhetherTheHostMayBeLocal(
        _ grant: String, _ url: String, _ reach: OutboundRequest.Reach
    ) async throws {
        let harness = try await harness("ctx.http.get('\(url)')", [grant])
        #expect(await harness.run().outcome == .ack)
        #expect(harness.services.http.requests.map(\.reach) == [reach])
    }

    @Test func aPrivateGrantIsForItsPortOnly() async throws {
        let harness = try await harness("ctx.http.get('http://stock.internal:81/')", ["private:stock.internal:80"])
        #expect(await harness.run().outcome != .ack)
        #expect(harness.services.http.requests.isEmpty)
    }

    @Test func aNameThatLeadsToALocalAddressIsADeadLetterThatSaysWhatToWrite() async throws {
        let harness = try await harness("ctx.http.get('http://stock.example:8080/')", ["stock.example:8080"])
        harness.services.http.respond { _ throws(OutboundFailure) in
            throw .localAddress(host: "http://stock.example:8080", address: "10.0.0.5")
        }
        #expect(
            await harness.run().outcome
                == .dead(
                    reason:
                        "Plugins/test.lua:1: GET http://stock.example:8080: refused, as its name leads to the local address "
                        + "10.0.0.5; if it is meant to, write `allow http \"private:stock.example:8080\"`"))
    }

    @Test func aBodyBeyondTheLimitIsNotSent() async throws {
        let harness = try await harness(
            "ctx.http.post('http://127.0.0.1/', {body = ('x'):rep(4 * 1024 * 1024 + event.data.more)})", ["127.0.0.1"])
        #expect(await harness.run(#"{"more":0}"#).outcome == .ack)
        guard case .retry(nil, let reason) = await harness.run(#"{"more":1}"#).outcome else {
            Issue.record("it was sent")
            return
        }
        #expect(reason.hasSuffix("ctx.http: the body is 4194305 bytes; the limit is 4194304"), "\(reason)")
        #expect(harness.services.http.requests.count == 1)
    }

    @Test func aResponseBeyondTheLimitIsADeadLetter() async throws {
        let harness = try await harness("ctx.http.get('http://127.0.0.1/')", ["127.0.0.1"])
        harness.services.http.respond { request throws(OutboundFailure) in
            throw .responseTooLarge(limit: request.responseBytesMax)
        }
        #expect(
            await harness.run().outcome
                == .dead(
                    reason: "Plugins/test.lua:1: GET http://127.0.0.1: the response is larger than 1048576 bytes"))
    }

    /// A server that quotes the request in its error must not get the secret into state, events or mails.
    @Test func theMessageOfAFailureHasNoSecretWhereverItIsKept() async throws {
        let services = FakeServices()
        services.http.respond(500, "bad token s3cr3t-value")
        let harness = try await Harness(
            """
            return function(event, ctx)
              local ok, err = pcall(ctx.http.get, "http://127.0.0.1/", {headers = {authorization = ctx.config.token}})
              ctx.state.put("error", tostring(err))
              ctx.publish("errors", {error = err.message})
              ctx.mail.send{to = "a@example.com", text = "failed: " .. err}
            end
            """, settings: [PluginSetting("token", .secret(name: "API_TOKEN", value: "s3cr3t-value"))],
            grants: [.http("127.0.0.1"), .publish("errors"), .mail], services: services)
        let settlement = await harness.run()
        #expect(settlement.outcome == .ack)
        let kept = try #require(services.state["error"])
        #expect(kept.contains("bad token secret(API_TOKEN)"), "\(kept)")
        let event = try #require(settlement.effects?.publications.first?.event)
        #expect(!String(decoding: event.data.bytes, as: UTF8.self).contains("s3cr3t"))
        #expect(services.mail.messages.first?.text?.contains("s3cr3t") == false)
    }

    @Test func aSecretThatWasWrittenDownIsKeptLikeOne() async throws {
        let services = FakeServices()
        services.http.respond(500, "bad token s3cr3t-value")
        let harness = try await Harness(
            """
            return {
              config = { token = { type = "secret" } },
              handle = function(event, ctx)
                ctx.http.get("http://127.0.0.1/", { headers = { authorization = ctx.config.token } })
              end,
            }
            """, settings: [PluginSetting("token", .string("s3cr3t-value"))], grants: [.http("127.0.0.1")],
            services: services)
        guard case .retry(_, let reason) = await harness.run().outcome else {
            Issue.record("it was no retry")
            return
        }
        #expect(reason.contains("bad token secret(setting)"), "\(reason)")
    }

    @Test func aRedirectIsAnAnswerAndNotFollowed() async throws {
        let harness = try await harness("ctx.http.get('http://127.0.0.1/')", ["127.0.0.1", "localhost"])
        harness.services.http.respond(302, "", headers: [("location", "http://localhost/")])
        #expect(await harness.run().outcome == .dead(reason: "Plugins/test.lua:1: GET http://127.0.0.1: 302"))
        #expect(harness.services.http.requests.count == 1)
    }
}
