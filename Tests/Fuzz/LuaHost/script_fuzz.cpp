// SPDX-License-Identifier: Apache-2.0
#include "LuaHost.h"

// For libFuzzer: plugins made from any bytes, some as they are, most by a grammar that knows the API's names, run under
// small limits in the real host. Nothing may crash, hang, leak or lose a delivery.

namespace {

/// Grows Lua source from bytes; when they are used up, everything ends as soon as it can.
class Grower {
  public:
    Grower(const uint8_t *data, size_t size) : at(data), end(data + size) {}

    std::string chunk() {
        out = "local x, y, z, saved, list = 1, 'a', {}, {}, {1, 2, 3}\n";
        if (pick(3) == 0) {
            out += "return {config = ";
            expression(2);
            out += ", init = function(ctx) ";
            block(3);
            out += " end, stop = function(ctx, why) ";
            block(2);
            out += " end, ";
            out += pick(2) ? "handle" : "handle_batch";
            out += " = function(event, ctx) ";
            block(5);
            out += " end}";
        } else {
            out += "return function(event, ctx) ";
            block(6);
            out += " end";
        }
        return out;
    }

    unsigned pick(unsigned count) { return at < end ? *at++ % count : 0; }
    bool done() const { return at == end || out.size() > 6000; }

  private:
    const uint8_t *at, *end;
    std::string out;
    int loops = 0;

    void add(const char *text) { out += text; }

    void name() {
        static const char *const names[] = {"x", "y", "z", "saved", "list", "event", "event.data", "x[1]", "z.a", "saved[1]"};
        add(names[pick(10)]);
    }

    void function_name() {
        static const char *const names[] = {
            "ctx.state.get", "ctx.state.put", "ctx.state.add", "ctx.state.delete", "ctx.state.list", "ctx.http.get",
            "ctx.http.post", "ctx.http.request", "ctx.mail.send", "ctx.publish", "ctx.sleep", "ctx.env", "ctx.metric",
            "ctx.now", "ctx.remaining", "ctx.uuid", "ctx.retry", "ctx.dead", "ctx.drop", "ctx.json.encode",
            "ctx.json.decode", "ctx.json.array", "ctx.crypto.sha256", "ctx.crypto.hmac_sha256", "ctx.crypto.hex",
            "ctx.crypto.base64", "ctx.crypto.random", "ctx.log.info", "ctx.log.error", "print", "tostring", "tonumber",
            "pcall", "xpcall", "error", "assert", "select", "next", "pairs", "ipairs", "type", "rawget", "rawset",
            "rawlen", "rawequal", "setmetatable", "getmetatable", "require", "collectgarbage", "string.rep",
            "string.find", "string.match", "string.gmatch", "string.gsub", "string.format", "string.byte",
            "string.char", "string.sub", "string.pack", "string.unpack", "string.packsize", "string.reverse",
            "string.upper", "table.concat", "table.insert", "table.remove", "table.move", "table.pack",
            "table.unpack", "table.sort", "utf8.char", "utf8.len", "utf8.codepoint", "utf8.offset", "utf8.codes",
            "math.random", "math.randomseed", "math.tointeger", "math.floor", "os.time", "os.date", "os.clock",
            "coroutine.create", "coroutine.resume", "coroutine.wrap", "coroutine.yield", "coroutine.close",
            "coroutine.status", "coroutine.running", "coroutine.isyieldable", "debug.traceback",
            "coroutine.wrap(ctx.sleep)", "coroutine.resume", "pcall", "ctx.sleep", "ctx.state.get",
        };
        add(names[pick(sizeof names / sizeof *names)]);
    }

    void string() {
        static const char *const texts[] = {
            "'a'", "''", "'%a+'", "'(.-)%1'", "'%b()'", "'%f[%w]'", "'[^%]'", "'30s'", "'%5.2s|%d'", "'%q%p'",
            "'<i4z'", "'!*t'", "'[1,{\"a\":null}]'", "'\\0%p\\255'", "('ab'):rep(400)", "('a?'):rep(20)",
            "'(((((((((((((((((((((((((((((((((()'", "'__gc'", "'__close'", "'n'",
        };
        add(texts[pick(20)]);
    }

