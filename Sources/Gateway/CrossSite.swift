// SPDX-License-Identifier: Apache-2.0

import HTTPTypes

/// Refuses what another site's page makes a browser send. A page that somebody reads on the server's machine could
/// otherwise pause subscribers, as loopback asks for no token.
enum CrossSite {
    static func check(_ request: HTTPRequest) throws(Problem) {
        guard request.method != .get, request.method != .head else { return }
        let isForeign =
            if let origin = request.headerFields[.origin] {
                authority(ofOrigin: origin) != (request.authority ?? "").lowercased()
            } else {
                request.headerFields[.secFetchSite] == "cross-site"
            }
        guard isForeign else { return }
        throw Problem(
            .forbidden, type: "cross-site", title: "Forbidden",
            detail:
                "the request was sent by a page of another site (\(request.headerFields[.origin]?.prefix(200) ?? "unknown")); "
                + "programs that are no browser leave the Origin header out")
    }

    /// `https://shop.example:8443` → `shop.example:8443`; `null` is nobody.
    private static func authority(ofOrigin origin: String) -> String? {
        guard let range = origin.firstRange(of: "://") else { return nil }
        return origin[range.upperBound...].lowercased()
    }
}

extension HTTPField.Name {
    fileprivate static let secFetchSite = Self("Sec-Fetch-Site")!
}
