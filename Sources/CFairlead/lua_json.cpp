// SPDX-License-Identifier: Apache-2.0
#include <simdjson.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "lua_host.h"

/// JSON in and out of Lua. Lua's errors pass through these functions as a longjmp: nothing with a destructor may stand
/// on the stack of one that calls Lua, so the parser is the thread's and scratch space is the host's.

namespace {

thread_local simdjson::dom::parser parser;

/// Freed when the thread ends.
struct OwnedBytes : fl_bytes {
    OwnedBytes() : fl_bytes{} {}
    ~OwnedBytes() { std::free(bytes); }
    void forget() {
        std::free(bytes);
        static_cast<fl_bytes &>(*this) = fl_bytes{};
    }
};

thread_local OwnedBytes padded;

/// What is the same for a whole document.
struct Walk {
    lua_State *L;
    /// Stack index of the metatable of arrays.
    int array_meta;
    int null_value;
};

void push(const Walk &walk, simdjson::dom::element value, int depth) {
    using simdjson::dom::element_type;
    lua_State *L = walk.L;
    switch (value.type()) {
    case element_type::ARRAY: {
        if (depth >= FL_DEPTH_MAX) luaL_error(L, "JSON is nested deeper than %d levels", int(FL_DEPTH_MAX));
        luaL_checkstack(L, 4, nullptr);
        auto array = value.get_array().value_unsafe();
        lua_createtable(L, int(array.size()), 0);
        lua_pushvalue(L, walk.array_meta);
        lua_setmetatable(L, -2);
        lua_Integer index = 0;
        for (auto item : array) {
            push(walk, item, depth + 1);
            lua_rawseti(L, -2, ++index);
        }
        fl_tick(L, uint32_t(index) + 1);
        return;
    }
    case element_type::OBJECT: {
        if (depth >= FL_DEPTH_MAX) luaL_error(L, "JSON is nested deeper than %d levels", int(FL_DEPTH_MAX));
        luaL_checkstack(L, 5, nullptr);
        auto object = value.get_object().value_unsafe();
        lua_createtable(L, 0, int(object.size()));
        uint32_t count = 0;
        for (auto field : object) {
            lua_pushlstring(L, field.key.data(), field.key.size());
            push(walk, field.value, depth + 1);
            lua_rawset(L, -3);
            count++;
        }
        fl_tick(L, count + 1);
        return;
    }
    case element_type::STRING: {
        auto text = value.get_string().value_unsafe();
        lua_pushlstring(L, text.data(), text.size());
        return;
    }
    case element_type::INT64: lua_pushinteger(L, value.get_int64().value_unsafe()); return;
    case element_type::UINT64: lua_pushnumber(L, lua_Number(value.get_uint64().value_unsafe())); return;
    case element_type::DOUBLE: lua_pushnumber(L, value.get_double().value_unsafe()); return;
    case element_type::BOOL: lua_pushboolean(L, value.get_bool().value_unsafe()); return;
    case element_type::NULL_VALUE: lua_pushvalue(L, walk.null_value); return;
    }
}

/// Whether digits are more than a 64-bit integer holds.
bool is_too_wide(const uint8_t *digits, size_t count, bool negative) {
    if (count != 19) return count > 19;
    return std::memcmp(digits, negative ? "9223372036854775808" : "9223372036854775807", 19) > 0;
}

/// Copies the text with an exponent after each integer that has no room in 64 bits, which simdjson refuses and a double
/// holds as well as it can.
void widen_integers(const uint8_t *bytes, size_t length) {
    padded.length = 0;
    fl_bytes_reserve(&padded, length + length / 10 + FL_RECORD_PADDING + 16);
    bool quoted = false;
    for (size_t i = 0; i < length;) {
        uint8_t c = bytes[i];
        if (quoted) {
            fl_bytes_u8(&padded, c);
            if (c == '\\' && i + 1 < length) fl_bytes_u8(&padded, bytes[++i]);
            if (c == '"') quoted = false;
            i++;
        } else if (c >= '0' && c <= '9') {
            size_t from = i;
            bool integer = true;
            for (; i < length && (std::strchr("0123456789+-.eE", bytes[i]) && bytes[i]); i++)
                if (bytes[i] < '0' || bytes[i] > '9') integer = false;
            fl_bytes_append(&padded, bytes + from, i - from);
            if (integer && is_too_wide(bytes + from, i - from, from > 0 && bytes[from - 1] == '-'))
                fl_bytes_append(&padded, "e0", 2);
        } else {
            if (c == '"') quoted = true;
            fl_bytes_u8(&padded, c);
            i++;
        }
    }
}

simdjson::error_code parse(const uint8_t *bytes, size_t length, simdjson::dom::element &root) {
    // A parser takes about 14 bytes for each of the longest text that it has seen.
    if (parser.capacity() > FL_BUFFER_KEPT && length <= FL_BUFFER_KEPT) parser = simdjson::dom::parser();
    if (padded.capacity > 2 * FL_BUFFER_KEPT && length <= FL_BUFFER_KEPT && bytes != padded.bytes) padded.forget();
    return parser.parse(bytes, length, false).get(root);
}

void push_document(lua_State *L, const uint8_t *bytes, size_t length) {
    fl_tick(L, uint32_t(length >> 6) + 1);
    simdjson::dom::element root;
    auto error = parse(bytes, length, root);
    if (error == simdjson::NUMBER_ERROR) {
        widen_integers(bytes, length);
        fl_bytes_reserve(&padded, FL_RECORD_PADDING);
        error = parse(padded.bytes, padded.length, root);
    }
    if (error) luaL_error(L, "not JSON: %s", simdjson::error_message(error));
    luaL_checkstack(L, 8, nullptr);
    lua_rawgeti(L, LUA_REGISTRYINDEX, fl_host(L)->array_meta);
    lua_rawgeti(L, LUA_REGISTRYINDEX, fl_host(L)->null_value);
    Walk walk{L, lua_gettop(L) - 1, lua_gettop(L)};
    push(walk, root, 0);
    lua_replace(L, walk.array_meta);
    lua_pop(L, 1);
}

struct Writer {
    lua_State *L;
    fl_lua *lua;
    bool secrets;
    bool found_secret;
};

void add(Writer &w, const char *text) { fl_bytes_append(&w.lua->scratch, text, std::strlen(text)); }

void write_string(Writer &w, const char *text, size_t length) {
    fl_bytes &out = w.lua->scratch;
    if (!fl_is_utf8(reinterpret_cast<const uint8_t *>(text), length))
        luaL_error(w.L, "a string of %d bytes is not UTF-8 and can't be JSON; ctx.crypto.base64 makes text of it",
                   int(length));
    fl_tick(w.L, uint32_t(length >> 6) + 1);
    fl_bytes_reserve(&out, length + 2);
    fl_bytes_u8(&out, '"');
    size_t from = 0;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = static_cast<unsigned char>(text[i]);
        if (c >= 0x20 && c != '"' && c != '\\') continue;
        fl_bytes_append(&out, text + from, i - from);
        from = i + 1;
        char escape[8];
        switch (c) {
        case '"': std::strcpy(escape, "\\\""); break;
        case '\\': std::strcpy(escape, "\\\\"); break;
        case '\n': std::strcpy(escape, "\\n"); break;
        case '\r': std::strcpy(escape, "\\r"); break;
        case '\t': std::strcpy(escape, "\\t"); break;
        default: std::snprintf(escape, sizeof escape, "\\u%04x", c);
        }
        add(w, escape);
    }
    fl_bytes_append(&out, text + from, length - from);
    fl_bytes_u8(&out, '"');
}

