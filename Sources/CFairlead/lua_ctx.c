// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "lua_host.h"

/// `ctx`. What can be answered here is; the rest is a want: the arguments are packed, the coroutine yields, and
/// `answered` goes on with what Swift said.

double fl_duration(lua_State *L, int index) {
    if (lua_type(L, index) == LUA_TNUMBER) return lua_tonumber(L, index);
    if (lua_type(L, index) != LUA_TSTRING) return -1;
    const char *at = lua_tostring(L, index);
    if (!*at) return -1;
    double total = 0;
    while (*at) {
        char *end;
        if (!((*at >= '0' && *at <= '9') || *at == '.')) return -1;
        double value = strtod(at, &end);
        if (end == at) return -1;
        at = end;
        if (strncmp(at, "ms", 2) == 0) {
            total += value / 1000;
            at += 2;
            continue;
        }
        switch (*at++) {
        case 's': total += value; break;
        case 'm': total += value * 60; break;
        case 'h': total += value * 3600; break;
        case 'd': total += value * 86400; break;
        default: return -1;
        }
    }
    return total;
}

static double check_duration(lua_State *L, int index, const char *what) {
    double seconds = fl_duration(L, index);
    if (!(seconds >= 0)) {
        fl_push_text(L, index);
        luaL_error(L, "%s: '%s' is no duration; write seconds as a number, or text such as \"30s\" or \"5m\"", what,
                   lua_tostring(L, -1));
    }
    return seconds;
}

static fl_slot *check_call(lua_State *L, const char *what, bool event_only) {
    fl_slot *slot = fl_host(L)->current;
    if (!slot || slot->kind == FL_KIND_LOAD)
        luaL_error(L, "%s is not available while the plugin is loading; move this into init or handle", what);
    if (event_only && slot->kind != FL_KIND_EVENT && slot->kind != FL_KIND_BATCH)
        luaL_error(L, "%s is available only while an event is handled, since it is committed with the event's ack", what);
    return slot;
}

static void check_state_write(lua_State *L, const char *what) {
    if (check_call(L, what, false)->kind != FL_KIND_MIGRATE) check_call(L, what, true);
}

static int json_of(lua_State *L) {
    size_t length;
    const char *body = lua_tolstring(L, lua_upvalueindex(1), &length);
    fl_json_push(L, (const uint8_t *)body, length);
    return 1;
}

static int answered(lua_State *L, int status, lua_KContext kind) {
    (void)status;
    fl_lua *lua = fl_host(L);
    lua->wanting = false;
    const uint8_t *at = lua->answer, *end = at ? at + lua->answer_length : NULL;
    lua->answer = NULL;
    int base = lua_gettop(L);
    if (lua->answer_kind < 0) return luaL_error(L, "cannot wait here: a callback of string.gsub, table.sort or a metamethod runs; call ctx before or after it");
    if (lua->answer_kind == FL_ANSWER_ERROR) {
        luaL_where(L, 1);
        fl_unpack(L, at, end, false);
        lua_concat(L, 2);
        return lua_error(L);
    }
    fl_unpack(L, at, end, false);
    if (lua->answer_kind == FL_ANSWER_FAILURE) {
        int answer = lua_gettop(L);
        lua_rawgeti(L, answer, 1);
        uint8_t outcome = (uint8_t)lua_tointeger(L, -1);
        lua_rawgeti(L, answer, 2);
        double after = lua_isnumber(L, -1) ? lua_tonumber(L, -1) : -1;
        luaL_where(L, 1);
        lua_rawgeti(L, answer, 3);
        lua_concat(L, 2);
        fl_push_outcome(L, outcome, after, true);
        for (int i = 2; i <= 3; i++) {
            lua_rawgeti(L, answer, i + 2);
            lua_setiuservalue(L, -2, i);
        }
        return lua_error(L);
    }
    int count = (int)lua_rawlen(L, base + 1);
    // A nil among the results ends them: none of ours has values after one, but for (nil, message).
    if (count == 0) {
        lua_rawgeti(L, base + 1, 2);
        if (kind == FL_WANT_STATE_GET) {
            lua_pushvalue(L, 2);
            return 1;
        }
        lua_pushnil(L);
        lua_insert(L, -2);
        return lua_isnil(L, -1) ? (lua_pop(L, 1), 1) : 2;
    }
    luaL_checkstack(L, count, NULL);
    for (int i = 1; i <= count; i++) lua_rawgeti(L, base + 1, i);
    if (kind == FL_WANT_HTTP && lua_istable(L, base + 2)) {
        lua_getfield(L, base + 2, "body");
        lua_pushcclosure(L, json_of, 1);
        lua_setfield(L, base + 2, "json");
    }
    return count;
}

