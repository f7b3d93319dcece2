---@meta fairlead.test

-- What Fairlead's plugins find, for editors with lua-language-server. Made by `fairlead plugin new`; not to be edited.

---The event being handled: read-only, and only while it is handled. Extension attributes stand beside the fields below, under their own names; what an event doesn't have is nil.
---@class fairlead.Event
---@field id string Unique together with `source`.
---@field source string Who published it.
---@field type string What happened: `order.placed`.
---@field subject? string What it is about, where the publisher said so.
---@field datacontenttype? string The media type of `data`.
---@field dataschema? string The schema of `data`, as a URI.
---@field time number When it happened, in seconds since 1970; when it was accepted, where the publisher gave no time.
---@field data any The payload. JSON is decoded at the first touch: integers stay integers, null is `ctx.null`. Other data is a string.
---@field topic string The topic it was published to.
---@field key? string Its key, where the topic has `key`.
---@field offset integer Its place in the topic, from 0.
---@field attempt integer Which attempt this is, from 1.
---@field replay boolean Whether it is delivered again because somebody asked for history.
---@field [string] string|integer|boolean|nil
local c0 = {}

---Everything that a plugin can do. Read-only.
---@class fairlead.Ctx
---@field config table<string, any> The settings of the subscriber's block, checked and with defaults. Read-only.
---@field null userdata JSON's null: what `event.data` has for it, and what to write for it.
---@field idempotency_key string The same for each attempt at this event, another for each event and subscriber: for endpoints that take one. Raises: outside of handling an event.
---@field log fairlead.Log The server's log.
---@field http fairlead.HTTP Requests to granted hosts.
---@field mail fairlead.Mail Mail, where granted.
---@field file fairlead.File Files in granted folders.
---@field state fairlead.State What the subscriber remembers.
---@field json fairlead.JSON JSON text.
---@field crypto fairlead.Crypto Digests, signatures, encodings, randomness.
local c1 = {}

---Publishes an event when, and only when, this one is acknowledged or dropped. Raises: the topic is not granted; the data can't be JSON or is too large; the options make no event.
---
---```lua
---ctx.publish("stock", { sku = sku, left = 3 }, { type = "stock.low" })
---```
---@param topic string
---@param data? any
---@param options? fairlead.PublishOptions
function c1.publish(topic, data, options) end

---Waits; other events run meanwhile where `concurrency` allows. Seconds, or text such as `"500ms"`. Raises: it is no duration.
---@param duration number|string
function c1.sleep(duration) end

---Seconds since 1970. In tests, the time of the test.
---@return number
function c1.now() end

---Seconds until the attempt's `timeout`.
---@return number
function c1.remaining() end

---A random UUID, version 4.
---@return string
function c1.uuid() end

---A variable of the server's environment. Raises: the name is not granted.
---@param name string
---@return string|nil
function c1.env(name) end

---Adds to a counter on `/metrics`: `fairlead_plugin_metric_total{subscriber, name}`. Without an amount, 1.
---@param name string
---@param amount? number
function c1.metric(name, amount) end

---To return (or throw): another attempt, after the policy's backoff or `after`. A string is the reason. Raises: an option it doesn't have; `after` is no duration.
---
---```lua
---return ctx.retry { after = "30s", reason = "warehouse is closed" }
---```
---@param options? fairlead.RetryOptions|string
---@return fairlead.Outcome
function c1.retry(options) end

---To return (or throw): no more attempts; the event becomes a dead letter. Raises: without a reason.
---
---```lua
---return ctx.dead("no such customer")
---```
---@param reason any
---@return fairlead.Outcome
function c1.dead(reason) end

---To return (or throw): done with it, though nothing was done. Counted apart from acknowledgements.
---@param reason? any
---@return fairlead.Outcome
function c1.drop(reason) end

---Lines of the server's log, with the subscriber's name. `print(…)` is `info`. One call may write 64 KiB.
---@class fairlead.Log
local c2 = {}

---Shown with `--log-level debug`.
---@param message any
---@param fields? table<string, any>
function c2.debug(message, fields) end

