// SPDX-License-Identifier: Apache-2.0

import Events

/// The description of the HTTP API in OpenAPI 3.1, made from the table ``operations``; a test compares that with what
/// the server answers.
package enum OpenAPI {
    /// One line of the table.
    struct Operation {
        var method: String
        /// As the endpoint has it.
        var path: String
        var summary: String
        /// Query parameters: name, schema, and what it is for.
        var query: [(name: String, schema: Schema, about: String)] = []
        /// Media types and schemas of the body; empty where none is read.
        var body: [(type: String, schema: Schema)] = []
        /// nil is a success without a body.
        var answer: (status: Int, type: String?, schema: Schema)
        /// Whether it is answered without a token.
        var isOpen = false
        /// Whether an `Idempotency-Key` counts.
        var isRepeatable = false
    }

    enum Schema {
        /// Of ``OpenAPI/schemas``.
        case named(String)
        case text(StaticString)

        var json: JSONValue {
            switch self {
            case .named(let name): .object(["$ref": .string("#/components/schemas/\(name)")])
            case .text(let text): .literal(text)
            }
        }
    }

    package static func document(version: String) -> [UInt8] {
        var paths: [String: [String: JSONValue]] = [:]
        for operation in operations {
            paths[operation.path, default: [:]][operation.method.lowercased()] = describe(operation)
        }
        let document: JSONValue = .object([
            "openapi": .string("3.1.0"),
            "info": .object([
                "title": .string("Fairlead"), "version": .string(version),
                "description": .string(
                    "An event router: publish to topics, subscribers get what routes.conf says. Every refusal is an "
                        + "application/problem+json document (RFC 9457) that says what was wrong and what to do."),
                "license": .object(["name": .string("Apache-2.0"), "identifier": .string("Apache-2.0")]),
            ]),
            "servers": .array([.object(["url": .string("/")])]),
            "security": .array([.object(["token": .array([])])]),
            "paths": .object(paths.mapValues { .object($0) }),
            "components": .object([
                "securitySchemes": .literal(
                    #"{"token":{"type":"http","scheme":"bearer","description":"A token of routes.conf. Where it declares none, no token is asked for."}}"#
                ),
                "responses": .literal(
                    ##"{"Problem":{"description":"Refused, and why","content":{"application/problem+json":{"schema":{"$ref":"#/components/schemas/Problem"}}}}}"##
                ),
                "schemas": .object(schemas),
            ]),
        ])
        var bytes: [UInt8] = []
        document.append(to: &bytes)
        return bytes
    }

    private static func describe(_ operation: Operation) -> JSONValue {
        var parameters: [JSONValue] = operation.path.split(separator: "/").filter { $0.hasPrefix("{") }.map { part in
            let name = String(part.dropFirst().dropLast())
            let isNumber = name == "run" || name == "number" || (name == "id" && !operation.path.contains("/events/"))
            return parameter(
                name, in: "path", isNumber ? .named("Number") : .text(#"{"type":"string","minLength":1}"#), "")
        }
        parameters += operation.query.map { parameter($0.name, in: "query", $0.schema, $0.about) }
        if operation.isRepeatable {
            parameters.append(
                parameter(
                    "Idempotency-Key", in: "header",
                    .text(#"{"type":"string","minLength":1,"maxLength":255,"pattern":"^[!-~]+$"}"#),
                    "The same key with the same body gets the first answer again, for a day."))
        }
        var members: [String: JSONValue] = [
            "summary": .string(operation.summary),
            "operationId": .string(name(of: operation)),
            "responses": .object([
                "\(operation.answer.status)": .object(
                    ["description": .string("Done")].merging(
                        operation.answer.type.map { ["content": content([($0, operation.answer.schema)])] } ?? [:]
                    ) { $1 }),
                "default": .object(["$ref": .string("#/components/responses/Problem")]),
            ]),
        ]
        if !parameters.isEmpty { members["parameters"] = .array(parameters) }
        if !operation.body.isEmpty { members["requestBody"] = .object(["content": content(operation.body)]) }
        if operation.isOpen { members["security"] = .array([]) }
        return .object(members)
    }

    private static func content(_ content: [(type: String, schema: Schema)]) -> JSONValue {
        .object(
            Dictionary(uniqueKeysWithValues: content.map { ($0.type, .object(["schema": $0.schema.json])) }))
    }

    private static func parameter(_ name: String, in place: String, _ schema: Schema, _ about: String) -> JSONValue {
        var members: [String: JSONValue] = ["name": .string(name), "in": .string(place), "schema": schema.json]
        if place == "path" { members["required"] = .boolean(true) }
        if !about.isEmpty { members["description"] = .string(about) }
        return .object(members)
    }

    /// `POST /v1/topics/{topic}/events` → `post_topics_topic_events`.
    private static func name(of operation: Operation) -> String {
        let parts = operation.path.split(separator: "/").filter { $0 != "v1" }
            .map { $0.filter { $0 != "{" && $0 != "}" }.replacing(".", with: "_") }
        return ([operation.method.lowercased()] + parts).joined(separator: "_")
    }
}