/// Yields with the values from `first` to the top of the stack as arguments.
static int want(lua_State *L, int kind, int first) {
    fl_lua *lua = fl_host(L);
    if (!lua_isyieldable(L))
        return luaL_error(L, "cannot wait here: a callback of string.gsub, table.sort or a metamethod runs; call ctx before or after it");
    fl_bytes *bytes = &lua->bytes;
    size_t start = bytes->length;
    int last = lua_gettop(L);
    fl_bytes_u8(bytes, FL_PACK_ARRAY);
    fl_bytes_u32(bytes, (uint32_t)(last - first + 1));
    for (int i = first; i <= last; i++) fl_pack(L, i, bytes);
    size_t end = bytes->length;
    luaL_where(L, 1);
    size_t place_length;
    const char *place = lua_tolstring(L, -1, &place_length);
    fl_bytes_append(bytes, place, place_length);
    lua_pop(L, 1);
    if (lua->want_count == lua->want_capacity) {
        lua->want_capacity = lua->want_capacity ? lua->want_capacity * 2 : 16;
        lua->wants = realloc(lua->wants, lua->want_capacity * sizeof *lua->wants);
        if (!lua->wants) abort();
    }
    fl_slot *slot = lua->current;
    fl_lua_want *made = &lua->wants[lua->want_count];
    made->tag = slot->tag;
    made->task = (uint32_t)(slot - lua->slots);
    made->kind = (uint8_t)kind;
    made->arguments.at = (uint32_t)start;
    made->arguments.length = (uint32_t)(end - start);
    made->place.at = (uint32_t)end;
    made->place.length = (uint32_t)place_length;
    // The report takes it over when the yield has reached the host.
    lua->wanting = true;
    return lua_yieldk(L, 0, kind, answered);
}

static void check_key(lua_State *L, const char *what) {
    size_t length;
    const char *key = luaL_checklstring(L, 1, &length);
    if (length == 0 || length > 512 || !fl_is_utf8((const uint8_t *)key, length))
        luaL_error(L, "%s: a key is 1 to 512 bytes of UTF-8 (this one has %d)", what, (int)length);
}

static int state_get(lua_State *L) {
    check_call(L, "ctx.state.get", false);
    check_key(L, "ctx.state.get");
    // The key alone is the argument; `answered` finds the default in slot 2.
    lua_settop(L, 2);
    lua_pushvalue(L, 1);
    return want(L, FL_WANT_STATE_GET, 3);
}

static int state_put(lua_State *L) {
    check_state_write(L, "ctx.state.put");
    check_key(L, "ctx.state.put");
    luaL_checkany(L, 2);
    lua_settop(L, 3);
    if (lua_isnil(L, 2)) return luaL_error(L, "ctx.state.put: the value is nil; use ctx.state.delete, or ctx.null");
    double ttl = -1;
    if (!lua_isnil(L, 3)) {
        luaL_checktype(L, 3, LUA_TTABLE);
        for (lua_pushnil(L); lua_next(L, 3); lua_pop(L, 1)) {
            if (lua_type(L, -2) != LUA_TSTRING || strcmp(lua_tostring(L, -2), "ttl") != 0)
                return luaL_error(L, "ctx.state.put: its only option is ttl");
            ttl = check_duration(L, lua_gettop(L), "ctx.state.put: ttl");
        }
    }
    fl_json_write(L, 2, false);
    lua_pushlstring(L, (const char *)fl_host(L)->scratch.bytes, fl_host(L)->scratch.length);
    lua_replace(L, 2);
    if (ttl >= 0)
        lua_pushnumber(L, ttl);
    else
        lua_pushnil(L);
    lua_replace(L, 3);
    return want(L, FL_WANT_STATE_PUT, 1);
}

