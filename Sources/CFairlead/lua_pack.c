// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "lua_host.h"

/// Values between Lua and Swift, in the layout of `fl_lua.h`.

void fl_bytes_reserve(fl_bytes *buffer, size_t more) {
    if (buffer->length + more <= buffer->capacity) return;
    size_t capacity = buffer->capacity ? buffer->capacity * 2 : 1024;
    while (capacity < buffer->length + more) capacity *= 2;
    buffer->bytes = realloc(buffer->bytes, capacity);
    // Sizes are bounded by FL_PACK_MAX; a process that can't have so much can't go on.
    if (!buffer->bytes) abort();
    buffer->capacity = capacity;
}

void fl_bytes_append(fl_bytes *buffer, const void *bytes, size_t length) {
    fl_bytes_reserve(buffer, length);
    if (length) memcpy(buffer->bytes + buffer->length, bytes, length);
    buffer->length += length;
}

void fl_pack_string(fl_bytes *out, const void *bytes, size_t length) {
    fl_bytes_u8(out, FL_PACK_STRING);
    fl_bytes_u32(out, (uint32_t)length);
    fl_bytes_append(out, bytes, length);
}

static void pack_value(lua_State *L, int index, fl_bytes *out, size_t start, int depth);

static bool is_list(lua_State *L, int index, lua_Unsigned length) {
    if (length == 0) return false;
    lua_Unsigned count = 0;
    lua_pushnil(L);
    while (lua_next(L, index)) {
        lua_pop(L, 1);
        if (!lua_isinteger(L, -1) || ++count > length) {
            lua_pop(L, 1);
            return false;
        }
    }
    return count == length;
}

static void pack_table(lua_State *L, int index, fl_bytes *out, size_t start, int depth) {
    luaL_checkstack(L, 5, NULL);
    fl_push_thawed(L, index);
    index = lua_gettop(L);
    lua_Unsigned length = lua_rawlen(L, index);
    size_t count_at = out->length + 1;
    uint32_t count = 0;
    if (is_list(L, index, length)) {
        fl_bytes_u8(out, FL_PACK_ARRAY);
        fl_bytes_u32(out, 0);
        for (lua_Unsigned i = 1; i <= length; i++, count++) {
            lua_rawgeti(L, index, (lua_Integer)i);
            pack_value(L, -1, out, start, depth + 1);
            lua_pop(L, 1);
        }
    } else {
        fl_bytes_u8(out, FL_PACK_MAP);
        fl_bytes_u32(out, 0);
        lua_pushnil(L);
        for (; lua_next(L, index); count++) {
            size_t key_length;
            const char *key;
            if (lua_type(L, -2) == LUA_TSTRING) {
                key = lua_tolstring(L, -2, &key_length);
                fl_bytes_u32(out, (uint32_t)key_length);
                fl_bytes_append(out, key, key_length);
            } else {
                // Of the key's own: its __tostring could log, and that would go into the midst of this value. And a copy,
                // since converting a key in place would confuse lua_next.
                int type = lua_type(L, -2);
                if (type == LUA_TNUMBER || type == LUA_TBOOLEAN) {
                    lua_pushvalue(L, -2);
                    fl_push_text(L, -1);
                    lua_remove(L, -2);
                } else {
                    lua_pushstring(L, lua_typename(L, type));
                }
                key = lua_tolstring(L, -1, &key_length);
                fl_bytes_u32(out, (uint32_t)key_length);
                fl_bytes_append(out, key, key_length);
                lua_pop(L, 1);
            }
            pack_value(L, -1, out, start, depth + 1);
            lua_pop(L, 1);
        }
    }
    memcpy(out->bytes + count_at, &count, 4);
    lua_pop(L, 1);
}

