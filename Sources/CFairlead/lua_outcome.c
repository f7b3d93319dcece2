// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "lua_host.h"

/// Two opaque values: outcomes (returned, or thrown by ctx.http, which knows what a failure means) and secrets.

static void *to_kind(lua_State *L, int index, int reference) {
    void *block = lua_touserdata(L, index);
    if (!block || lua_islightuserdata(L, index) || !lua_getmetatable(L, index)) return NULL;
    lua_rawgeti(L, LUA_REGISTRYINDEX, reference);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same ? block : NULL;
}

fl_outcome *fl_to_outcome(lua_State *L, int index) { return to_kind(L, index, fl_host(L)->outcome_meta); }

/// User values of an outcome.
enum { MESSAGE = 1, STATUS = 2, RESPONSE = 3 };

fl_outcome *fl_push_outcome(lua_State *L, uint8_t kind, double after, bool failure) {
    fl_outcome *outcome = lua_newuserdatauv(L, sizeof *outcome, 3);
    outcome->kind = kind;
    outcome->after = after;
    outcome->failure = failure;
    lua_insert(L, -2);
    lua_setiuservalue(L, -2, MESSAGE);
    lua_rawgeti(L, LUA_REGISTRYINDEX, fl_host(L)->outcome_meta);
    lua_setmetatable(L, -2);
    return outcome;
}

static const char *const kind_names[] = {"ack", "retry", "dead", "drop"};

static int outcome_text(lua_State *L) {
    fl_outcome *outcome = lua_touserdata(L, 1);
    if (outcome->failure) {
        lua_getiuservalue(L, 1, MESSAGE);
        return 1;
    }
    lua_pushfstring(L, "%s: ", kind_names[outcome->kind]);
    if (lua_getiuservalue(L, 1, MESSAGE) != LUA_TSTRING) {
        lua_pop(L, 2);
        lua_pushstring(L, kind_names[outcome->kind]);
        return 1;
    }
    lua_concat(L, 2);
    return 1;
}

static int outcome_field(lua_State *L) {
    fl_outcome *outcome = lua_touserdata(L, 1);
    const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
    if (strcmp(name, "message") == 0 || strcmp(name, "reason") == 0) {
        lua_getiuservalue(L, 1, MESSAGE);
    } else if (strcmp(name, "status") == 0) {
        lua_getiuservalue(L, 1, STATUS);
    } else if (strcmp(name, "response") == 0) {
        lua_getiuservalue(L, 1, RESPONSE);
    } else if (strcmp(name, "outcome") == 0) {
        lua_pushstring(L, kind_names[outcome->kind]);
    } else if (strcmp(name, "after") == 0) {
        if (outcome->after < 0) return 0;
        lua_pushnumber(L, outcome->after);
    } else {
        return 0;
    }
    return 1;
}

/// So that `"posting: " .. err` works as it does with a string.
static int outcome_concat(lua_State *L) {
    for (int i = 1; i <= 2; i++) {
        fl_push_text(L, i);
        lua_replace(L, i);
    }
    lua_settop(L, 2);
    lua_concat(L, 2);
    return 1;
}

static int refuse_write(lua_State *L) { return luaL_error(L, "attempt to change a read-only %s", luaL_typename(L, 1)); }

fl_secret *fl_to_secret(lua_State *L, int index) { return to_kind(L, index, fl_host(L)->secret_meta); }

fl_secret *fl_push_secret(lua_State *L, const void *name, size_t name_length, const void *value, size_t length) {
    fl_secret *secret = lua_newuserdatauv(L, sizeof *secret + name_length + length, 0);
    secret->name_length = name_length;
    secret->length = length;
    memcpy(secret->bytes, name, name_length);
    memcpy(secret->bytes + name_length, value, length);
    lua_rawgeti(L, LUA_REGISTRYINDEX, fl_host(L)->secret_meta);
    lua_setmetatable(L, -2);
    return secret;
}

static int secret_text(lua_State *L) {
    fl_secret *secret = lua_touserdata(L, 1);
    lua_pushliteral(L, "secret(");
    lua_pushlstring(L, secret->bytes, secret->name_length);
    lua_pushliteral(L, ")");
    lua_concat(L, 3);
    return 1;
}

/// Text joined to a secret is a secret: `"Bearer " .. ctx.config.token`.
static int secret_concat(lua_State *L) {
    fl_secret *secrets[2];
    const char *parts[2];
    size_t lengths[2];
    for (int i = 0; i < 2; i++) {
        secrets[i] = fl_to_secret(L, i + 1);
        if (secrets[i]) {
            parts[i] = secrets[i]->bytes + secrets[i]->name_length;
            lengths[i] = secrets[i]->length;
        } else if (lua_isstring(L, i + 1)) {
            parts[i] = lua_tolstring(L, i + 1, &lengths[i]);
        } else {
            return luaL_error(L, "attempt to concatenate a %s value with a secret", luaL_typename(L, i + 1));
        }
    }
    luaL_Buffer name, value;
    luaL_buffinit(L, &name);
    for (int i = 0; i < 2; i++) {
        if (!secrets[i]) continue;
        if (i == 1 && secrets[0]) luaL_addchar(&name, '+');
        luaL_addlstring(&name, secrets[i]->bytes, secrets[i]->name_length < 100 ? secrets[i]->name_length : 100);
    }
    luaL_pushresult(&name);
    luaL_buffinit(L, &value);
    luaL_addlstring(&value, parts[0], lengths[0]);
    luaL_addlstring(&value, parts[1], lengths[1]);
    luaL_pushresult(&value);
    size_t name_length, length;
    const char *name_bytes = lua_tolstring(L, -2, &name_length);
    const char *bytes = lua_tolstring(L, -1, &length);
    fl_push_secret(L, name_bytes, name_length, bytes, length);
    return 1;
}

static int secret_field(lua_State *L) {
    return luaL_error(L, "a secret has no methods and can't be read; pass it whole to ctx.http as a URL, a header or "
                         "a value in json, or join text to it with ..");
}

void fl_open_outcome(lua_State *L) {
    static const luaL_Reg outcome[] = {
        {"__index", outcome_field}, {"__newindex", refuse_write}, {"__tostring", outcome_text},
        {"__concat", outcome_concat}, {NULL, NULL},
    };
    static const luaL_Reg secret[] = {
        {"__index", secret_field}, {"__newindex", refuse_write}, {"__tostring", secret_text},
        {"__concat", secret_concat}, {NULL, NULL},
    };
    lua_newtable(L);
    luaL_setfuncs(L, outcome, 0);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pushliteral(L, "outcome");
    lua_setfield(L, -2, "__name");
    fl_host(L)->outcome_meta = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_newtable(L);
    luaL_setfuncs(L, secret, 0);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pushliteral(L, "secret");
    lua_setfield(L, -2, "__name");
    fl_host(L)->secret_meta = luaL_ref(L, LUA_REGISTRYINDEX);
}