static int state_add(lua_State *L) {
    check_state_write(L, "ctx.state.add");
    check_key(L, "ctx.state.add");
    if (lua_isnoneornil(L, 2)) {
        lua_settop(L, 1);
        lua_pushinteger(L, 1);
    }
    luaL_checknumber(L, 2);
    lua_settop(L, 2);
    return want(L, FL_WANT_STATE_ADD, 1);
}

static int state_delete(lua_State *L) {
    check_state_write(L, "ctx.state.delete");
    check_key(L, "ctx.state.delete");
    lua_settop(L, 1);
    return want(L, FL_WANT_STATE_DELETE, 1);
}

static int state_list(lua_State *L) {
    check_call(L, "ctx.state.list", false);
    luaL_optstring(L, 1, "");
    if (!lua_isnoneornil(L, 2)) luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    return want(L, FL_WANT_STATE_LIST, 1);
}

/// Puts a shallow copy of the options at `index` there, with `json` turned into the text to send.
static void prepare_options(lua_State *L, int index) {
    if (lua_isnoneornil(L, index)) {
        if (lua_gettop(L) < index) lua_settop(L, index);
        lua_newtable(L);
        lua_replace(L, index);
        return;
    }
    luaL_checktype(L, index, LUA_TTABLE);
    fl_push_thawed(L, index);
    lua_newtable(L);
    for (lua_pushnil(L); lua_next(L, -3);) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -4);
    }
    lua_getfield(L, -1, "json");
    if (!lua_isnil(L, -1)) {
        bool secret = fl_json_write(L, -1, true);
        fl_bytes *text = &fl_host(L)->scratch;
        if (secret)
            fl_push_secret(L, "json", 4, text->bytes, text->length);
        else
            lua_pushlstring(L, (const char *)text->bytes, text->length);
        lua_setfield(L, -3, "json");
    }
    lua_pop(L, 1);
    lua_replace(L, index);
    lua_pop(L, 1);
}

static int http_send(lua_State *L, const char *method) {
    check_call(L, "ctx.http", false);
    if (lua_istable(L, 1)) return luaL_error(L, "call ctx.http.post(url, options) with a dot, not a colon");
    lua_settop(L, 2);
    prepare_options(L, 2);
    lua_pushstring(L, method);
    lua_insert(L, 1);
    return want(L, FL_WANT_HTTP, 1);
}

static int http_get(lua_State *L) { return http_send(L, "GET"); }
static int http_post(lua_State *L) { return http_send(L, "POST"); }

static int http_request(lua_State *L) {
    check_call(L, "ctx.http.request", false);
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    prepare_options(L, 1);
    lua_getfield(L, 1, "url");
    lua_getfield(L, 1, "method");
    if (lua_isnil(L, -1)) {
        lua_pushliteral(L, "GET");
        lua_replace(L, -2);
    }
    lua_pushnil(L);
    lua_setfield(L, 1, "url");
    lua_pushnil(L);
    lua_setfield(L, 1, "method");
    // method, url, options
    lua_insert(L, 1);
    lua_insert(L, 2);
    return want(L, FL_WANT_HTTP, 1);
}

static int mail_send(lua_State *L) {
    check_call(L, "ctx.mail.send", false);
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    return want(L, FL_WANT_MAIL, 1);
}

/// A table is written as one line of JSON, text as it is.
static int file_append(lua_State *L) {
    check_call(L, "ctx.file.append", false);
    luaL_checkstring(L, 1);
    luaL_argexpected(L, lua_type(L, 2) == LUA_TSTRING || lua_type(L, 2) == LUA_TTABLE, 2, "text or table");
    if (!lua_isnoneornil(L, 3)) luaL_checktype(L, 3, LUA_TTABLE);
    lua_settop(L, 3);
    if (lua_type(L, 2) == LUA_TTABLE) {
        fl_json_write(L, 2, false);
        lua_pushlstring(L, (const char *)fl_host(L)->scratch.bytes, fl_host(L)->scratch.length);
        lua_replace(L, 2);
    }
    return want(L, FL_WANT_FILE, 1);
}

