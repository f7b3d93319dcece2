// SPDX-License-Identifier: Apache-2.0
#include <simdjson.h>

#include <cmath>
#include <map>

#include "LuaHost.h"

// For libFuzzer: any bytes as an event's data and as an argument of ctx.json.decode. What is JSON comes out of Lua equal
// to what went in; what isn't is refused.

namespace {

using simdjson::dom::element;
using simdjson::dom::element_type;

double number(element value) {
    if (value.is_int64()) return double(int64_t(value));
    if (value.is_uint64()) return double(uint64_t(value));
    return double(value);
}

void equal(element a, element b) {
    switch (a.type()) {
    case element_type::ARRAY: {
        EXPECT(b.is_array());
        auto x = simdjson::dom::array(a), y = simdjson::dom::array(b);
        auto j = y.begin();
        for (auto item : x) {
            EXPECT(j != y.end());
            equal(item, *j);
            ++j;
        }
        EXPECT(!(j != y.end()));
        return;
    }
    case element_type::OBJECT: {
        EXPECT(b.is_object());
        // Of two members with one name the last one counts.
        std::map<std::string_view, element> x, y;
        for (auto field : simdjson::dom::object(a)) x[field.key] = field.value;
        for (auto field : simdjson::dom::object(b)) {
            EXPECT(!y.count(field.key));
            y[field.key] = field.value;
        }
        EXPECT(x.size() == y.size());
        for (auto &[key, value] : x) {
            EXPECT(y.count(key));
            equal(value, y[key]);
        }
        return;
    }
    case element_type::STRING:
        EXPECT(b.is_string());
        EXPECT(std::string_view(a) == std::string_view(b));
        return;
    case element_type::INT64:
        EXPECT(b.is_int64());
        EXPECT(int64_t(a) == int64_t(b));
        return;
    case element_type::UINT64:
    case element_type::DOUBLE:
        EXPECT(b.is_double());
        EXPECT(number(a) == number(b) && std::signbit(number(a)) == std::signbit(number(b)));
        return;
    case element_type::BOOL: EXPECT(b.is_bool() && bool(a) == bool(b)); return;
    case element_type::NULL_VALUE: EXPECT(b.is_null()); return;
    }
}

Host &open_host() {
    fl_lua_limits limits = {64 << 20, 5000000000, 5000000000, 9000000000, 1};
    static Host host(limits);
    static bool loaded = host.load(R"(
        return function(event, ctx)
          if type(event.data) == "string" and event.attempt == 1 and not event.key then
            local done, value = pcall(ctx.json.decode, event.data)
            if not done then assert(type(value) == "string") return ctx.drop(value) end
            return ctx.retry{reason = ctx.json.encode(value)}
          end
          return ctx.retry{reason = ctx.json.encode(event.data)}
        end)");
    EXPECT(loaded);
    return host;
}

std::string through(std::string_view text, int kind) {
    Host &host = open_host();
    Record record(text, kind);
    host.run({&record});
    EXPECT(host.cause == FL_LUA_RETURNED || kind == FL_DATA_JSON);
    return host.cause == FL_LUA_RETURNED && host.outcome == FL_LUA_RETRY ? host.reason : "";
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    std::vector<uint8_t> padded(data, data + size);
    padded.resize(size + FL_RECORD_PADDING);
    std::string_view text(reinterpret_cast<const char *>(padded.data()), size);
    bool accepted = fl_json_check(padded.data(), size, 64).status == FL_JSON_OK;
    std::string decoded = through(text, FL_DATA_TEXT);
    if (!accepted) return 0;
    EXPECT(!decoded.empty());

    static simdjson::dom::parser before, after;
    element a, b;
    bool comparable = before.parse(text.data(), text.size(), true).get(a) == simdjson::SUCCESS;
    // A text that is one string goes the way of a text of data; it is compared all the same.
    if (!(comparable && a.is_string())) EXPECT(through(text, FL_DATA_JSON) == decoded);
    EXPECT(after.parse(decoded.data(), decoded.size(), true).get(b) == simdjson::SUCCESS);
    if (comparable) equal(a, b);
    EXPECT(through(decoded, FL_DATA_TEXT) == decoded);
    return 0;
}