---Level info.
---@param message any
---@param fields? table<string, any>
function c2.info(message, fields) end

---Level warning.
---
---```lua
---ctx.log.warn("sold out", { sku = sku })
---```
---@param message any
---@param fields? table<string, any>
function c2.warn(message, fields) end

---Level error.
---@param message any
---@param fields? table<string, any>
function c2.error(message, fields) end

---Requests to hosts that routes.conf grants. Redirects are answers, not followed. One call may send 50. They raise on failure, and the error knows its outcome: no connection, timeout, 408, 429 and 5xx are a retry (after Retry-After), every other status than 2xx is a dead letter.
---@class fairlead.HTTP
local c3 = {}

---Sends a GET. Raises: the host is not granted; no or a bad answer (see above), unless `raise = false`.
---
---```lua
---local rates = ctx.http.get("https://api.example.com/rates").json()
---```
---@param url string|fairlead.Secret
---@param options? fairlead.HTTPOptions
---@return fairlead.HTTPResponse
function c3.get(url, options) end

---Sends a POST. Raises: as `get`.
---
---```lua
---ctx.http.post(ctx.config.webhook, { json = { text = "hello" } })
---```
---@param url string|fairlead.Secret
---@param options? fairlead.HTTPOptions
---@return fairlead.HTTPResponse
function c3.post(url, options) end

---Sends any method. With `raise = false`: the response, or nil and why there is none. Raises: as `get`.
---
---```lua
---ctx.http.request { method = "PUT", url = url, body = text }
---```
---@param request fairlead.HTTPRequest
---@return fairlead.HTTPResponse|nil
---@return string|nil
function c3.request(request) end

---Mail, by the server that routes.conf names.
---@class fairlead.Mail
local c4 = {}

---Returns when the mail is handed over. Raises: mail is not granted; the message lacks something; refused (a dead letter) or not sent (a retry).
---
---```lua
---ctx.mail.send { to = event.data.email, subject = "Thank you", text = "…" }
---```
---@param message fairlead.MailMessage
---@return true
function c4.send(message) end

---Files in the folders that `allow file` names.
---@class fairlead.File
local c5 = {}

---Appends the text, or the table as a line of JSON, and returns when it is on disk. Raises: no folder is granted; the name leaves the folder; the disk fails (a retry).
---
---```lua
---ctx.file.append("orders.ndjson", { id = event.id, data = event.data })
---```
---@param name string
---@param content string|table
---@param options? fairlead.AppendOptions
---@return true
function c5.append(name, content, options) end

---How `ctx.file.append` appends.
---@class fairlead.AppendOptions
---@field max_size? integer Bytes; a file that would grow beyond it is set aside first.
---@field folder? string Which of several granted folders.
local c6 = {}

---Private to the subscriber, durable. Writes are seen by the same call at once; they are committed together with the acknowledgement, or not at all. Keys are 1 to 512 bytes of UTF-8, values are JSON of up to 256 KiB; one call may write 1,000 keys.
---@class fairlead.State
local c7 = {}

---The value, or the default where there is none.
---@param key string
---@param default? any
---@return any
function c7.get(key, default) end

---Sets a value. Raises: the value is nil, can't be JSON, or is too large; outside of handling an event.
---
---```lua
---ctx.state.put("seen:" .. event.id, true, { ttl = "7d" })
---```
---@param key string
---@param value any
---@param options? fairlead.PutOptions
function c7.put(key, value, options) end

---Adds to a number, 0 where there is none; the sum. Adds of concurrent calls never lose one another. Raises: the key holds something that is no number; outside of handling an event.
---
---```lua
---local sold = ctx.state.add("sold:" .. sku, quantity)
---```
---@param key string
---@param amount? number
---@return number
function c7.add(key, amount) end

---Removes a key, if it is there. Raises: outside of handling an event.
---@param key string
function c7.delete(key) end

---Entries in the order of their keys, up to 1,000. Raises: an option it doesn't have.
---
---```lua
---for _, entry in ipairs(ctx.state.list("sold:")) do … end
---```
---@param prefix? string
---@param options? fairlead.ListOptions
---@return fairlead.StateEntry[]
function c7.list(prefix, options) end

