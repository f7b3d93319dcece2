// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "lua_host.h"

/// The base library and the standard ones as a plugin sees them: nothing that reaches the machine, nothing that runs
/// long without a look at the clock, nothing that shows an address.

bool fl_push_thawed(lua_State *L, int index) {
    index = lua_absindex(L, index);
    if (lua_type(L, index) == LUA_TTABLE && lua_getmetatable(L, index)) {
        lua_rawgetp(L, -1, fl_freeze);
        if (lua_istable(L, -1)) {
            lua_remove(L, -2);
            return true;
        }
        lua_pop(L, 2);
    }
    lua_pushvalue(L, index);
    return false;
}

static int refuse_write(lua_State *L) {
    return luaL_error(L, "attempt to change a read-only table (field '%s')",
                      lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : luaL_typename(L, 2));
}

static int frozen_next(lua_State *L) {
    lua_settop(L, 2);
    if (lua_next(L, lua_upvalueindex(1))) return 2;
    lua_pushnil(L);
    return 1;
}

static int frozen_pairs(lua_State *L) {
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushcclosure(L, frozen_next, 1);
    lua_pushvalue(L, 1);
    lua_pushnil(L);
    return 3;
}

static int frozen_length(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)lua_rawlen(L, lua_upvalueindex(1)));
    return 1;
}

void fl_freeze(lua_State *L) {
    luaL_checkstack(L, 5, NULL);
    int inner = lua_gettop(L);
    lua_newtable(L);
    lua_createtable(L, 0, 6);
    lua_pushvalue(L, inner);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, refuse_write);
    lua_setfield(L, -2, "__newindex");
    lua_pushvalue(L, inner);
    lua_pushcclosure(L, frozen_pairs, 1);
    lua_setfield(L, -2, "__pairs");
    lua_pushvalue(L, inner);
    lua_pushcclosure(L, frozen_length, 1);
    lua_setfield(L, -2, "__len");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pushvalue(L, inner);
    lua_rawsetp(L, -2, fl_freeze);
    lua_setmetatable(L, -2);
    lua_remove(L, inner);
}

void fl_push_text(lua_State *L, int index) {
    index = lua_absindex(L, index);
    switch (lua_type(L, index)) {
    case LUA_TTABLE:
    case LUA_TUSERDATA:
        if (luaL_callmeta(L, index, "__tostring")) {
            if (!lua_isstring(L, -1)) luaL_error(L, "'__tostring' must return a string");
            return;
        }
        lua_pushstring(L, luaL_typename(L, index));
        return;
    case LUA_TFUNCTION:
    case LUA_TTHREAD: lua_pushstring(L, luaL_typename(L, index)); return;
    case LUA_TLIGHTUSERDATA: lua_pushliteral(L, "null"); return;
    default: luaL_tolstring(L, index, NULL);
    }
}

static int to_string(lua_State *L) {
    luaL_checkany(L, 1);
    fl_push_text(L, 1);
    return 1;
}

static int set_metatable(lua_State *L) {
    int type = lua_type(L, 2);
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_argexpected(L, type == LUA_TNIL || type == LUA_TTABLE, 2, "nil or table");
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL) return luaL_error(L, "cannot change a protected metatable");
    if (type == LUA_TTABLE) {
        lua_pushliteral(L, "__gc");
        if (lua_rawget(L, 2) != LUA_TNIL)
            return luaL_error(L, "__gc is not available in plugins; use a <close> variable or stop(ctx, why)");
        lua_pop(L, 1);
    }
    lua_settop(L, 2);
    lua_setmetatable(L, 1);
    return 1;
}

static int raw_set(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checkany(L, 2);
    luaL_checkany(L, 3);
    if (fl_push_thawed(L, 1)) return refuse_write(L);
    lua_settop(L, 3);
    lua_rawset(L, 1);
    return 1;
}

static int raw_get(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checkany(L, 2);
    lua_settop(L, 2);
    fl_push_thawed(L, 1);
    lua_insert(L, 2);
    lua_rawget(L, 2);
    return 1;
}

static int raw_len(lua_State *L) {
    int type = lua_type(L, 1);
    luaL_argexpected(L, type == LUA_TTABLE || type == LUA_TSTRING, 1, "table or string");
    fl_push_thawed(L, 1);
    lua_pushinteger(L, (lua_Integer)lua_rawlen(L, -1));
    return 1;
}

static int next(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 2);
    fl_tick(L, 20);
    fl_push_thawed(L, 1);
    lua_insert(L, 2);
    if (lua_next(L, 2)) return 2;
    lua_pushnil(L);
    return 1;
}

static int collect_garbage(lua_State *L) {
    const char *what = luaL_optstring(L, 1, "collect");
    if (strcmp(what, "count") != 0)
        return luaL_error(L, "collectgarbage(\"%s\") is not available in plugins; only \"count\" is", what);
    lua_pushnumber(L, (lua_Number)fl_host(L)->used / 1024);
    return 1;
}