static void pack_value(lua_State *L, int index, fl_bytes *out, size_t start, int depth) {
    index = lua_absindex(L, index);
    if (out->length - start > FL_PACK_MAX) luaL_error(L, "the value is larger than %d bytes", (int)FL_PACK_MAX);
    if (depth > FL_DEPTH_MAX)
        luaL_error(L, "the value is nested deeper than %d levels, or contains itself", (int)FL_DEPTH_MAX);
    fl_tick(L, 4);
    switch (lua_type(L, index)) {
    case LUA_TNONE:
    case LUA_TNIL: fl_bytes_u8(out, FL_PACK_NIL); return;
    case LUA_TBOOLEAN: fl_bytes_u8(out, lua_toboolean(L, index) ? FL_PACK_TRUE : FL_PACK_FALSE); return;
    case LUA_TNUMBER:
        if (lua_isinteger(L, index)) {
            int64_t value = lua_tointeger(L, index);
            fl_bytes_u8(out, FL_PACK_INTEGER);
            fl_bytes_append(out, &value, 8);
        } else {
            double value = lua_tonumber(L, index);
            fl_bytes_u8(out, FL_PACK_NUMBER);
            fl_bytes_append(out, &value, 8);
        }
        return;
    case LUA_TSTRING: {
        size_t length;
        const char *text = lua_tolstring(L, index, &length);
        fl_pack_string(out, text, length);
        return;
    }
    case LUA_TTABLE: pack_table(L, index, out, start, depth); return;
    case LUA_TLIGHTUSERDATA: fl_bytes_u8(out, FL_PACK_NULL); return;
    case LUA_TUSERDATA: {
        fl_secret *secret = fl_to_secret(L, index);
        if (secret) {
            fl_bytes_u8(out, FL_PACK_SECRET);
            fl_bytes_u32(out, (uint32_t)secret->name_length);
            fl_bytes_append(out, secret->bytes, secret->name_length);
            fl_bytes_u32(out, (uint32_t)secret->length);
            fl_bytes_append(out, secret->bytes + secret->name_length, secret->length);
            return;
        }
        break;
    }
    default: break;
    }
    const char *type = luaL_typename(L, index);
    if (lua_type(L, index) == LUA_TUSERDATA) {
        fl_push_text(L, index);
        type = lua_tostring(L, -1);
    }
    fl_bytes_u8(out, FL_PACK_OTHER);
    fl_bytes_u32(out, (uint32_t)strlen(type));
    fl_bytes_append(out, type, strlen(type));
    if (lua_type(L, index) == LUA_TUSERDATA) lua_pop(L, 1);
}

void fl_pack(lua_State *L, int index, fl_bytes *out) { pack_value(L, index, out, out->length, 0); }

static uint32_t read_u32(lua_State *L, const uint8_t **at, const uint8_t *end) {
    uint32_t value;
    if (end - *at < 4) luaL_error(L, "packed value is cut off");
    memcpy(&value, *at, 4);
    *at += 4;
    return value;
}

static const char *read_bytes(lua_State *L, const uint8_t **at, const uint8_t *end, size_t *length) {
    *length = read_u32(L, at, end);
    if ((size_t)(end - *at) < *length) luaL_error(L, "packed value is cut off");
    const char *bytes = (const char *)*at;
    *at += *length;
    return bytes;
}

const uint8_t *fl_unpack(lua_State *L, const uint8_t *at, const uint8_t *end, bool freeze) {
    luaL_checkstack(L, 8, NULL);
    if (at >= end) luaL_error(L, "packed value is cut off");
    size_t length;
    const char *bytes;
    switch (*at++) {
    case FL_PACK_NIL: lua_pushnil(L); break;
    case FL_PACK_FALSE: lua_pushboolean(L, 0); break;
    case FL_PACK_TRUE: lua_pushboolean(L, 1); break;
    case FL_PACK_INTEGER: {
        int64_t value;
        if (end - at < 8) luaL_error(L, "packed value is cut off");
        memcpy(&value, at, 8);
        at += 8;
        lua_pushinteger(L, value);
        break;
    }
    case FL_PACK_NUMBER: {
        double value;
        if (end - at < 8) luaL_error(L, "packed value is cut off");
        memcpy(&value, at, 8);
        at += 8;
        lua_pushnumber(L, value);
        break;
    }
    case FL_PACK_STRING:
        bytes = read_bytes(L, &at, end, &length);
        lua_pushlstring(L, bytes, length);
        break;
    case FL_PACK_ARRAY: {
        uint32_t count = read_u32(L, &at, end);
        lua_newtable(L);
        lua_rawgeti(L, LUA_REGISTRYINDEX, fl_host(L)->array_meta);
        lua_setmetatable(L, -2);
        for (uint32_t i = 1; i <= count; i++) {
            at = fl_unpack(L, at, end, freeze);
            lua_rawseti(L, -2, i);
        }
        if (freeze) fl_freeze(L);
        break;
    }
    case FL_PACK_MAP: {
        uint32_t count = read_u32(L, &at, end);
        lua_newtable(L);
        for (uint32_t i = 0; i < count; i++) {
            bytes = read_bytes(L, &at, end, &length);
            lua_pushlstring(L, bytes, length);
            at = fl_unpack(L, at, end, freeze);
            lua_rawset(L, -3);
        }
        if (freeze) fl_freeze(L);
        break;
    }
    case FL_PACK_SECRET: {
        size_t name_length;
        const char *name = read_bytes(L, &at, end, &name_length);
        bytes = read_bytes(L, &at, end, &length);
        fl_push_secret(L, name, name_length, bytes, length);
        break;
    }
    case FL_PACK_NULL: lua_rawgeti(L, LUA_REGISTRYINDEX, fl_host(L)->null_value); break;
    case FL_PACK_JSON:
        bytes = read_bytes(L, &at, end, &length);
        fl_json_push(L, (const uint8_t *)bytes, length);
        break;
    default: luaL_error(L, "packed value of an unknown kind");
    }
    return at;
}