static bool is_json_type(const char *type) {
    size_t length = strcspn(type, ";");
    while (length && type[length - 1] == ' ') length--;
    return (length >= 5 && strncmp(type + length - 5, "+json", 5) == 0) ||
           (length >= 5 && strncmp(type + length - 5, "/json", 5) == 0);
}

static int publish(lua_State *L) {
    check_call(L, "ctx.publish", true);
    luaL_checkstring(L, 1);
    lua_settop(L, 3);
    if (!lua_isnil(L, 3)) luaL_checktype(L, 3, LUA_TTABLE);
    int kind = FL_DATA_NONE;
    bool text = false;
    if (!lua_isnil(L, 3)) {
        lua_getfield(L, 3, "datacontenttype");
        text = lua_type(L, -1) == LUA_TSTRING && !is_json_type(lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    if (text) {
        size_t length;
        const char *bytes = luaL_checklstring(L, 2, &length);
        kind = fl_is_utf8((const uint8_t *)bytes, length) ? FL_DATA_TEXT : FL_DATA_BINARY;
    } else if (!lua_isnil(L, 2)) {
        fl_json_write(L, 2, false);
        lua_pushlstring(L, (const char *)fl_host(L)->scratch.bytes, fl_host(L)->scratch.length);
        lua_replace(L, 2);
        kind = FL_DATA_JSON;
    }
    lua_pushinteger(L, kind);
    lua_insert(L, 3);
    return want(L, FL_WANT_PUBLISH, 1);
}

static int sleep_(lua_State *L) {
    check_call(L, "ctx.sleep", false);
    luaL_checkany(L, 1);
    lua_settop(L, 1);
    lua_pushnumber(L, check_duration(L, 1, "ctx.sleep"));
    lua_replace(L, 1);
    return want(L, FL_WANT_SLEEP, 1);
}

static int env(lua_State *L) {
    check_call(L, "ctx.env", false);
    luaL_checkstring(L, 1);
    lua_settop(L, 1);
    return want(L, FL_WANT_ENV, 1);
}

/// Values at `first` and after it go into the log buffer as one packed array.
static void add_log(lua_State *L, int level, int first) {
    fl_lua *lua = fl_host(L);
    fl_slot *slot = lua->current;
    if (slot && slot->log_bytes > FL_LOG_BYTES_MAX) return;
    size_t start = lua->bytes.length;
    int last = lua_gettop(L);
    fl_bytes_u8(&lua->bytes, FL_PACK_ARRAY);
    fl_bytes_u32(&lua->bytes, (uint32_t)(last - first + 1));
    for (int i = first; i <= last; i++) fl_pack(L, i, &lua->bytes);
    size_t length = lua->bytes.length - start;
    if (slot) {
        slot->log_bytes += (uint32_t)length;
        if (slot->log_bytes > FL_LOG_BYTES_MAX) {
            lua->bytes.length = start;
            static const char message[] = "log output of this call is cut off here";
            fl_bytes_u8(&lua->bytes, FL_PACK_ARRAY);
            fl_bytes_u32(&lua->bytes, 1);
            fl_pack_string(&lua->bytes, message, sizeof message - 1);
            level = FL_LOG_WARN;
            length = lua->bytes.length - start;
        }
    }
    if (lua->log_count == lua->log_capacity) {
        lua->log_capacity = lua->log_capacity ? lua->log_capacity * 2 : 16;
        lua->logs = realloc(lua->logs, lua->log_capacity * sizeof *lua->logs);
        if (!lua->logs) abort();
    }
    fl_lua_log *log = &lua->logs[lua->log_count++];
    log->tag = slot ? slot->tag : UINT64_MAX;
    log->task = slot ? (uint32_t)(slot - lua->slots) : 0;
    log->level = (uint8_t)level;
    log->arguments.at = (uint32_t)start;
    log->arguments.length = (uint32_t)length;
}

static int log_at(lua_State *L, int level) {
    luaL_checkany(L, 1);
    if (!lua_isnoneornil(L, 2)) luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    fl_push_text(L, 1);
    lua_replace(L, 1);
    add_log(L, level, 1);
    return 0;
}

static int log_debug(lua_State *L) { return log_at(L, FL_LOG_DEBUG); }
static int log_info(lua_State *L) { return log_at(L, FL_LOG_INFO); }
static int log_warn(lua_State *L) { return log_at(L, FL_LOG_WARN); }
static int log_error(lua_State *L) { return log_at(L, FL_LOG_ERROR); }

static int print(lua_State *L) {
    int count = lua_gettop(L);
    luaL_Buffer text;
    luaL_buffinit(L, &text);
    for (int i = 1; i <= count; i++) {
        if (i > 1) luaL_addchar(&text, '\t');
        fl_push_text(L, i);
        luaL_addvalue(&text);
    }
    luaL_pushresult(&text);
    lua_replace(L, 1);
    lua_settop(L, 1);
    add_log(L, FL_LOG_INFO, 1);
    return 0;
}

static int metric(lua_State *L) {
    luaL_checkstring(L, 1);
    lua_Number amount = luaL_optnumber(L, 2, 1);
    lua_settop(L, 1);
    lua_pushnumber(L, amount);
    add_log(L, FL_LOG_METRIC, 1);
    return 0;
}

static int now(lua_State *L) {
    lua_pushnumber(L, (lua_Number)fl_host(L)->now / 1000);
    return 1;
}

lua_Number fl_seconds_left(fl_lua *lua) {
    if (!lua->current) return 0;
    uint64_t at = fl_clock(CLOCK_MONOTONIC);
    return lua->current->wall_deadline > at ? (lua_Number)(lua->current->wall_deadline - at) * 1e-9 : 0;
}

static int remaining(lua_State *L) {
    check_call(L, "ctx.remaining", false);
    lua_pushnumber(L, fl_seconds_left(fl_host(L)));
    return 1;
}

static int uuid(lua_State *L) {
    char text[37];
    fl_uuid(text);
    lua_pushstring(L, text);
    return 1;
}

static int json_encode(lua_State *L) {
    luaL_checkany(L, 1);
    fl_json_write(L, 1, false);
    lua_pushlstring(L, (const char *)fl_host(L)->scratch.bytes, fl_host(L)->scratch.length);
    return 1;
}

static int json_decode(lua_State *L) {
    size_t length;
    const char *text = luaL_checklstring(L, 1, &length);
    fl_json_push(L, (const uint8_t *)text, length);
    return 1;
}

static int json_array(lua_State *L) {
    if (lua_isnoneornil(L, 1)) {
        lua_settop(L, 0);
        lua_newtable(L);
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    if (lua_getmetatable(L, 1)) return luaL_error(L, "ctx.json.array: the table has a metatable already");
    lua_rawgeti(L, LUA_REGISTRYINDEX, fl_host(L)->array_meta);
    lua_setmetatable(L, 1);
    return 1;
}

static int retry(lua_State *L) {
    double after = -1;
    if (lua_istable(L, 1)) {
        for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1)) {
            const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
            if (strcmp(name, "after") != 0 && strcmp(name, "reason") != 0)
                return luaL_error(L, "ctx.retry: its options are after and reason");
        }
        if (lua_getfield(L, 1, "after") != LUA_TNIL) after = check_duration(L, lua_gettop(L), "ctx.retry: after");
        if (lua_getfield(L, 1, "reason") != LUA_TNIL) fl_push_text(L, -1);
    } else if (lua_isnoneornil(L, 1)) {
        lua_pushnil(L);
    } else {
        fl_push_text(L, 1);
    }
    fl_push_outcome(L, FL_LUA_RETRY, after, false);
    return 1;
}

static int dead(lua_State *L) {
    if (lua_isnoneornil(L, 1)) return luaL_error(L, "ctx.dead needs a reason: ctx.dead(\"why\")");
    fl_push_text(L, 1);
    fl_push_outcome(L, FL_LUA_DEAD, -1, false);
    return 1;
}

static int drop(lua_State *L) {
    if (lua_isnoneornil(L, 1))
        lua_pushliteral(L, "dropped");
    else
        fl_push_text(L, 1);
    fl_push_outcome(L, FL_LUA_DROP, -1, false);
    return 1;
}

static int test_want(lua_State *L) {
    fl_slot *slot = check_call(L, "fairlead.test", false);
    if (slot->kind != FL_KIND_RUN) return luaL_error(L, "fairlead.test is available only in tests");
    return want(L, FL_WANT_TEST, 1);
}

static int dynamic_field(lua_State *L) {
    const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
    fl_lua *lua = fl_host(L);
    if (strcmp(name, "idempotency_key") == 0) {
        fl_slot *slot = check_call(L, "ctx.idempotency_key", true);
        fl_span id = fl_record_attribute(slot->event.record, "id", 2);
        lua_pushfstring(L, "%s:", lua->subscriber);
        lua_pushlstring(L, (const char *)id.bytes, id.length);
        if (slot->kind == FL_KIND_BATCH)
            lua_pushfstring(L, ":%d", (int)slot->event_count);
        else
            lua_pushliteral(L, "");
        lua_concat(L, 3);
        return 1;
    }
    return luaL_error(L, "ctx has no field '%s'", name);
}

static const luaL_Reg log_functions[] = {
    {"debug", log_debug}, {"info", log_info}, {"warn", log_warn}, {"error", log_error}, {NULL, NULL}};
static const luaL_Reg http_functions[] = {{"get", http_get}, {"post", http_post}, {"request", http_request}, {NULL, NULL}};
static const luaL_Reg mail_functions[] = {{"send", mail_send}, {NULL, NULL}};
static const luaL_Reg file_functions[] = {{"append", file_append}, {NULL, NULL}};
static const luaL_Reg state_functions[] = {
    {"get", state_get}, {"put", state_put}, {"add", state_add}, {"delete", state_delete}, {"list", state_list},
    {NULL, NULL}};
static const luaL_Reg json_functions[] = {
    {"encode", json_encode}, {"decode", json_decode}, {"array", json_array}, {NULL, NULL}};
static const luaL_Reg ctx_functions[] = {
    {"publish", publish}, {"sleep", sleep_}, {"env", env},     {"metric", metric}, {"now", now}, {"remaining", remaining},
    {"uuid", uuid},       {"retry", retry},  {"dead", dead},   {"drop", drop},     {NULL, NULL}};

static void add_library(lua_State *L, const char *name, const luaL_Reg *functions) {
    lua_newtable(L);
    luaL_setfuncs(L, functions, 0);
    fl_freeze(L);
    lua_setfield(L, -2, name);
}

void fl_open_ctx(lua_State *L) {
    fl_lua *lua = fl_host(L);
    lua_newtable(L);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua->array_meta = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushlightuserdata(L, lua);
    lua->null_value = luaL_ref(L, LUA_REGISTRYINDEX);

    lua_newtable(L);
    luaL_setfuncs(L, ctx_functions, 0);
    add_library(L, "log", log_functions);
    add_library(L, "http", http_functions);
    add_library(L, "mail", mail_functions);
    add_library(L, "file", file_functions);
    add_library(L, "state", state_functions);
    add_library(L, "json", json_functions);
    fl_push_crypto(L);
    fl_freeze(L);
    lua_setfield(L, -2, "crypto");
    lua_rawgeti(L, LUA_REGISTRYINDEX, lua->null_value);
    lua_setfield(L, -2, "null");
    lua_newtable(L);
    fl_freeze(L);
    lua_setfield(L, -2, "config");
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, dynamic_field);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
    fl_freeze(L);
    lua->ctx = luaL_ref(L, LUA_REGISTRYINDEX);

    lua_pushglobaltable(L);
    lua_pushliteral(L, "print");
    lua_pushcfunction(L, print);
    lua_rawset(L, -3);
    lua_pop(L, 1);
    // Found by the test prelude under a name that no file has.
    lua_rawgeti(L, LUA_REGISTRYINDEX, lua->loaded);
    lua_pushcfunction(L, test_want);
    lua_setfield(L, -2, "fairlead.test.host");
    lua_pop(L, 1);
}
