// SPDX-License-Identifier: Apache-2.0

/// What a handler is called with: `event` and `ctx`.
extension LuaAPI {
    static let event = Group(
        "fairlead.Event", access: "event",
        """
        The event being handled: read-only, and only while it is handled. Extension attributes stand beside the fields below, \
        under their own names; what an event doesn't have is nil.
        """, others: "string|integer|boolean|nil",
        [
            field("id", "string", "Unique together with `source`."),
            field("source", "string", "Who published it."),
            field("type", "string", "What happened: `order.placed`."),
            field("subject", "string", "What it is about, where the publisher said so.", optional: true),
            field("datacontenttype", "string", "The media type of `data`.", optional: true),
            field("dataschema", "string", "The schema of `data`, as a URI.", optional: true),
            field(
                "time", "number",
                "When it happened, in seconds since 1970; when it was accepted, where the publisher gave no time."),
            field(
                "data", "any",
                """
                The payload. JSON is decoded at the first touch: integers stay integers, null is `ctx.null`. \
                Other data is a string.
                """,
                example: "local total = event.data.total"),
            field("topic", "string", "The topic it was published to."),
            field("key", "string", "Its key, where the topic has `key`.", optional: true),
            field("offset", "integer", "Its place in the topic, from 0."),
            field("attempt", "integer", "Which attempt this is, from 1."),
            field("replay", "boolean", "Whether it is delivered again because somebody asked for history."),
        ])

    static let context = Group(
        "fairlead.Ctx", access: "ctx", "Everything that a plugin can do. Read-only.",
        [
            field(
                "config", "table<string, any>",
                "The settings of the subscriber's block, checked and with defaults. Read-only."),
            field("null", "userdata", "JSON's null: what `event.data` has for it, and what to write for it."),
            field(
                "idempotency_key", "string",
                """
                The same for each attempt at this event, another for each event and subscriber: for endpoints \
                that take one.
                """,
                raises: "outside of handling an event",
                example: "headers = { [\"Idempotency-Key\"] = ctx.idempotency_key }"),
            field("log", "fairlead.Log", "The server's log."),
            field("http", "fairlead.HTTP", "Requests to granted hosts."),
            field("mail", "fairlead.Mail", "Mail, where granted."),
            field("file", "fairlead.File", "Files in granted folders."),
            field("state", "fairlead.State", "What the subscriber remembers."),
            field("json", "fairlead.JSON", "JSON text."),
            field("crypto", "fairlead.Crypto", "Digests, signatures, encodings, randomness."),
            function(
                "publish",
                [
                    .init("topic", "string"), .init("data", "any", optional: true),
                    .init("options", "fairlead.PublishOptions", optional: true),
                ],
                "Publishes an event when, and only when, this one is acknowledged or dropped.",
                raises: "the topic is not granted; the data can't be JSON or is too large; the options make no event",
                example: "ctx.publish(\"stock\", { sku = sku, left = 3 }, { type = \"stock.low\" })"),
            function(
                "sleep", [.init("duration", "number|string")],
                "Waits; other events run meanwhile where `concurrency` allows. Seconds, or text such as `\"500ms\"`.",
                raises: "it is no duration"),
            function("now", returns: ["number"], "Seconds since 1970. In tests, the time of the test."),
            function("remaining", returns: ["number"], "Seconds until the attempt's `timeout`."),
            function("uuid", returns: ["string"], "A random UUID, version 4."),
            function(
                "env", [.init("name", "string")], returns: ["string|nil"], "A variable of the server's environment.",
                raises: "the name is not granted"),
            function(
                "metric", [.init("name", "string"), .init("amount", "number", optional: true)],
                """
                Adds to a counter on `/metrics`: `fairlead_plugin_metric_total{subscriber, name}`. Without an \
                amount, 1.
                """
            ),
            function(
                "retry", [.init("options", "fairlead.RetryOptions|string", optional: true)],
                returns: ["fairlead.Outcome"],
                "To return (or throw): another attempt, after the policy's backoff or `after`. A string is the reason.",
                raises: "an option it doesn't have; `after` is no duration",
                example: "return ctx.retry { after = \"30s\", reason = \"warehouse is closed\" }"),
            function(
                "dead", [.init("reason", "any")], returns: ["fairlead.Outcome"],
                "To return (or throw): no more attempts; the event becomes a dead letter.", raises: "without a reason",
                example: "return ctx.dead(\"no such customer\")"),
            function(
                "drop", [.init("reason", "any", optional: true)], returns: ["fairlead.Outcome"],
                "To return (or throw): done with it, though nothing was done. Counted apart from acknowledgements."),
        ])