---JSON text.
---@class fairlead.JSON
local c8 = {}

---Keys are sorted. An empty table is an object, unless `array` marked it. Raises: a function, a table that contains itself, a list with gaps, text that is not UTF-8, a secret.
---@param value any
---@return string
function c8.encode(value) end

---The value. Raises: it is no JSON.
---@param text string
---@return any
function c8.decode(text) end

---Marks a table as a list, so that it is `[]` even when empty. Raises: it has a metatable.
---
---```lua
---{ items = ctx.json.array(found) }
---```
---@param list? table
---@return table
function c8.array(list) end

---Digests are bytes; `hex` and `base64` make text of them.
---@class fairlead.Crypto
local c9 = {}

---32 bytes.
---@param bytes string
---@return string
function c9.sha256(bytes) end

---32 bytes.
---
---```lua
---ctx.crypto.hex(ctx.crypto.hmac_sha256(ctx.config.key, body))
---```
---@param key string|fairlead.Secret
---@param bytes string
---@return string
function c9.hmac_sha256(key, bytes) end

---Lower-case digits.
---@param bytes string
---@return string
function c9.hex(bytes) end

---With padding. Of a secret, a secret.
---@param bytes string|fairlead.Secret
---@return string|fairlead.Secret
function c9.base64(bytes) end

---Random bytes. Raises: not 0 to 65,536 are asked for.
---@param count integer
---@return string
function c9.random(count) end

---Options of `ctx.http.get` and `ctx.http.post`.
---@class fairlead.HTTPOptions
---@field json? any Sent as JSON, with its content type. May contain secrets.
---@field body? string|fairlead.Secret Sent as it is. Excludes `json`.
---@field headers? table<string, string|number|fairlead.Secret> Request headers.
---@field raise? boolean `false` hands a bad answer back instead of raising.
---@field timeout? number|string At most the attempt's own, which is the default. `"5s"`.
local c10 = {}

---What `ctx.http.request` takes: the options above, and
---@class fairlead.HTTPRequest
---@field url string|fairlead.Secret `http` or `https`.
---@field method? string Default: `GET`.
---@field json? any Sent as JSON, with its content type. May contain secrets.
---@field body? string|fairlead.Secret Sent as it is. Excludes `json`.
---@field headers? table<string, string|number|fairlead.Secret> Request headers.
---@field raise? boolean `false` hands a bad answer back instead of raising.
---@field timeout? number|string At most the attempt's own, which is the default. `"5s"`.
local c11 = {}

---An answer.
---@class fairlead.HTTPResponse
---@field status integer Such as 200.
---@field headers table<string, string> By names in lower case.
---@field body string Up to 1 MiB; a longer one is a dead letter.
local c12 = {}

---The body decoded. Raises: it is no JSON.
---@return any
function c12.json() end

---What `ctx.mail.send` takes.
---@class fairlead.MailMessage
---@field to string|string[] Addresses: `ann@example.com` or `Ann <ann@example.com>`.
---@field cc? string|string[] More addresses.
---@field from? string Default: that of routes.conf's `mail`.
---@field reply_to? string Where answers go.
---@field subject? string The subject.
---@field text? string The plain text. This or `html` must be there.
---@field html? string The same in HTML.
local c13 = {}

---Options of `ctx.state.put`.
---@class fairlead.PutOptions
---@field ttl? number|string The key is gone after that: `"7d"`.
local c14 = {}

---Options of `ctx.state.list`.
---@class fairlead.ListOptions
---@field limit? integer At most so many.
---@field after? string Begins behind this key: the last one of the page before.
local c15 = {}

---An entry of `ctx.state.list`.
---@class fairlead.StateEntry
---@field key string Its key.
---@field value any Its value.
local c16 = {}