    void expression(int depth) {
        unsigned kind = depth <= 0 || done() ? pick(6) : pick(20);
        switch (kind) {
        case 0: add("nil"); return;
        case 1: add(pick(2) ? "true" : "false"); return;
        case 2: {
            static const char *const numbers[] = {"0", "1", "-1", "2.5", "1e308", "0/0", "1 << 62", "math.mininteger",
                                                  "math.maxinteger", "65536", "100000", "3", "8", "1 << 33"};
            add(numbers[pick(14)]);
            return;
        }
        case 3: string(); return;
        case 4: name(); return;
        case 5: add(pick(2) ? "ctx" : "ctx.null"); return;
        case 6:
        case 7:
        case 8: call(depth - 1); return;
        case 9: {
            static const char *const operators[] = {" .. ", " + ", " == ", " < ", " and ", " or ", " // ", " % ", " ~ ", " ^ "};
            add("(");
            expression(depth - 1);
            add(operators[pick(10)]);
            expression(depth - 1);
            add(")");
            return;
        }
        case 10: {
            static const char *const operators[] = {"#", "-", "not ", "~"};
            add("(");
            add(operators[pick(4)]);
            expression(depth - 1);
            add(")");
            return;
        }
        case 11:
        case 12: function(depth); return;
        case 13: {
            add("{");
            for (unsigned n = pick(4); n > 0; n--) {
                if (pick(3) == 0) {
                    add("[");
                    expression(depth - 1);
                    add(" or 1] = ");
                } else if (pick(3) == 0) {
                    static const char *const keys[] = {"a = ", "json = ", "reason = ", "after = ", "to = ", "url = ", "ttl = "};
                    add(keys[pick(7)]);
                }
                expression(depth - 1);
                add(", ");
            }
            add("}");
            return;
        }
        case 14: {
            static const char *const events[] = {"__index", "__newindex", "__tostring", "__len", "__close", "__concat",
                                                 "__eq", "__lt", "__call", "__pairs", "__metatable", "__mode", "__name",
                                                 "__gc"};
            add("setmetatable({}, {");
            add(events[pick(14)]);
            add(" = ");
            if (pick(4) == 0) expression(depth - 1);
            else function(depth);
            add("})");
            return;
        }
        case 15:
            add("coroutine.create(");
            function(depth);
            add(")");
            return;
        case 16:
            add("select(2, pcall(");
            function(depth);
            add("))");
            return;
        case 17:
            add("table.unpack(");
            expression(depth - 1);
            add(")");
            return;
        case 18:
            string();
            return;
        default: add("saved"); return;
        }
    }

    void function(int depth) {
        add("function(a, b) ");
        block(depth - 1);
        add(" end");
    }

    void arguments(int depth) {
        add("(");
        unsigned count = pick(4);
        for (unsigned i = 0; i < count; i++) {
            if (i) add(", ");
            expression(depth);
        }
        add(")");
    }

    void call(int depth) {
        unsigned kind = pick(8);
        if (kind == 0) {
            add("pcall(");
            function_name();
            unsigned count = pick(4);
            for (unsigned i = 0; i < count; i++) {
                add(", ");
                expression(depth);
            }
            add(")");
        } else if (kind == 1) {
            add("coroutine.wrap(");
            function(depth);
            add(")()");
        } else {
            function_name();
            arguments(depth);
        }
    }

    void block(int depth) {
        for (unsigned n = 1 + pick(4); n > 0 && !done(); n--) statement(depth);
        if (pick(4) == 0) {
            add("do return ");
            expression(depth - 1);
            add(" end ");
        }
    }