    static let libraries = [
        Group(
            "fairlead.Log", access: "ctx.log",
            "Lines of the server's log, with the subscriber's name. `print(…)` is `info`. One call may write 64 KiB.",
            ["debug", "info", "warn", "error"].map { level in
                function(
                    level, [.init("message", "any"), .init("fields", "table<string, any>", optional: true)],
                    level == "debug"
                        ? "Shown with `--log-level debug`." : "Level \(level == "warn" ? "warning" : level).",
                    example: level == "warn" ? "ctx.log.warn(\"sold out\", { sku = sku })" : nil)
            }),
        Group(
            "fairlead.HTTP", access: "ctx.http",
            """
            Requests to hosts that routes.conf grants. Redirects are answers, not followed. One call may send 50. They raise on \
            failure, and the error knows its outcome: no connection, timeout, 408, 429 and 5xx are a retry (after Retry-After), \
            every other status than 2xx is a dead letter.
            """,
            [
                function(
                    "get",
                    [.init("url", "string|fairlead.Secret"), .init("options", "fairlead.HTTPOptions", optional: true)],
                    returns: ["fairlead.HTTPResponse"], "Sends a GET.",
                    raises: "the host is not granted; no or a bad answer (see above), unless `raise = false`",
                    example: "local rates = ctx.http.get(\"https://api.example.com/rates\").json()"),
                function(
                    "post",
                    [.init("url", "string|fairlead.Secret"), .init("options", "fairlead.HTTPOptions", optional: true)],
                    returns: ["fairlead.HTTPResponse"], "Sends a POST.", raises: "as `get`",
                    example: "ctx.http.post(ctx.config.webhook, { json = { text = \"hello\" } })"),
                function(
                    "request", [.init("request", "fairlead.HTTPRequest")],
                    returns: ["fairlead.HTTPResponse|nil", "string|nil"],
                    "Sends any method. With `raise = false`: the response, or nil and why there is none.",
                    raises: "as `get`",
                    example: "ctx.http.request { method = \"PUT\", url = url, body = text }"),
            ]),
        Group(
            "fairlead.Mail", access: "ctx.mail", "Mail, by the server that routes.conf names.",
            [
                function(
                    "send", [.init("message", "fairlead.MailMessage")], returns: ["true"],
                    "Returns when the mail is handed over.",
                    raises:
                        """
                        mail is not granted; the message lacks something; refused (a dead letter) or not sent \
                        (a retry)
                        """,
                    example: "ctx.mail.send { to = event.data.email, subject = \"Thank you\", text = \"…\" }")
            ]),
        Group(
            "fairlead.File", access: "ctx.file", "Files in the folders that `allow file` names.",
            [
                function(
                    "append",
                    [
                        .init("name", "string"), .init("content", "string|table"),
                        .init("options", "fairlead.AppendOptions", optional: true),
                    ], returns: ["true"],
                    "Appends the text, or the table as a line of JSON, and returns when it is on disk.",
                    raises: "no folder is granted; the name leaves the folder; the disk fails (a retry)",
                    example: "ctx.file.append(\"orders.ndjson\", { id = event.id, data = event.data })")
            ]),
        Group(
            "fairlead.AppendOptions", "How `ctx.file.append` appends.",
            [
                field(
                    "max_size", "integer", "Bytes; a file that would grow beyond it is set aside first.", optional: true
                ),
                field("folder", "string", "Which of several granted folders.", optional: true),
            ]),
        Group(
            "fairlead.State", access: "ctx.state",
            """
            Private to the subscriber, durable. Writes are seen by the same call at once; they are committed together with \
            the acknowledgement, or not at all. Keys are 1 to 512 bytes of UTF-8, values are JSON of up to 256 KiB; one \
            call may write 1,000 keys.
            """,
            [
                function(
                    "get", [.init("key", "string"), .init("default", "any", optional: true)], returns: ["any"],
                    "The value, or the default where there is none."),
                function(
                    "put",
                    [
                        .init("key", "string"), .init("value", "any"),
                        .init("options", "fairlead.PutOptions", optional: true),
                    ],
                    "Sets a value.",
                    raises: "the value is nil, can't be JSON, or is too large; outside of handling an event",
                    example: "ctx.state.put(\"seen:\" .. event.id, true, { ttl = \"7d\" })"),
                function(
                    "add", [.init("key", "string"), .init("amount", "number", optional: true)], returns: ["number"],
                    """
                    Adds to a number, 0 where there is none; the sum. Adds of concurrent calls never lose one \
                    another.
                    """,
                    raises: "the key holds something that is no number; outside of handling an event",
                    example: "local sold = ctx.state.add(\"sold:\" .. sku, quantity)"),
                function(
                    "delete", [.init("key", "string")], "Removes a key, if it is there.",
                    raises: "outside of handling an event"),
                function(
                    "list",
                    [
                        .init("prefix", "string", optional: true),
                        .init("options", "fairlead.ListOptions", optional: true),
                    ],
                    returns: ["fairlead.StateEntry[]"], "Entries in the order of their keys, up to 1,000.",
                    raises: "an option it doesn't have",
                    example: "for _, entry in ipairs(ctx.state.list(\"sold:\")) do … end"),
            ]),
        Group(
            "fairlead.JSON", access: "ctx.json", "JSON text.",
            [
                function(
                    "encode", [.init("value", "any")], returns: ["string"],
                    "Keys are sorted. An empty table is an object, unless `array` marked it.",
                    raises:
                        "a function, a table that contains itself, a list with gaps, text that is not UTF-8, a secret"),
                function("decode", [.init("text", "string")], returns: ["any"], "The value.", raises: "it is no JSON"),
                function(
                    "array", [.init("list", "table", optional: true)], returns: ["table"],
                    "Marks a table as a list, so that it is `[]` even when empty.", raises: "it has a metatable",
                    example: "{ items = ctx.json.array(found) }"),
            ]),
        Group(
            "fairlead.Crypto", access: "ctx.crypto",
            "Digests are bytes; `hex` and `base64` make text of them.",
            [
                function("sha256", [.init("bytes", "string")], returns: ["string"], "32 bytes."),
                function(
                    "hmac_sha256", [.init("key", "string|fairlead.Secret"), .init("bytes", "string")],
                    returns: ["string"],
                    "32 bytes.",
                    example: "ctx.crypto.hex(ctx.crypto.hmac_sha256(ctx.config.key, body))"),
                function("hex", [.init("bytes", "string")], returns: ["string"], "Lower-case digits."),
                function(
                    "base64", [.init("bytes", "string|fairlead.Secret")], returns: ["string|fairlead.Secret"],
                    "With padding. Of a secret, a secret."),
                function(
                    "random", [.init("count", "integer")], returns: ["string"], "Random bytes.",
                    raises: "not 0 to 65,536 are asked for"),
            ]),
    ]
}
