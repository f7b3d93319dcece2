// SPDX-License-Identifier: Apache-2.0

import Crypto
import HTTPTypes
import Hummingbird
import NIOCore

/// The dashboard: the files of `Dashboard/`, which are part of the program. They hold no data, so they need no token;
/// what they show comes from `/v1`, which asks for one.
struct Dashboard: Sendable {
    private struct File: Sendable {
        var type: String
        var bytes: ByteBuffer
        var tag: String
    }

    private let files: [String: File]

    init() {
        files = Dictionary(
            uniqueKeysWithValues: Self.contents.map { name, bytes in
                let tag = SHA256.hash(data: bytes).prefix(16).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }
                return (
                    name, File(type: Self.type(of: name), bytes: ByteBuffer(bytes: bytes), tag: "\"\(tag.joined())\"")
                )
            })
    }

    private static let page = "index.html"

    private static var contents: [(name: String, bytes: [UInt8])] {
        [
            (page, PackageResources.index_html),
            ("style.css", PackageResources.style_css),
            ("icon.svg", PackageResources.icon_svg),
            ("app.js", PackageResources.app_js),
            ("api.js", PackageResources.api_js),
            ("dom.js", PackageResources.dom_js),
            ("live.js", PackageResources.live_js),
            ("picture.js", PackageResources.picture_js),
            ("routing.js", PackageResources.routing_js),
            ("subscriber.js", PackageResources.subscriber_js),
            ("dead.js", PackageResources.dead_js),
            ("tail.js", PackageResources.tail_js),
            ("events.js", PackageResources.events_js),
            ("history.js", PackageResources.history_js),
            ("generations.js", PackageResources.generations_js),
        ]
    }

    private static func type(of name: String) -> String {
        switch name.split(separator: ".").last {
        case "html": "text/html; charset=utf-8"
        case "css": "text/css; charset=utf-8"
        case "svg": "image/svg+xml"
        default: "text/javascript; charset=utf-8"
        }
    }

    /// Whether whoever asks is a browser that wants a page.
    static func isWanted(_ exchange: Exchange) -> Bool {
        exchange.headers[values: .accept].contains { $0.contains("text/html") }
    }

    func page(_ exchange: Exchange) throws -> Response { try answer(Self.page, exchange) }

    func file(_ exchange: Exchange) async throws -> Response { try answer(exchange.parameters[0], exchange) }

    private func answer(_ name: String, _ exchange: Exchange) throws -> Response {
        guard let file = files[name] else {
            throw Problem(
                .notFound, type: "not-found", title: "Not found",
                detail: "the dashboard has no file \"\(name.prefix(200))\"; it begins at /")
        }
        var headers = Self.protection
        headers[.contentType] = file.type
        headers[.eTag] = file.tag
        // Asked for again each time, and not sent again while it is the same: an update of the program shows at once.
        headers[.cacheControl] = "no-cache"
        headers[.vary] = "Accept"
        let known = exchange.headers[values: .ifNoneMatch].flatMap { $0.split(separator: ",") }
            .map { $0.trimmingPrefix(while: \.isWhitespace) }
        if known.contains(where: { $0 == file.tag || $0 == "*" }) {
            return Response(status: .notModified, headers: headers)
        }
        return Response(status: .ok, headers: headers, body: ResponseBody(byteBuffer: file.bytes))
    }

    /// Scripts and styles only from files of this server, nothing from or to anywhere else, in nobody's frame; and no text
    /// becomes markup (`require-trusted-types-for`): what events hold is shown, never run.
    private static let protection: HTTPFields = [
        .contentSecurityPolicy: "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
            + "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
            + "require-trusted-types-for 'script'; trusted-types 'none'",
        .xContentTypeOptions: "nosniff",
        .init("Referrer-Policy")!: "no-referrer",
        .init("Cross-Origin-Opener-Policy")!: "same-origin",
        .init("Permissions-Policy")!: "camera=(), geolocation=(), microphone=()",
    ]
}
