// SPDX-License-Identifier: Apache-2.0

import Events
import HTTPTypes
package import Hummingbird
import Logging
import NIOHTTP1

/// Finds who handles a request, and makes of every refusal a problem document.
package struct GatewayResponder: HTTPResponder {
    package typealias Context = BasicRequestContext

    let endpoints: [Endpoint]
    let access: AccessControl
    let idempotency: Idempotency
    let metrics: GatewayMetrics
    let logger: Logger

    package func respond(to request: Request, context: BasicRequestContext) async throws -> Response {
        let began = ContinuousClock.now
        var route = "none"
        var response: Response
        do {
            let (endpoint, parameters) = try find(request)
            route = endpoint.path
            try CrossSite.check(request.head)
            try access.check(request.headers[.authorization], endpoint.need, parameters.first)
            response = try await idempotency.answer(Exchange(request: request, parameters: parameters), by: endpoint)
        } catch let problem as Problem {
            response = problem.response
        } catch let failure as Failure {
            response = Problem(failure).response
        } catch let error as any HTTPResponseError {
            response = Problem(error.status, type: "malformed", title: "Malformed request", detail: "\(error)").response
        } catch is CancellationError {
            var problem = Problem(
                .serviceUnavailable, type: "stopping", title: "Stopping",
                detail: "the server is stopping; try again after a moment")
            problem.headers[.retryAfter] = String(Limits.retryAfterSeconds)
            response = problem.response
        } catch let error as HTTPParserError {
            // The bytes are no HTTP: the server answers and closes.
            throw error
        } catch {
            // The client has gone away in the middle of its body, or something is wrong with us.
            logger.warning("Request failed", metadata: ["route": "\(route)", "error": "\(error)"])
            response =
                Problem(
                    .internalServerError, type: "internal", title: "Internal error",
                    detail: "the request failed; the server's log says why"
                ).response
        }
        if request.method == .head { response.body = ResponseBody() }
        metrics.answered(method: request.method, route: route, status: response.status, after: .now - began)
        return response
    }

    private func find(_ request: Request) throws -> (Endpoint, [String]) {
        let path = request.uri.path
        let segments = path.split(separator: "/")
        let method = request.method == .head ? .get : request.method
        var allowed: [HTTPRequest.Method] = []
        // `/v1/dead/redrive` is no dead letter, whatever the method: what a path says outright stands before what it may
        // stand for in the table, and rules that out.
        var isLiteral = false
        for endpoint in endpoints {
            guard let encoded = endpoint.parameters(in: segments), encoded.isEmpty || !isLiteral else { continue }
            if encoded.isEmpty { isLiteral = true }
            guard endpoint.method == method else {
                allowed.append(endpoint.method)
                continue
            }
            let parameters = try encoded.map { part in
                guard let text = PercentText.decode(part) else {
                    throw Problem.malformed("the path isn't percent-encoded UTF-8")
                }
                return text
            }
            return (endpoint, parameters)
        }
        guard allowed.isEmpty else {
            let names = allowed.map(\.rawValue).sorted().joined(separator: ", ")
            var problem = Problem(
                .methodNotAllowed, type: "method-not-allowed", title: "Method not allowed",
                detail: "\(request.method.rawValue) isn't answered here; use \(names)")
            problem.headers[.allow] = names
            throw problem
        }
        throw Problem(
            .notFound, type: "not-found", title: "Not found",
            detail: "nothing is at \(path.prefix(200)); GET / lists what there is")
    }
}