void write_number(Writer &w, int index) {
    char text[40];
    if (lua_isinteger(w.L, index)) {
        std::snprintf(text, sizeof text, LUA_INTEGER_FMT, lua_tointeger(w.L, index));
    } else {
        lua_Number value = lua_tonumber(w.L, index);
        if (!std::isfinite(value)) luaL_error(w.L, "%f can't be JSON", value);
        // The shortest of these that reads back the same.
        for (int precision = 15; precision <= 17; precision++) {
            std::snprintf(text, sizeof text, "%.*g", precision, value);
            if (std::strtod(text, nullptr) == value) break;
        }
        if (!std::strpbrk(text, ".e")) std::strcat(text, ".0");
    }
    add(w, text);
}

struct Key {
    const char *bytes;
    size_t length;
};

int compare_keys(const void *a, const void *b) {
    auto x = static_cast<const Key *>(a), y = static_cast<const Key *>(b);
    int order = std::memcmp(x->bytes, y->bytes, x->length < y->length ? x->length : y->length);
    return order ? order : (x->length < y->length ? -1 : x->length > y->length);
}

void write(Writer &w, int index, int depth);

/// Fields in order of their names, so that equal values make equal text.
void write_object(Writer &w, int index, int depth) {
    lua_State *L = w.L;
    fl_bytes &keys = w.lua->keys;
    size_t base = keys.length;
    size_t count = 0;
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "a table with a key of type %s can't be JSON; use strings, or 1 to n without gaps",
                       luaL_typename(L, -2));
        Key key;
        key.bytes = lua_tolstring(L, -2, &key.length);
        fl_bytes_append(&keys, &key, sizeof key);
        count++;
        fl_tick(L, 2);
    }
    if (count > 1) std::qsort(keys.bytes + base, count, sizeof(Key), compare_keys);
    fl_bytes_u8(&w.lua->scratch, '{');
    for (size_t i = 0; i < count; i++) {
        Key key;
        // Read anew each time: nested objects may move the buffer.
        std::memcpy(&key, keys.bytes + base + i * sizeof key, sizeof key);
        if (i) fl_bytes_u8(&w.lua->scratch, ',');
        write_string(w, key.bytes, key.length);
        fl_bytes_u8(&w.lua->scratch, ':');
        lua_pushlstring(L, key.bytes, key.length);
        lua_rawget(L, index);
        write(w, -1, depth + 1);
        lua_pop(L, 1);
    }
    fl_bytes_u8(&w.lua->scratch, '}');
    keys.length = base;
}