static int require(lua_State *L) {
    fl_lua *lua = fl_host(L);
    size_t length;
    const char *name = luaL_checklstring(L, 1, &length);
    lua_settop(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, lua->loaded);
    lua_pushvalue(L, 1);
    if (lua_rawget(L, 2) != LUA_TNIL) {
        if (lua_islightuserdata(L, -1)) return luaL_error(L, "module '%s' requires itself", name);
        return 1;
    }
    lua_pop(L, 1);
    for (size_t i = 0; i < lua->module_count; i++) {
        fl_module *module = &lua->modules[i];
        if (strcmp(module->name, name) != 0) continue;
        lua_pushvalue(L, 1);
        lua_pushlightuserdata(L, lua);
        lua_rawset(L, 2);
        if (luaL_loadbufferx(L, module->source, module->length, module->chunk, "t") != LUA_OK) return lua_error(L);
        lua_pushvalue(L, 1);
        lua_call(L, 1, 1);
        if (lua_isnil(L, -1)) {
            lua_pop(L, 1);
            lua_pushboolean(L, 1);
        }
        lua_pushvalue(L, 1);
        lua_pushvalue(L, -2);
        lua_rawset(L, 2);
        return 1;
    }
    return luaL_error(L, "module '%s' not found; require looks in the plugin's own folder and in Plugins/lib", name);
}

static int rep(lua_State *L) {
    size_t length, separator_length;
    const char *text = luaL_checklstring(L, 1, &length);
    lua_Integer count = luaL_checkinteger(L, 2);
    const char *separator = luaL_optlstring(L, 3, "", &separator_length);
    if (count <= 0 || length + separator_length == 0) {
        lua_pushliteral(L, "");
        return 1;
    }
    if ((lua_Unsigned)count > FL_STRING_MAX / (length + separator_length))
        return luaL_error(L, "string.rep: the result is longer than %d bytes", (int)FL_STRING_MAX);
    size_t total = (size_t)count * length + (size_t)(count - 1) * separator_length;
    luaL_Buffer buffer;
    char *at = luaL_buffinitsize(L, &buffer, total);
    for (lua_Integer i = 0; i < count; i++) {
        memcpy(at, text, length);
        at += length;
        if (i + 1 < count && separator_length) {
            memcpy(at, separator, separator_length);
            at += separator_length;
        }
    }
    luaL_pushresultsize(&buffer, total);
    fl_tick(L, (uint32_t)(total >> 8) + 1);
    return 1;
}

/// The standard function (upvalue 1) with addresses kept out: %p is refused, and what has no text of its own shows
/// only its type.
static int format(lua_State *L) {
    size_t length;
    const char *text = luaL_checklstring(L, 1, &length);
    // Zero bytes don't end a format.
    const char *end = text + length;
    for (const char *at = text; (at = memchr(at, '%', (size_t)(end - at))) != NULL && ++at < end; at++) {
        at += strspn(at, "-+ #0123456789.");
        if (*at == 'p') return luaL_error(L, "string.format: %%p is not available in plugins");
        if (at == end) break;
    }
    int top = lua_gettop(L);
    for (int i = 2; i <= top; i++) {
        int type = lua_type(L, i);
        if (type == LUA_TTABLE || type >= LUA_TFUNCTION || type == LUA_TLIGHTUSERDATA) {
            fl_push_text(L, i);
            lua_replace(L, i);
        }
    }
    fl_tick(L, 20);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, top, 1);
    return 1;
}