---Options of `ctx.publish`. Any other name of lower-case letters and digits becomes an extension attribute.
---@class fairlead.PublishOptions
---@field type? string Default: the topic's name.
---@field id? string Default: a random UUID.
---@field source? string Default: `/subscribers/` and the subscriber's name.
---@field key? string The event's key, as attribute `partitionkey`.
---@field subject? string What it is about.
---@field time? string RFC 3339. Default: now.
---@field datacontenttype? string The media type of `data`, where it isn't JSON; `data` is then a string, sent as it is.
---@field dataschema? string The schema of `data`, as a URI.
---@field [string] string|integer|boolean|nil
local c17 = {}

---Options of `ctx.retry`.
---@class fairlead.RetryOptions
---@field after? number|string When, instead of the policy's backoff; at most an hour.
---@field reason? string Why, for whoever reads it.
local c18 = {}

---What `ctx.retry`, `ctx.dead` and `ctx.drop` give, and what a failed `ctx.http` or `ctx.mail` throws.
---@class fairlead.Outcome
---@field outcome "retry"|"dead"|"drop" Which.
---@field after? number Seconds, for a retry with a time of its own.
---@field message? string Why.
---@field status? integer Of the answer, where `ctx.http` threw it.
---@field response? fairlead.HTTPResponse The answer, without `json()`, where there was one.
local c19 = {}

---A setting of `secret("NAME")`. Can't be read, compared or logged; text joined to it with `..` is a secret too.
---@class fairlead.Secret
---@operator concat(string|fairlead.Secret): fairlead.Secret
local c20 = {}

---What a plugin's file returns; or the handler alone, as a function.
---@class fairlead.Plugin
---@field api? integer The API it is written for: 1.
---@field name? string For people.
---@field version? string For people: `fairlead why` shows which one handled an event.
---@field description? string For people.
---@field config? table<string, fairlead.SettingField> Its settings. Without it, whatever the block says is taken as it is.
---@field requires? fairlead.Requires What it needs; `fairlead check` says what isn't granted.
---@field state_version? integer Of what it keeps in `ctx.state`.
---@field handle? fun(event: fairlead.Event, ctx: fairlead.Ctx): any, any Called for each event.
---@field handle_batch? fun(events: fairlead.Event[], ctx: fairlead.Ctx): any, any Called with many, for subscribers with `batch`. Returns one outcome for all, or a table of them by index.
---@field init? fun(ctx: fairlead.Ctx) Called when it is loaded; an error refuses the reload.
---@field stop? fun(ctx: fairlead.Ctx, why: "reload"|"shutdown"|"removed") Called when it goes, for at most 5 s. May not come: don't rely on it.
---@field migrate? fun(state: fairlead.State, from: integer) Called once when `state_version` is higher than what is kept; an error refuses the reload.
local c21 = {}

---`requires` of a plugin's table.
---@class fairlead.Requires
---@field http? string|string[] Hosts; `$webhook` is the host of the URL that the setting `webhook` says.
---@field mail? boolean|string Mail; `$to`: where the setting `to` is set.
---@field publish? string|string[] Topics; `$to` is the one that the setting `to` says.
---@field env? string|string[] Variables of the environment.
---@field file? boolean A folder to append to.
local c22 = {}

---One entry of a plugin's `config`: `channel = { type = "string", default = "#sales" }`.
---@class fairlead.SettingField
---@field type string `string`, `integer`, `number`, `boolean`, `duration`, `size`, `secret`, `url`, `topic`, `list`, `map`, `enum`; `list<string>` and `map<integer>` say what is in them. A duration is a number of seconds in `ctx.config`, a size one of bytes.
---@field required? boolean Refused without it.
---@field default? any Taken where the block doesn't say. Durations and sizes as in routes.conf: `"30s"`.
---@field min? number|string Least number, bytes of a string, or items of a list.
---@field max? number|string The most of them.
---@field pattern? string A Lua pattern that the text must match.
---@field values? string[] Of an `enum`.
---@field doc? string For people; `fairlead plugin check` shows it.
local c23 = {}

---`local t = require "fairlead.test"`, in files whose name ends in `_test.lua`. Run by `fairlead test`.
---@class fairlead.Test
---@field json fairlead.JSON JSON text, as `ctx.json`.
local c24 = {}

