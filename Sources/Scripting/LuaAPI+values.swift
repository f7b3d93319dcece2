// SPDX-License-Identifier: Apache-2.0

/// What calls take and give.
extension LuaAPI {
    static let httpOptions = [
        field("json", "any", "Sent as JSON, with its content type. May contain secrets.", optional: true),
        field("body", "string|fairlead.Secret", "Sent as it is. Excludes `json`.", optional: true),
        field("headers", "table<string, string|number|fairlead.Secret>", "Request headers.", optional: true),
        field("raise", "boolean", "`false` hands a bad answer back instead of raising.", optional: true),
        field(
            "timeout", "number|string", "At most the attempt's own, which is the default. `\"5s\"`.", optional: true),
    ]

    static let mailFields = [
        field("to", "string|string[]", "Addresses: `ann@example.com` or `Ann <ann@example.com>`."),
        field("cc", "string|string[]", "More addresses.", optional: true),
        field("from", "string", "Default: that of routes.conf's `mail`.", optional: true),
        field("reply_to", "string", "Where answers go.", optional: true),
        field("subject", "string", "The subject.", optional: true),
        field("text", "string", "The plain text. This or `html` must be there.", optional: true),
        field("html", "string", "The same in HTML.", optional: true),
    ]

    static let values = [
        Group("fairlead.HTTPOptions", "Options of `ctx.http.get` and `ctx.http.post`.", httpOptions),
        Group(
            "fairlead.HTTPRequest", "What `ctx.http.request` takes: the options above, and",
            [
                field("url", "string|fairlead.Secret", "`http` or `https`."),
                field("method", "string", "Default: `GET`.", optional: true),
            ] + httpOptions),
        Group(
            "fairlead.HTTPResponse", "An answer.",
            [
                field("status", "integer", "Such as 200."),
                field("headers", "table<string, string>", "By names in lower case."),
                field("body", "string", "Up to 1 MiB; a longer one is a dead letter."),
                function("json", returns: ["any"], "The body decoded.", raises: "it is no JSON"),
            ]),
        Group("fairlead.MailMessage", "What `ctx.mail.send` takes.", mailFields),
        Group(
            "fairlead.PutOptions", "Options of `ctx.state.put`.",
            [field("ttl", "number|string", "The key is gone after that: `\"7d\"`.", optional: true)]),
        Group(
            "fairlead.ListOptions", "Options of `ctx.state.list`.",
            [
                field("limit", "integer", "At most so many.", optional: true),
                field("after", "string", "Begins behind this key: the last one of the page before.", optional: true),
            ]),
        Group(
            "fairlead.StateEntry", "An entry of `ctx.state.list`.",
            [field("key", "string", "Its key."), field("value", "any", "Its value.")]),
        Group(
            "fairlead.PublishOptions",
            "Options of `ctx.publish`. Any other name of lower-case letters and digits becomes an extension attribute.",
            others: "string|integer|boolean|nil",
            [
                field("type", "string", "Default: the topic's name.", optional: true),
                field("id", "string", "Default: a random UUID.", optional: true),
                field("source", "string", "Default: `/subscribers/` and the subscriber's name.", optional: true),
                field("key", "string", "The event's key, as attribute `partitionkey`.", optional: true),
                field("subject", "string", "What it is about.", optional: true),
                field("time", "string", "RFC 3339. Default: now.", optional: true),
                field(
                    "datacontenttype", "string",
                    "The media type of `data`, where it isn't JSON; `data` is then a string, sent as it is.",
                    optional: true),
                field("dataschema", "string", "The schema of `data`, as a URI.", optional: true),
            ]),
        Group(
            "fairlead.RetryOptions", "Options of `ctx.retry`.",
            [
                field(
                    "after", "number|string",
                    """
                    When, instead of the policy's backoff; at most an hour.
                    """, optional: true),
                field("reason", "string", "Why, for whoever reads it.", optional: true),
            ]),
        Group(
            "fairlead.Outcome",
            "What `ctx.retry`, `ctx.dead` and `ctx.drop` give, and what a failed `ctx.http` or `ctx.mail` throws.",
            [
                field("outcome", "\"retry\"|\"dead\"|\"drop\"", "Which."),
                field("after", "number", "Seconds, for a retry with a time of its own.", optional: true),
                field("message", "string", "Why.", optional: true),
                field("status", "integer", "Of the answer, where `ctx.http` threw it.", optional: true),
                field(
                    "response", "fairlead.HTTPResponse", "The answer, without `json()`, where there was one.",
                    optional: true),
            ]),
        Group(
            "fairlead.Secret",
            """
            A setting of `secret(\"NAME\")`. Can't be read, compared or logged; text joined to it with `..` is\
             a secret too.
            """,
            []),
    ]
}