/// A standard function (upvalue 1) whose work grows with its first argument's length.
static int counted(lua_State *L) {
    size_t length = 0;
    if (lua_type(L, 1) == LUA_TSTRING) lua_tolstring(L, 1, &length);
    fl_tick(L, (uint32_t)(length >> 6) + 2);
    return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

static void count_functions(lua_State *L, const char *const *names) {
    for (; *names; names++) {
        if (lua_getfield(L, -1, *names) == LUA_TFUNCTION) {
            lua_pushcclosure(L, counted, 1);
            lua_setfield(L, -2, *names);
        } else {
            lua_pop(L, 1);
        }
    }
}

static int os_time(lua_State *L) {
    if (lua_isnoneornil(L, 1)) {
        lua_pushinteger(L, fl_host(L)->now / 1000);
        return 1;
    }
    return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

static int os_date(lua_State *L) {
    lua_settop(L, 2);
    if (lua_isnil(L, 2)) {
        lua_pushinteger(L, fl_host(L)->now / 1000);
        lua_replace(L, 2);
    }
    if (lua_isnil(L, 1)) {
        lua_pushliteral(L, "%c");
        lua_replace(L, 1);
    }
    return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

static int os_clock(lua_State *L) {
    fl_lua *lua = fl_host(L);
    uint64_t spent = lua->current ? lua->current->spent + (fl_clock(CLOCK_MONOTONIC) - lua->entered) : 0;
    lua_pushnumber(L, (lua_Number)spent * 1e-9);
    return 1;
}

/// The standard function (upvalue 1), which without arguments would take the interpreter's address as a seed and return it.
static int random_seed(lua_State *L) {
    if (lua_isnone(L, 1)) {
        lua_Integer seeds[2];
        fl_random(seeds, sizeof seeds);
        lua_pushinteger(L, seeds[0]);
        lua_pushinteger(L, seeds[1]);
    }
    int top = lua_gettop(L);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, top, LUA_MULTRET);
    return lua_gettop(L);
}

static const char *const missing[][2] = {
    {"io", "plugins have no files; log with ctx.log, keep data with ctx.state"},
    {"load", "plugins can't compile code at run time; put it into a file and require it"},
    {"loadstring", "plugins can't compile code at run time; put it into a file and require it"},
    {"dofile", "use require"},
    {"loadfile", "use require"},
    {"package", "require looks in the plugin's own folder and in Plugins/lib"},
    {"ctx", "it is the second argument of handle"},
    {"event", "it is the first argument of handle"},
    {NULL, NULL},
};

static int read_global(lua_State *L) {
    if (lua_type(L, 2) != LUA_TSTRING) return 0;
    const char *name = lua_tostring(L, 2);
    for (int i = 0; missing[i][0]; i++)
        if (strcmp(missing[i][0], name) == 0)
            return luaL_error(L, "'%s' is not available as a global: %s", name, missing[i][1]);
    return luaL_error(L, "undeclared global '%s' (misspelt, or a missing 'local'?)", name);
}

static int write_global(lua_State *L) {
    return luaL_error(L, "undeclared global '%s' (missing 'local'?)",
                      lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : luaL_typename(L, 2));
}

static void take_global(lua_State *L, const char *name) {
    lua_pushnil(L);
    lua_setglobal(L, name);
}

void fl_open_libraries(lua_State *L) {
    fl_lua *lua = fl_host(L);
    luaL_requiref(L, LUA_GNAME, luaopen_base, 1);
    luaL_requiref(L, LUA_STRLIBNAME, luaopen_string, 1);
    luaL_requiref(L, LUA_MATHLIBNAME, luaopen_math, 1);
    luaL_requiref(L, LUA_UTF8LIBNAME, luaopen_utf8, 1);
    lua_settop(L, 0);
    static const char *const unwanted[] = {"load", "loadfile", "dofile", "warn", "collectgarbage", NULL};
    for (const char *const *name = unwanted; *name; name++) take_global(L, *name);

    lua_newtable(L);
    lua->loaded = luaL_ref(L, LUA_REGISTRYINDEX);

    lua_pushglobaltable(L);
    static const luaL_Reg globals[] = {
        {"tostring", to_string}, {"setmetatable", set_metatable}, {"rawset", raw_set},
        {"rawget", raw_get},     {"rawlen", raw_len},             {"next", next},
        {"require", require},    {"collectgarbage", collect_garbage}, {NULL, NULL},
    };
    luaL_setfuncs(L, globals, 0);

    lua_getfield(L, -1, "string");
    lua_pushnil(L);
    lua_setfield(L, -2, "dump");
    static const char *const string_names[] = {"byte", "lower", "upper", "reverse", "len", "sub", "pack", "unpack", NULL};
    count_functions(L, string_names + 0);
    lua_pushcfunction(L, rep);
    lua_setfield(L, -2, "rep");
    lua_getfield(L, -1, "format");
    lua_pushcclosure(L, format, 1);
    lua_setfield(L, -2, "format");
    lua_pop(L, 1);
    // All strings share one metatable.
    lua_pushliteral(L, "");
    lua_getmetatable(L, -1);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 2);

    lua_getfield(L, -1, "utf8");
    static const char *const utf8_names[] = {"len", "codepoint", "offset", NULL};
    count_functions(L, utf8_names);
    lua_pop(L, 1);

    lua_getfield(L, -1, "math");
    lua_getfield(L, -1, "randomseed");
    lua_pushcclosure(L, random_seed, 1);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "randomseed");
    lua_call(L, 0, 0);
    lua_pop(L, 1);

    // os, without what reaches the machine.
    luaL_requiref(L, LUA_OSLIBNAME, luaopen_os, 0);
    lua_createtable(L, 0, 4);
    lua_getfield(L, -2, "time");
    lua_pushcclosure(L, os_time, 1);
    lua_setfield(L, -2, "time");
    lua_getfield(L, -2, "date");
    lua_pushcclosure(L, os_date, 1);
    lua_setfield(L, -2, "date");
    lua_getfield(L, -2, "difftime");
    lua_setfield(L, -2, "difftime");
    lua_pushcfunction(L, os_clock);
    lua_setfield(L, -2, "clock");
    lua_setfield(L, -3, "os");
    lua_pop(L, 2);
    lua_pushnil(L);
    lua_setfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);

    fl_open_coroutine(L);
    fl_open_table(L);
    fl_open_patterns(L);

    lua_pushglobaltable(L);
    lua_createtable(L, 0, 3);
    lua_pushcfunction(L, read_global);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, write_global);
    lua_setfield(L, -2, "__newindex");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    lua_pop(L, 1);
}
