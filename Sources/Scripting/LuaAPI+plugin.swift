// SPDX-License-Identifier: Apache-2.0

/// What a plugin's file returns, and what its tests find.
extension LuaAPI {
    static let plugin = Group(
        "fairlead.Plugin", "What a plugin's file returns; or the handler alone, as a function.",
        [
            field("api", "integer", "The API it is written for: 1.", optional: true),
            field("name", "string", "For people.", optional: true),
            field(
                "version", "string", "For people: `fairlead why` shows which one handled an event.", optional: true),
            field("description", "string", "For people.", optional: true),
            field(
                "config", "table<string, fairlead.SettingField>",
                "Its settings. Without it, whatever the block says is taken as it is.", optional: true),
            field(
                "requires", "fairlead.Requires", "What it needs; `fairlead check` says what isn't granted.",
                optional: true),
            field("state_version", "integer", "Of what it keeps in `ctx.state`.", optional: true),
            field(
                "handle", "fun(event: fairlead.Event, ctx: fairlead.Ctx): any, any", "Called for each event.",
                optional: true),
            field(
                "handle_batch", "fun(events: fairlead.Event[], ctx: fairlead.Ctx): any, any",
                """
                Called with many, for subscribers with `batch`. Returns one outcome for all, or a table of \
                them by index.
                """,
                optional: true),
            field(
                "init", "fun(ctx: fairlead.Ctx)", "Called when it is loaded; an error refuses the reload.",
                optional: true),
            field(
                "stop", "fun(ctx: fairlead.Ctx, why: \"reload\"|\"shutdown\"|\"removed\")",
                "Called when it goes, for at most 5 s. May not come: don't rely on it.", optional: true),
            field(
                "migrate", "fun(state: fairlead.State, from: integer)",
                "Called once when `state_version` is higher than what is kept; an error refuses the reload.",
                optional: true),
        ])

    static let requirements = Group(
        "fairlead.Requires", "`requires` of a plugin's table.",
        [
            field(
                "http", "string|string[]", "Hosts; `$webhook` is the host of the URL that the setting `webhook` says.",
                optional: true),
            field("mail", "boolean|string", "Mail; `$to`: where the setting `to` is set.", optional: true),
            field("publish", "string|string[]", "Topics; `$to` is the one that the setting `to` says.", optional: true),
            field("env", "string|string[]", "Variables of the environment.", optional: true),
            field("file", "boolean", "A folder to append to.", optional: true),
        ])

    static let settingField = Group(
        "fairlead.SettingField",
        "One entry of a plugin's `config`: `channel = { type = \"string\", default = \"#sales\" }`.",
        [
            field(
                "type", "string",
                "`" + ConfigSchema.Kind.names.joined(separator: "`, `")
                    + """
                    `; `list<string>` and `map<integer>` say what is in them. A duration is a number of \
                    seconds in `ctx.config`, a size one of bytes.
                    """
            ),
            field("required", "boolean", "Refused without it.", optional: true),
            field(
                "default", "any",
                "Taken where the block doesn't say. Durations and sizes as in routes.conf: `\"30s\"`.", optional: true),
            field("min", "number|string", "Least number, bytes of a string, or items of a list.", optional: true),
            field("max", "number|string", "The most of them.", optional: true),
            field("pattern", "string", "A Lua pattern that the text must match.", optional: true),
            field("values", "string[]", "Of an `enum`.", optional: true),
            field("doc", "string", "For people; `fairlead plugin check` shows it.", optional: true),
        ])