---Adds a case. Each starts with nothing loaded.
---@param name string
---@param body fun(t: fairlead.Test)
function c24.test(name, body) end

---Loads a plugin in the real sandbox, with a clock that stands still, and HTTP and mail that go nowhere. Raises: what `fairlead check` would refuse.
---
---```lua
---local slack = t.load("slack", { webhook = url }, { http = { "hooks.slack.com" } })
---```
---@param name string
---@param settings? table<string, any>
---@param allow? fairlead.Requires
---@return fairlead.TestPlugin
function c24.load(name, settings, allow) end

---An event, with `id`, `source`, `type` and `topic` made up where they aren't given.
---
---```lua
---t.event { type = "order.placed", data = { total = 250 } }
---```
---@param fields? table<string, any>
---@return fairlead.TestEvent
function c24.event(fields) end

---Compares, tables by what is in them. Raises: they differ.
---@param found any
---@param expected any
---@param what? string
function c24.eq(found, expected, what) end

---Wants something true. Raises: it is false or nil.
---@param value any
---@param what? string
function c24.ok(value, what) end

---Wants a text that the Lua pattern is found in. Raises: it is not.
---@param text string
---@param pattern string
function c24.match(text, pattern) end

---What `t.load` gives. Call its functions with a colon.
---@class fairlead.TestPlugin
local c25 = {}

---Announces a request and its answer; a `*` at the end of the URL stands for anything. A request that is not announced fails the test.
---
---```lua
---slack:on("POST", "https://hooks.slack.com/*", { status = 429 })
---```
---@param method string
---@param url string
---@param response fairlead.TestAnswer
---@return fairlead.TestPlugin
function c25:on(method, url, response) end

---Delivers one event, and waits until it is settled. Raises: a request was not announced.
---@param event fairlead.TestEvent
---@return fairlead.TestResult
function c25:handle(event) end

---Delivers several in one go. Raises: as `handle`.
---@param events fairlead.TestEvent[]
---@return fairlead.TestResult
function c25:handle_batch(events) end

---Sets the plugin's state.
---@param key string
---@param value any
function c25:put(key, value) end

---Reads the plugin's state, as committed.
---@param key string
---@return any
function c25:get(key) end

---Moves the clock.
---@param seconds number
function c25:advance(seconds) end

---What `t.event` gives.
---@class fairlead.TestEvent
---@field id string Default: made up.
---@field source string Default: `/test`.
---@field type string Default: `test`.
---@field topic string Default: `test`.
---@field data? any Sent as JSON.
---@field key? string Its key.
---@field attempt? integer Default: 1.
---@field replay? boolean Default: false.
---@field [string] any
local c26 = {}

---How an announced request is answered.
---@class fairlead.TestAnswer
---@field status? integer Default: 200.
---@field headers? table<string, string> Of the answer.
---@field body? string Of the answer.
---@field fail? string No answer: `"timeout"`, or why there is no connection.
local c27 = {}

---What `handle` gives.
---@class fairlead.TestResult
---@field outcome "ack"|"retry"|"dead"|"drop" Of the first event.
---@field outcomes string[] Of all of them.
---@field reason? string Why it was not acknowledged.
---@field after? number Seconds until the retry, where the plugin or the answer said so.
---@field trace? string Where the error was thrown.
---@field calls fairlead.TestCall[] HTTP requests, in order.
---@field mail fairlead.MailMessage[] Mail that was sent; `to` and `cc` are lists.
---@field files table<string, any>[] What was appended to files: `folder`, `name`, `text`, `max_size`.
---@field published table<string, any>[] Events that went out with the acknowledgement: `topic`, `type`, `data`, …
local c28 = {}

---A request that the plugin sent.
---@class fairlead.TestCall
---@field method string Such as `POST`.
---@field url string Whole, secrets included.
---@field headers table<string, string> By names in lower case.
---@field body string As sent.
---@field json? any The body decoded, where it was JSON.
local c29 = {}

return c24
