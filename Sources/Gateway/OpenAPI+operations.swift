// SPDX-License-Identifier: Apache-2.0

import Events

extension OpenAPI {
    // Of a request, a member that may be left out may as well be null.
    private static let json = "application/json"
    private static let lines: Schema = .text(#"{"description":"A JSON text on each line."}"#)
    private static let string: Schema = .text(#"{"type":"string"}"#)
    private static let limit = (
        name: "limit", schema: Schema.text(#"{"type":"integer","minimum":1}"#),
        about: "How many at most; beyond 1000 it is 1000."
    )
    private static let filter = (
        name: "where", schema: string, about: "A filter as a `where` line of routes.conf has it."
    )
    private static let event: [(name: String, schema: Schema, about: String)] = [
        ("source", string, "Of several events with this id, the one of this source."),
        ("topic", string, "Of several events with this id, the one in this topic."),
    ]

    /// What is answered, in the order of the endpoints.
    static let operations: [Operation] = [
        Operation(
            method: "POST", path: "/v1/topics/{topic}/events",
            summary: "Publish one event or several; a batch is accepted as a whole or not at all.",
            query: [
                ("type", string, "The type of plain JSON; else it is the topic's name."),
                ("source", string, "The source of plain JSON."), ("subject", string, "The subject of plain JSON."),
                ("deliverafter", string, "Deliver it then: a duration or a time."),
                ("expirytime", string, "Don't deliver it from then on: a duration or a time."),
            ],
            body: [
                ("application/cloudevents+json", .named("Event")),
                (
                    "application/cloudevents-batch+json",
                    .text(##"{"type":"array","items":{"$ref":"#/components/schemas/Event"}}"##)
                ),
                (json, .text("{}")), ("application/x-ndjson", lines),
            ], answer: (202, json, .named("Published"))),
        Operation(
            method: "POST", path: "/v1/subscribers/{name}/pull", summary: "Lease events that wait.",
            body: [(json, .named("PullRequest"))], answer: (200, json, .named("Deliveries"))),
        Operation(
            method: "POST", path: "/v1/subscribers/{name}/settle", summary: "Say what became of leased events.",
            body: [(json, .named("Settlements"))], answer: (200, json, .named("SettlementResults"))),
        Operation(
            method: "GET", path: "/v1/subscribers/{name}/failures",
            summary: "A subscriber's last failed attempts, the newest first.", query: [limit],
            answer: (
                200, json,
                .text(#"{"type":"object","required":["failures"],"properties":{"failures":{"type":"array"}}}"#)
            )),
        Operation(
            method: "GET", path: "/v1/subscribers/{name}/state", summary: "What a subscriber's plugin keeps.",
            query: [limit, ("prefix", string, "Of the keys."), ("after", string, "The key to go on behind.")],
            answer: (
                200, json, .text(#"{"type":"object","required":["entries"],"properties":{"entries":{"type":"array"}}}"#)
            )),
        Operation(
            method: "GET", path: "/v1/subscribers/{name}/state/{key}", summary: "One value that a plugin keeps.",
            answer: (200, json, .text("{}"))),
        Operation(
            method: "PUT", path: "/v1/subscribers/{name}/state/{key}", summary: "Change a value that a plugin keeps.",
            body: [(json, .text("{}"))], answer: (204, nil, .text("{}"))),
        Operation(
            method: "DELETE", path: "/v1/subscribers/{name}/state/{key}",
            summary: "Remove a value that a plugin keeps.",
            answer: (204, nil, .text("{}"))),
        Operation(
            method: "POST", path: "/v1/subscribers/{name}/replay",
            summary: "Deliver what was published before once more.",
            body: [(json, .named("Replay"))], answer: (202, json, .named("History")), isRepeatable: true),
        Operation(
            method: "GET", path: "/v1/subscribers/{name}/replays", summary: "A subscriber's replays and imports.",
            answer: (
                200, json,
                .text(
                    ##"{"type":"object","required":["replays"],"properties":{"replays":{"type":"array","items":{"$ref":"#/components/schemas/History"}}}}"##
                )
            )),
        Operation(
            method: "GET", path: "/v1/subscribers/{name}/replays/{id}", summary: "How a replay or an import goes.",
            answer: (200, json, .named("History"))),
        Operation(
            method: "DELETE", path: "/v1/subscribers/{name}/replays/{id}", summary: "End a replay or an import.",
            answer: (200, json, .named("History"))),
        Operation(
            method: "POST", path: "/v1/subscribers/{name}/imports",
            summary: "Begin an import for one subscriber, or find the one of the same contents.",
            body: [(json, .named("Import"))], answer: (202, json, .named("History")), isRepeatable: true),
        Operation(
            method: "POST", path: "/v1/subscribers/{name}/imports/{id}", summary: "Events of an import, one a line.",
            query: [
                ("at", .named("Number"), "How many are in already."),
                ("type", string, "The type of plain JSON; else it is the topic's name."),
            ],
            body: [("application/x-ndjson", lines)],
            answer: (
                202, json,
                .text(
                    ##"{"type":"object","required":["taken"],"properties":{"taken":{"$ref":"#/components/schemas/Number"}}}"##
                )
            ),
            isRepeatable: true),
        Operation(
            method: "POST", path: "/v1/subscribers/{name}/imports/{id}/complete",
            summary: "Say that an import is whole.",
            body: [
                (
                    json,
                    .text(
                        ##"{"type":"object","required":["events"],"additionalProperties":false,"properties":{"events":{"$ref":"#/components/schemas/Number"}}}"##
                    )
                )
            ],
            answer: (200, json, .named("History")), isRepeatable: true),
        Operation(
            method: "GET", path: "/v1/topics/{topic}/events", summary: "A topic's events as they stand, one a line.",
            query: [
                ("from", .named("Number"), "The first offset."),
                ("max", .text(#"{"type":"integer","minimum":1}"#), "How many at most."),
                ("wait", .named("Wait"), "How long to wait for the first."), filter,
            ],
            answer: (200, "application/x-ndjson", string)),
        Operation(
            method: "GET", path: "/v1/topics", summary: "Topics.",
            answer: (200, json, .text(#"{"type":"object","required":["topics"]}"#))),
        Operation(
            method: "GET", path: "/v1/subscribers", summary: "Subscribers.",
            answer: (200, json, .text(#"{"type":"object","required":["subscribers"]}"#))),
        Operation(
            method: "GET", path: "/v1/status", summary: "What is running.", answer: (200, json, .named("Status"))),
        Operation(
            method: "GET", path: "/v1/live", summary: "The status once a second, as server-sent events.",
            answer: (200, "text/event-stream", string)),
        Operation(
            method: "GET", path: "/v1/routing", summary: "What is routed where.",
            answer: (200, json, .text(#"{"type":"object","required":["generation","topics","subscribers"]}"#))),
        Operation(
            method: "GET", path: "/v1/plugins", summary: "Plugins in use.",
            answer: (200, json, .text(#"{"type":"object","required":["plugins"]}"#))),
        Operation(
            method: "GET", path: "/v1/dead", summary: "Dead letters, the newest first.",
            query: letters + [limit, ("before", .named("Number"), "The number to go on below.")],
            answer: (
                200, json,
                .text(
                    ##"{"type":"object","required":["dead"],"properties":{"dead":{"type":"array","items":{"$ref":"#/components/schemas/DeadLetter"}}}}"##
                )
            )),
        Operation(
            method: "GET", path: "/v1/dead/groups", summary: "Dead letters by what they have in common.",
            query: letters,
            answer: (
                200, json, .text(#"{"type":"object","required":["groups"],"properties":{"groups":{"type":"array"}}}"#)
            )),
        Operation(
            method: "POST", path: "/v1/dead/redrive", summary: "Send dead letters again.",
            body: [(json, .named("Redrive"))], answer: (202, json, .named("RedriveRun")), isRepeatable: true),
        Operation(
            method: "POST", path: "/v1/dead/discard", summary: "Give dead letters up for good.",
            body: [(json, .named("Discard"))],
            answer: (
                200, json,
                .text(
                    ##"{"type":"object","required":["discarded"],"properties":{"discarded":{"$ref":"#/components/schemas/Number"}}}"##
                )
            ),
            isRepeatable: true),
        Operation(
            method: "GET", path: "/v1/dead/redrives/{run}", summary: "How a redrive goes.",
            answer: (200, json, .named("RedriveRun"))),
        Operation(
            method: "DELETE", path: "/v1/dead/redrives/{run}", summary: "End a redrive.",
            answer: (200, json, .named("RedriveRun"))),
        Operation(
            method: "GET", path: "/v1/dead/{id}", summary: "A dead letter with its attempts.",
            answer: (200, json, .named("DeadLetter"))),
        Operation(
            method: "PATCH", path: "/v1/dead/{id}",
            summary: "Mend a dead letter's event with a merge patch; the original is kept.",
            body: [(json, .text(#"{"type":"object"}"#))], answer: (200, json, .named("DeadLetter"))),
        Operation(
            method: "DELETE", path: "/v1/dead/{id}", summary: "Give a dead letter up for good.",
            query: [("reason", string, "Why, for whoever asks later.")], answer: (204, nil, .text("{}"))),
        Operation(
            method: "POST", path: "/v1/subscribers/{name}/pause", summary: "Stop deliveries without loss.",
            body: [
                (
                    json,
                    .text(
                        #"{"type":"object","additionalProperties":false,"properties":{"reason":{"type":["string","null"]}}}"#
                    )
                )
            ],
            answer: (204, nil, .text("{}")), isRepeatable: true),
        Operation(
            method: "POST", path: "/v1/subscribers/{name}/resume", summary: "Go on with deliveries.",
            answer: (204, nil, .text("{}")), isRepeatable: true),
        Operation(
            method: "DELETE", path: "/v1/subscribers/{name}",
            summary: "Forget a subscriber that routes.conf has no more.",
            answer: (204, nil, .text("{}"))),
        Operation(
            method: "POST", path: "/v1/reload", summary: "Load the changed configuration, and wait for the verdict.",
            body: [
                (
                    json,
                    .text(
                        ##"{"type":"object","additionalProperties":false,"properties":{"wait":{"$ref":"#/components/schemas/ReloadWait"},"force":{"type":["boolean","null"],"description":"Try again what failed and was undone."}}}"##
                    )
                )
            ],
            answer: (200, json, .named("Applied")), isRepeatable: true),
        Operation(
            method: "POST", path: "/v1/rollback",
            summary: "Go back to a configuration that ran before, and wait for the verdict.",
            body: [
                (
                    json,
                    .text(
                        ##"{"type":"object","additionalProperties":false,"properties":{"generation":{"type":["integer","null"],"minimum":1,"description":"Else the one before."},"wait":{"$ref":"#/components/schemas/ReloadWait"}}}"##
                    )
                )
            ],
            answer: (200, json, .named("Applied")), isRepeatable: true),
        Operation(
            method: "GET", path: "/v1/plan", summary: "What a reload would do.",
            answer: (200, json, .text(#"{"type":"object"}"#))),
        Operation(
            method: "GET", path: "/v1/generations", summary: "Configurations that were loaded, the newest first.",
            query: [limit], answer: (200, json, .text(#"{"type":"object","required":["generations"]}"#))),
        Operation(
            method: "GET", path: "/v1/generations/{number}/diff", summary: "What a configuration changed.",
            query: [("against", .named("Number"), "Another one; else the one before it.")],
            answer: (200, json, .text(#"{"type":"object"}"#))),
        Operation(
            method: "GET", path: "/v1/events", summary: "Events of a topic by time and filter, the newest first.",
            query: [
                ("topic", string, "Which topic."), filter, limit,
                ("since", string, "earliest, an offset, a time, or how long ago."),
                ("until", string, "An offset, a time, or how long ago."),
                ("before", .named("Number"), "The offset to go on below."),
            ],
            answer: (
                200, json,
                .text(
                    #"{"type":"object","required":["topic","events","scanned"],"properties":{"events":{"type":"array"}}}"#
                )
            )),
        Operation(
            method: "GET", path: "/v1/events/{id}", summary: "An event by its id.", query: event,
            answer: (200, json, .text(#"{"type":"object"}"#))),
        Operation(
            method: "GET", path: "/v1/events/{id}/why", summary: "What became of an event, for each subscriber.",
            query: event,
            answer: (200, json, .text(#"{"type":"object"}"#))),
        Operation(
            method: "GET", path: "/metrics", summary: "Numbers for Prometheus.",
            answer: (200, "text/plain", string)),
        Operation(
            method: "GET", path: "/healthz", summary: "Whether the process runs.", answer: (200, "text/plain", string),
            isOpen: true),
        Operation(
            method: "GET", path: "/readyz", summary: "Whether publishers and clients may come.",
            answer: (200, "text/plain", string), isOpen: true),
        Operation(
            method: "GET", path: "/dashboard/{file}", summary: "A file of the dashboard.",
            answer: (200, "*/*", string), isOpen: true),
        Operation(
            method: "GET", path: "/v1/openapi.json", summary: "This description.",
            answer: (200, json, .text(#"{"type":"object","required":["openapi","paths"]}"#)), isOpen: true),
        Operation(
            method: "GET", path: "/", summary: "The dashboard for a browser; for others, what there is.",
            answer: (200, json, .text(#"{"type":"object","required":["name","version","endpoints"]}"#))),
    ]

    private static let letters: [(name: String, schema: Schema, about: String)] = [
        ("subscriber", string, "Only this subscriber's."), ("topic", string, "Only of this topic."),
        ("group", string, "Only of this group."), ("q", string, "Only those whose reason or event has this text."),
        (
            "state", .text(#"{"type":"string","enum":["open","underway","resolved","any"]}"#),
            "open where it isn't given."
        ),
        ("since", .text(#"{"type":"string","format":"date-time"}"#), "Only newer ones."),
    ]

    static let schemas: [String: JSONValue] = [
        "Number": .literal(#"{"type":"integer","minimum":0}"#),
        "Wait": .literal(
            #"{"type":["string","null"],"pattern":"^[0-9]{1,4}(ms|s)$","description":"A number and a unit; at most 55s."}"#
        ),
        "ReloadWait": .literal(
            #"{"type":["string","null"],"pattern":"^[1-9][0-9]{0,3}(ms|s)$","description":"How long it may take: a number and a unit."}"#
        ),
        "Applied": .literal(
            #"{"type":"object","required":["generation","changes"],"properties":{"generation":{"type":"integer"},"changes":{"type":"array","items":{"type":"string"}}}}"#
        ),
        "Rate": .literal(#"{"type":["string","null"],"pattern":"^[1-9][0-9]{0,5}/(s|m|h)$"}"#),
        "Problem": .literal(
            #"""
            {"type":"object","required":["type","title","status","detail"],"properties":{
            "type":{"type":"string","pattern":"^urn:fairlead:problem:"},"title":{"type":"string"},
            "status":{"type":"integer"},"detail":{"type":"string"},
            "errors":{"type":"array","description":"Which events of a batch are wrong, from 0.","items":{"type":"object",
            "required":["index","detail"],"properties":{"index":{"type":"integer"},"detail":{"type":"string"}}}},
            "diagnostics":{"type":"array","items":{"type":"string"}}}}
            """#),
        "Event": .literal(
            #"""
            {"type":"object","description":"A CloudEvent 1.0.2 in its JSON format; other members are extensions.",
            "required":["specversion","id","source","type"],"properties":{
            "specversion":{"const":"1.0"},"id":{"type":"string","minLength":1},
            "source":{"type":"string","minLength":1,"format":"uri-reference"},"type":{"type":"string","minLength":1},
            "subject":{"type":["string","null"],"minLength":1},"time":{"type":["string","null"],"format":"date-time"},
            "dataschema":{"type":["string","null"],"format":"uri","minLength":1},
            "datacontenttype":{"type":["string","null"],"pattern":"^[a-z]+/[a-z0-9.+-]+$"},
            "data":{},"data_base64":{"type":["string","null"],"contentEncoding":"base64"}},
            "patternProperties":{"^[a-z0-9]+$":{}},"additionalProperties":false}
            """#),
        "Published": .literal(
            #"""
            {"type":"object","required":["accepted","duplicates"],"properties":{"accepted":{"type":"integer"},
            "first":{"type":"integer"},"last":{"type":"integer"},"duplicates":{"type":"integer"}}}
            """#),
        "PullRequest": .literal(
            #"""
            {"type":"object","additionalProperties":false,"properties":{"max":{"type":["integer","null"],"minimum":1},
            "wait":{"$ref":"#/components/schemas/Wait"}}}
            """#),
        "Deliveries": .literal(
            #"""
            {"type":"object","required":["deliveries"],"properties":{"deliveries":{"type":"array","items":{"type":"object",
            "required":["lease","expires","attempt","offset","topic","replay","event"],"properties":{
            "lease":{"type":"string"},"expires":{"type":"string","format":"date-time"},"attempt":{"type":"integer","minimum":1},
            "offset":{"type":"integer"},"topic":{"type":"string"},"replay":{"type":"boolean"},
            "event":{"$ref":"#/components/schemas/Event"}}}}}}
            """#),
        "Settlements": .literal(
            #"""
            {"type":"object","additionalProperties":false,"properties":{
            "ack":{"type":["array","null"],"items":{"type":"string","minLength":1}},
            "extend":{"type":["array","null"],"items":{"type":"string","minLength":1}},
            "retry":{"type":["array","null"],"items":{"type":["object","string"],"minLength":1,"required":["lease"],"additionalProperties":false,"properties":{
            "lease":{"type":"string","minLength":1},"after":{"$ref":"#/components/schemas/Wait"},"reason":{"type":["string","null"]}}}},
            "dead":{"type":["array","null"],"items":{"type":["object","string"],"minLength":1,"required":["lease"],"additionalProperties":false,"properties":{
            "lease":{"type":"string","minLength":1},"reason":{"type":["string","null"]}}}}}}
            """#),
        "SettlementResults": .literal(
            #"""
            {"type":"object","required":["results"],"properties":{"results":{"type":"array","items":{"type":"object",
            "required":["lease","result"],"properties":{"lease":{"type":"string"},
            "result":{"enum":["done","settled","expired","unknown"]},"detail":{"type":"string"}}}}}}
            """#),
        "Replay": .literal(
            #"""
            {"type":"object","required":["from"],"additionalProperties":false,"properties":{
            "from":{"description":"earliest, an offset, a time, or how long ago","type":["string","integer"]},
            "to":{"type":["string","integer","null"]},"topic":{"type":["string","null"]},"where":{"type":["string","null"]},
            "rate":{"$ref":"#/components/schemas/Rate"}}}
            """#),
        "Import": .literal(
            #"""
            {"type":"object","required":["topic","file"],"additionalProperties":false,"properties":{
            "topic":{"type":"string"},"file":{"type":"string","minLength":1,"maxLength":128,
            "description":"A digest of the contents."},"events":{"type":["integer","null"],"minimum":1},"first":{"type":["boolean","null"]}}}
            """#),
        "History": .literal(
            #"""
            {"type":"object","required":["id","kind","state","total","passed","delivered"],"properties":{
            "id":{"type":"integer"},"kind":{"type":"string"},"state":{"type":"string"},"total":{"type":"integer"},
            "passed":{"type":"integer"},"delivered":{"type":"integer"}}}
            """#),
        "Status": .literal(
            #"""
            {"type":"object","required":["generation","started","time","topics","subscribers","orphans","plugins"],
            "properties":{"generation":{"type":"integer"},"topics":{"type":"array"},"subscribers":{"type":"array","items":{
            "type":"object","required":["name","method","state","backlog","inFlight","retrying","dead"]}}}}
            """#),
        "DeadLetter": .literal(
            #"""
            {"type":"object","required":["id","state","subscriber","topic","offset","reason","group","attempts","event"],
            "properties":{"id":{"type":"integer"},"state":{"type":"string"},"subscriber":{"type":"string"},
            "reason":{"type":"string"},"event":{"type":"object"}}}
            """#),
        "Redrive": .literal(
            #"""
            {"type":"object","description":"Exactly one of ids, all, and a filter.","additionalProperties":false,"properties":{
            "ids":{"type":["array","null"],"items":{"$ref":"#/components/schemas/Number"}},"all":{"type":["boolean","null"]},
            "subscriber":{"type":["string","null"]},"topic":{"type":["string","null"]},"group":{"type":["string","null"]},
            "canary":{"type":["boolean","null"]},"keepGoing":{"type":["boolean","null"]},"rate":{"$ref":"#/components/schemas/Rate"}}}
            """#),
        "Discard": .literal(
            #"""
            {"type":"object","description":"Exactly one of ids, all, and a filter.","required":["reason"],
            "additionalProperties":false,"properties":{
            "ids":{"type":["array","null"],"items":{"$ref":"#/components/schemas/Number"}},"all":{"type":["boolean","null"]},
            "subscriber":{"type":["string","null"]},"topic":{"type":["string","null"]},"group":{"type":["string","null"]},
            "reason":{"type":"string","minLength":1}}}
            """#),
        "RedriveRun": .literal(
            #"""
            {"type":"object","required":["run","state","total","waiting","underway","succeeded","failed","skipped"],
            "properties":{"run":{"type":"integer"},"state":{"enum":["running","finished","cancelled","stopped"]}}}
            """#),
    ]
}