    static let test = [
        Group(
            "fairlead.Test", access: "t",
            "`local t = require \"fairlead.test\"`, in files whose name ends in `_test.lua`. Run by `fairlead test`.",
            [
                function(
                    "test", [.init("name", "string"), .init("body", "fun(t: fairlead.Test)")],
                    "Adds a case. Each starts with nothing loaded."),
                function(
                    "load",
                    [
                        .init("name", "string"), .init("settings", "table<string, any>", optional: true),
                        .init("allow", "fairlead.Requires", optional: true),
                    ],
                    returns: ["fairlead.TestPlugin"],
                    """
                    Loads a plugin in the real sandbox, with a clock that stands still, and HTTP and mail that\
                     go nowhere.
                    """,
                    raises: "what `fairlead check` would refuse",
                    example: "local slack = t.load(\"slack\", { webhook = url }, { http = { \"hooks.slack.com\" } })"),
                function(
                    "event", [.init("fields", "table<string, any>", optional: true)], returns: ["fairlead.TestEvent"],
                    "An event, with `id`, `source`, `type` and `topic` made up where they aren't given.",
                    example: "t.event { type = \"order.placed\", data = { total = 250 } }"),
                function(
                    "eq", [.init("found", "any"), .init("expected", "any"), .init("what", "string", optional: true)],
                    "Compares, tables by what is in them.", raises: "they differ"),
                function(
                    "ok", [.init("value", "any"), .init("what", "string", optional: true)], "Wants something true.",
                    raises: "it is false or nil"),
                function(
                    "match", [.init("text", "string"), .init("pattern", "string")],
                    "Wants a text that the Lua pattern is found in.",
                    raises: "it is not"),
                field("json", "fairlead.JSON", "JSON text, as `ctx.json`."),
            ]),
        Group(
            "fairlead.TestPlugin", access: "plugin", "What `t.load` gives. Call its functions with a colon.",
            [
                method(
                    "on",
                    [.init("method", "string"), .init("url", "string"), .init("response", "fairlead.TestAnswer")],
                    returns: ["fairlead.TestPlugin"],
                    """
                    Announces a request and its answer; a `*` at the end of the URL stands for anything. A \
                    request that is not announced fails the test.
                    """,
                    example: "slack:on(\"POST\", \"https://hooks.slack.com/*\", { status = 429 })"),
                method(
                    "handle", [.init("event", "fairlead.TestEvent")], returns: ["fairlead.TestResult"],
                    "Delivers one event, and waits until it is settled.", raises: "a request was not announced"),
                method(
                    "handle_batch", [.init("events", "fairlead.TestEvent[]")], returns: ["fairlead.TestResult"],
                    "Delivers several in one go.", raises: "as `handle`"),
                method("put", [.init("key", "string"), .init("value", "any")], "Sets the plugin's state."),
                method("get", [.init("key", "string")], returns: ["any"], "Reads the plugin's state, as committed."),
                method("advance", [.init("seconds", "number")], "Moves the clock."),
            ]),
        Group(
            "fairlead.TestEvent", "What `t.event` gives.", others: "any",
            [
                field("id", "string", "Default: made up."), field("source", "string", "Default: `/test`."),
                field("type", "string", "Default: `test`."), field("topic", "string", "Default: `test`."),
                field("data", "any", "Sent as JSON.", optional: true),
                field("key", "string", "Its key.", optional: true),
                field("attempt", "integer", "Default: 1.", optional: true),
                field("replay", "boolean", "Default: false.", optional: true),
            ]),
        Group(
            "fairlead.TestAnswer", "How an announced request is answered.",
            [
                field("status", "integer", "Default: 200.", optional: true),
                field("headers", "table<string, string>", "Of the answer.", optional: true),
                field("body", "string", "Of the answer.", optional: true),
                field("fail", "string", "No answer: `\"timeout\"`, or why there is no connection.", optional: true),
            ]),
        Group(
            "fairlead.TestResult", "What `handle` gives.",
            [
                field("outcome", "\"ack\"|\"retry\"|\"dead\"|\"drop\"", "Of the first event."),
                field("outcomes", "string[]", "Of all of them."),
                field("reason", "string", "Why it was not acknowledged.", optional: true),
                field(
                    "after", "number", "Seconds until the retry, where the plugin or the answer said so.",
                    optional: true),
                field("trace", "string", "Where the error was thrown.", optional: true),
                field("calls", "fairlead.TestCall[]", "HTTP requests, in order."),
                field("mail", "fairlead.MailMessage[]", "Mail that was sent; `to` and `cc` are lists."),
                field(
                    "files", "table<string, any>[]",
                    "What was appended to files: `folder`, `name`, `text`, `max_size`."),
                field(
                    "published", "table<string, any>[]",
                    "Events that went out with the acknowledgement: `topic`, `type`, `data`, …"),
            ]),
        Group(
            "fairlead.TestCall", "A request that the plugin sent.",
            [
                field("method", "string", "Such as `POST`."), field("url", "string", "Whole, secrets included."),
                field("headers", "table<string, string>", "By names in lower case."),
                field("body", "string", "As sent."),
                field("json", "any", "The body decoded, where it was JSON.", optional: true),
            ]),
    ]

    /// Of Lua 5.2; there where the system's Lua was built with them, so that nobody should use them and the check lets them be.
    static let oldMath = ["atan2", "cosh", "frexp", "ldexp", "log10", "pow", "sinh", "tanh"]

    /// Globals that people look for, and what there is instead; in the words of the sandbox.
    static let absentGlobals: [(name: String, remedy: String)] = [
        ("io", "plugins have no files; log with ctx.log, keep data with ctx.state"),
        ("load", "plugins can't compile code at run time; put it into a file and require it"),
        ("loadstring", "plugins can't compile code at run time; put it into a file and require it"),
        ("dofile", "use require"), ("loadfile", "use require"),
        ("package", "require looks in the plugin's own folder and in Plugins/lib"),
        ("ctx", "it is the second argument of handle"), ("event", "it is the first argument of handle"),
    ]

    /// Globals of Lua that plugins have, those of standard libraries with what is in them.
    static let globals: [(name: String, members: [String])] = [
        ("_G", []), ("_VERSION", []), ("assert", []), ("collectgarbage", []), ("error", []), ("getmetatable", []),
        ("ipairs", []), ("next", []), ("pairs", []), ("pcall", []), ("print", []), ("rawequal", []), ("rawget", []),
        ("rawlen", []), ("rawset", []), ("require", []), ("select", []), ("setmetatable", []), ("tonumber", []),
        ("tostring", []), ("type", []), ("xpcall", []),
        ("debug", ["traceback"]),
        ("coroutine", ["close", "create", "isyieldable", "resume", "running", "status", "wrap", "yield"]),
        (
            "math",
            [
                "abs", "acos", "asin", "atan", "ceil", "cos", "deg", "exp", "floor", "fmod", "huge", "log", "max",
                "maxinteger", "min", "mininteger", "modf", "pi", "rad", "random", "randomseed", "sin", "sqrt", "tan",
                "tointeger", "type", "ult",
            ]
        ),
        ("os", ["clock", "date", "difftime", "time"]),
        (
            "string",
            [
                "byte", "char", "find", "format", "gmatch", "gsub", "len", "lower", "match", "pack", "packsize", "rep",
                "reverse", "sub", "unpack", "upper",
            ]
        ),
        ("table", ["concat", "insert", "move", "pack", "remove", "sort", "unpack"]),
        ("utf8", ["char", "charpattern", "codepoint", "codes", "len", "offset"]),
    ]
}