    void statement(int depth) {
        if (depth <= 0) {
            add("x = ");
            expression(0);
            add(" ");
            return;
        }
        switch (pick(16)) {
        case 0:
            add("local x = ");
            expression(depth - 1);
            add(" ");
            return;
        case 1:
            add("saved[#saved + 1] = ");
            expression(depth - 1);
            add(" ");
            return;
        case 2:
            add("x, y = ");
            expression(depth - 1);
            add(", x ");
            return;
        case 3:
            add("if ");
            expression(depth - 1);
            add(" then ");
            block(depth - 1);
            add(" else ");
            block(depth - 1);
            add(" end ");
            return;
        case 4:
            if (++loops > 4) break;
            add(pick(4) ? "for i = 1, 30 do " : "while true do ");
            block(depth - 1);
            add(" end ");
            return;
        case 5:
            if (++loops > 4) break;
            add("for k, v in pairs(");
            expression(depth - 1);
            add(" or {}) do ");
            block(depth - 1);
            add(" end ");
            return;
        case 6:
            add("do local c <close> = setmetatable({}, {__close = ");
            function(depth);
            add("}) ");
            block(depth - 1);
            add(" end ");
            return;
        case 7:
            add("saved[1] = coroutine.running() ");
            return;
        case 8:
            add("coroutine.resume(saved[#saved]) ");
            return;
        case 9:
            add("coroutine.close(saved[#saved]) ");
            return;
        case 10:
            add("pcall(");
            function(depth);
            add(") ");
            return;
        case 11:
            add("xpcall(");
            function(depth);
            add(", ");
            function(depth);
            add(") ");
            return;
        case 12:
            add("saved[#saved + 1] = coroutine.create(");
            function(depth);
            add(") ");
            return;
        default: break;
        }
        add("x = ");
        call(depth - 1);
        add(" ");
    }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    Grower grower(data + 1, size - 1);
    bool raw = data[0] % 8 == 0;
    std::string source = raw ? std::string(reinterpret_cast<const char *>(data + 1), size - 1) : grower.chunk();
    static const bool shows = std::getenv("SHOW_SCRIPTS");
    if (shows) std::fprintf(stderr, "%s\n", source.c_str());

    constexpr uint64_t millisecond = 1000000;
    fl_lua_limits limits = {data[0] & 16 ? 200u << 10 : 2u << 20, 3 * millisecond, 5 * millisecond, 50 * millisecond,
                            data[0] & 32 ? 1u : 3u};
    Host host(limits);
    EXPECT(host.lua);
    host.module("lib", "local t = {} return t");
    host.module("again", "return require('again')");
    if (!host.load(source)) return 0;
    Packed config;
    config.map(3).key("text").text("a").key("token").secret("TOKEN", "s3cret").key("list").array(2).integer(1).nil();
    host.configure(config);
    host.call(FL_CALL_INIT);
    host.answer_all();
    Record one("{\"a\": [1, 2.5, null, {\"b\": \"c\"}], \"n\": 9007199254740993}"), two("[]"), text("text \xff", FL_DATA_BINARY);
    host.run({&one, &two, &text});
    for (int turns = 0; turns < 12 && !host.waiting.empty(); turns++) {
        size_t which = grower.pick(unsigned(host.waiting.size()));
        Packed value;
        switch (grower.pick(6)) {
        case 0: host.cancel(which); break;
        case 1: host.answer(which, FL_ANSWER_ERROR, value.text("no")); break;
        case 2:
            host.answer(which, FL_ANSWER_FAILURE,
                        value.array(5).integer(1).number(2.5).text("failed").integer(503).map(0));
            break;
        case 3: host.answer(which, FL_ANSWER_VALUES, value.array(2).nil().text("why")); break;
        case 4: host.answer(which, FL_ANSWER_VALUES, value.array(1).json("not JSON")); break;
        default: host.answer(which, FL_ANSWER_VALUES, value.array(1).map(1).key("body").text("{}"));
        }
        if (turns == 3) host.run({&two});
    }
    host.run_batch({&one, &two});
    host.answer_all();
    while (!host.waiting.empty()) host.cancel(0);
    host.call(FL_CALL_STOP);
    host.answer_all();
    return 0;
}