void write_table(Writer &w, int index, int depth) {
    lua_State *L = w.L;
    if (depth >= FL_DEPTH_MAX)
        luaL_error(L, "a table nested deeper than %d levels, or containing itself, can't be JSON; build a new table of what is needed",
                   int(FL_DEPTH_MAX));
    luaL_checkstack(L, 6, nullptr);
    fl_push_thawed(L, index);
    index = lua_gettop(L);
    lua_Unsigned length = lua_rawlen(L, index);
    bool array = length > 0;
    if (!array && lua_getmetatable(L, index)) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, fl_host(L)->array_meta);
        array = lua_rawequal(L, -1, -2);
        lua_pop(L, 2);
    }
    if (array) {
        lua_Unsigned count = 0;
        for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
            count = lua_isinteger(L, -2) ? count + 1 : length + 1;
            fl_tick(L, 1);
            if (count > length) {
                lua_pop(L, 2);
                break;
            }
        }
        if (count != length)
            luaL_error(L, "a table with both list items and other keys, or with gaps, can't be JSON");
        fl_bytes_u8(&w.lua->scratch, '[');
        for (lua_Unsigned i = 1; i <= length; i++) {
            if (i > 1) fl_bytes_u8(&w.lua->scratch, ',');
            lua_rawgeti(L, index, lua_Integer(i));
            write(w, -1, depth + 1);
            lua_pop(L, 1);
        }
        fl_bytes_u8(&w.lua->scratch, ']');
    } else {
        write_object(w, index, depth);
    }
    lua_pop(L, 1);
}

void write(Writer &w, int index, int depth) {
    lua_State *L = w.L;
    index = lua_absindex(L, index);
    fl_tick(L, 3);
    if (w.lua->scratch.length > FL_STRING_MAX) luaL_error(L, "the JSON is longer than %d bytes", int(FL_STRING_MAX));
    switch (lua_type(L, index)) {
    case LUA_TNIL:
    case LUA_TLIGHTUSERDATA: add(w, "null"); return;
    case LUA_TBOOLEAN: add(w, lua_toboolean(L, index) ? "true" : "false"); return;
    case LUA_TNUMBER: write_number(w, index); return;
    case LUA_TSTRING: {
        size_t length;
        const char *text = lua_tolstring(L, index, &length);
        write_string(w, text, length);
        return;
    }
    case LUA_TTABLE: write_table(w, index, depth); return;
    default: break;
    }
    if (fl_secret *secret = fl_to_secret(L, index)) {
        if (!w.secrets)
            luaL_error(L, "secret(%s) can't be written here; a secret may go into ctx.http's url, headers, body and json",
                       lua_pushlstring(L, secret->bytes, secret->name_length));
        w.found_secret = true;
        write_string(w, secret->bytes + secret->name_length, secret->length);
        return;
    }
    luaL_error(L, "a %s can't be JSON; use strings, numbers, booleans, tables of them, or ctx.null", luaL_typename(L, index));
}

}  // namespace

extern "C" void fl_json_push_padded(lua_State *L, const uint8_t *bytes, size_t length) {
    push_document(L, bytes, length);
}

extern "C" void fl_json_push(lua_State *L, const uint8_t *bytes, size_t length) {
    fl_bytes &copy = fl_host(L)->scratch;
    copy.length = 0;
    fl_bytes_reserve(&copy, length + FL_RECORD_PADDING);
    fl_bytes_append(&copy, bytes, length);
    push_document(L, copy.bytes, length);
}

extern "C" bool fl_json_write(lua_State *L, int index, bool secrets) {
    fl_lua *lua = fl_host(L);
    index = lua_absindex(L, index);
    lua->scratch.length = 0;
    lua->keys.length = 0;
    Writer writer{L, lua, secrets, false};
    write(writer, index, 0);
    return writer.found_secret;
}
