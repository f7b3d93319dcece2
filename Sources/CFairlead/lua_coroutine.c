// SPDX-License-Identifier: Apache-2.0
#include "lua_host.h"

/// pcall, xpcall and coroutines that a stopped call can't hide in, and through which a want passes to the host from
/// however deep inside.

static int after_pcall(lua_State *L, int status, lua_KContext context) {
    (void)context;
    fl_lua *lua = fl_host(L);
    if (lua->killed) fl_raise_kill(L);
    if (status != LUA_OK && status != LUA_YIELD) {
        lua_pushboolean(L, 0);
        lua_insert(L, -2);
        return 2;
    }
    // Slot 1 is the `true` put there before the call.
    return lua_gettop(L);
}

static int host_pcall(lua_State *L) {
    luaL_checkany(L, 1);
    fl_tick(L, 10);
    lua_pushboolean(L, 1);
    lua_insert(L, 1);
    int status = lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, 0, after_pcall);
    return after_pcall(L, status, 0);
}

/// Runs while the stack still shows where the error was; the script's own handler runs after unwinding, because the
/// VM takes no hooks inside a handler of an error that a hook raised.
static int keep_trace(lua_State *L) {
    fl_lua *lua = fl_host(L);
    if (!lua->killed) {
        luaL_traceback(L, L, NULL, 1);
        lua_rawseti(L, LUA_REGISTRYINDEX, lua->traces);
    }
    return 1;
}

static int after_handler(lua_State *L, int status, lua_KContext context) {
    (void)status;
    (void)context;
    fl_lua *lua = fl_host(L);
    lua_pushboolean(L, 0);
    lua_rawseti(L, LUA_REGISTRYINDEX, lua->traces);
    return lua_gettop(L) - 2;
}

// Stack: handler, keep_trace, true, results.
static int after_xpcall(lua_State *L, int status, lua_KContext context) {
    (void)context;
    if (fl_host(L)->killed) fl_raise_kill(L);
    if (status == LUA_OK || status == LUA_YIELD) return lua_gettop(L) - 2;
    // handler, keep_trace, true, error
    lua_pushvalue(L, -1);
    lua_replace(L, 2);
    lua_settop(L, 2);
    lua_pushboolean(L, 0);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 2);
    lua_callk(L, 1, LUA_MULTRET, 0, after_handler);
    return after_handler(L, LUA_OK, 0);
}

static int host_xpcall(lua_State *L) {
    int arguments = lua_gettop(L) - 2;
    luaL_checktype(L, 2, LUA_TFUNCTION);
    fl_tick(L, 10);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 2);
    lua_replace(L, 1);
    lua_pushcfunction(L, keep_trace);
    lua_replace(L, 2);
    // handler, keep_trace, arguments, function
    lua_insert(L, 3);
    lua_pushboolean(L, 1);
    lua_insert(L, 3);
    int status = lua_pcallk(L, arguments, LUA_MULTRET, 2, 0, after_xpcall);
    return after_xpcall(L, status, 0);
}

static int traceback(lua_State *L) {
    fl_lua *lua = fl_host(L);
    if (!lua_isnoneornil(L, 1) && !lua_isstring(L, 1)) {
        lua_settop(L, 1);
        return 1;
    }
    if (lua_isnoneornil(L, 1)) {
        lua_settop(L, 0);
    } else {
        lua_settop(L, 1);
        lua_pushliteral(L, "\n");
    }
    if (lua_rawgeti(L, LUA_REGISTRYINDEX, lua->traces) != LUA_TSTRING) {
        lua_pop(L, 1);
        luaL_traceback(L, L, NULL, 1);
    }
    lua_concat(L, lua_gettop(L));
    return 1;
}

static lua_State *check_coroutine(lua_State *L, int index) {
    lua_State *co = lua_tothread(L, index);
    luaL_argexpected(L, co, index, "coroutine");
    return co;
}

static int create(lua_State *L) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    fl_tick(L, 10);
    lua_State *co = lua_newthread(L);
    lua_pushvalue(L, 1);
    lua_xmove(L, co, 1);
    return 1;
}

static const char *status_of(lua_State *L, lua_State *co) {
    if (L == co) return "running";
    switch (lua_status(co)) {
    case LUA_YIELD: return "suspended";
    case LUA_OK: {
        lua_Debug debug;
        if (lua_getstack(co, 0, &debug)) return "normal";
        return lua_gettop(co) == 0 ? "dead" : "suspended";
    }
    default: return "dead";
    }
}

static int step(lua_State *L, lua_State *co, int arguments, bool wrap);
static int yield(lua_State *L);

static int step_again(lua_State *L, int status, lua_KContext context) {
    (void)status;
    bool wrap = context & 1;
    lua_State *co = wrap ? lua_tothread(L, lua_upvalueindex(1)) : lua_tothread(L, 1);
    fl_host(L)->running = L;
    return step(L, co, 0, wrap);
}

/// Resumes `co` until it ends or yields to its own resumer; a want goes on to the host.
static int step(lua_State *L, lua_State *co, int arguments, bool wrap) {
    fl_lua *lua = fl_host(L);
    for (;;) {
        int results = 0;
        fl_tick(L, 10);
        lua->running = co;
        int status = lua_resume(co, L, arguments, &results);
        lua->running = L;
        if (lua->killed) fl_raise_kill(L);
        if (status == LUA_YIELD && lua->wanting) {
            lua_pop(co, results);
            if (lua_isyieldable(L)) return lua_yieldk(L, 0, wrap ? 1 : 0, step_again);
            // The want is taken back and answered on the spot, where the coroutine's own code sees the error.
            lua->wanting = false;
            lua->bytes.length = lua->wants[lua->want_count].arguments.at;
            lua->answer_kind = -1;
            arguments = 0;
            continue;
        }
        fl_tick(L, 10);
        if (status == LUA_OK || status == LUA_YIELD) {
            if (!lua_checkstack(L, results + 1)) {
                lua_pop(co, results);
                return luaL_error(L, "too many results to resume");
            }
            if (!wrap) lua_pushboolean(L, 1);
            lua_xmove(co, L, results);
            return results + (wrap ? 0 : 1);
        }
        if (wrap) {
            lua->running = co;
            lua_resetthread(co);
            lua->running = L;
            if (lua->killed) fl_raise_kill(L);
            lua_xmove(co, L, 1);
            return lua_error(L);
        }
        lua_pushboolean(L, 0);
        lua_xmove(co, L, 1);
        return 2;
    }
}

/// Whether `co` stands in a call of ctx that the host has yet to answer, itself or through a coroutine that it resumed.
/// Its top frame is a C function then; a coroutine that yielded by itself stands in `yield`.
static bool waits_for_host(lua_State *co) {
    lua_Debug debug;
    if (lua_status(co) != LUA_YIELD || !lua_checkstack(co, 1) || !lua_getstack(co, 0, &debug)) return false;
    lua_getinfo(co, "f", &debug);
    bool waits = lua_tocfunction(co, -1) != yield;
    lua_pop(co, 1);
    return waits;
}

static bool can_start(lua_State *L, lua_State *co, const char **why) {
    if (waits_for_host(co)) {
        *why = "cannot resume a coroutine that waits for an answer to a call of ctx";
        return false;
    }
    if (lua_status(co) == LUA_OK && lua_gettop(co) == 0) {
        *why = "cannot resume dead coroutine";
        return false;
    }
    if (L == co || (lua_status(co) != LUA_YIELD && lua_status(co) != LUA_OK) || status_of(L, co)[0] == 'n') {
        *why = L == co || status_of(L, co)[0] == 'n' ? "cannot resume non-suspended coroutine"
                                                     : "cannot resume dead coroutine";
        return false;
    }
    return true;
}

static int resume(lua_State *L) {
    lua_State *co = check_coroutine(L, 1);
    const char *why;
    int arguments = lua_gettop(L) - 1;
    if (!can_start(L, co, &why)) {
        lua_pushboolean(L, 0);
        lua_pushstring(L, why);
        return 2;
    }
    if (!lua_checkstack(co, arguments)) return luaL_error(L, "too many arguments to resume");
    lua_xmove(L, co, arguments);
    return step(L, co, arguments, false);
}

static int wrapped(lua_State *L) {
    lua_State *co = lua_tothread(L, lua_upvalueindex(1));
    const char *why;
    int arguments = lua_gettop(L);
    if (!can_start(L, co, &why)) return luaL_error(L, "%s", why);
    if (!lua_checkstack(co, arguments)) return luaL_error(L, "too many arguments to resume");
    lua_xmove(L, co, arguments);
    return step(L, co, arguments, true);
}

static int wrap(lua_State *L) {
    create(L);
    lua_pushcclosure(L, wrapped, 1);
    return 1;
}

static int yield(lua_State *L) {
    fl_lua *lua = fl_host(L);
    if (lua->current && L == lua->current->co)
        return luaL_error(L, "coroutine.yield outside a coroutine of the plugin's own; to wait, use ctx.sleep");
    return lua_yield(L, lua_gettop(L));
}

static int status(lua_State *L) {
    lua_pushstring(L, status_of(L, check_coroutine(L, 1)));
    return 1;
}

static int isyieldable(lua_State *L) {
    fl_lua *lua = fl_host(L);
    lua_pushboolean(L, lua_isyieldable(L) && !(lua->current && L == lua->current->co));
    return 1;
}

static int running(lua_State *L) {
    fl_lua *lua = fl_host(L);
    lua_pushthread(L);
    lua_pushboolean(L, lua->current && L == lua->current->co);
    return 2;
}

/// Whether the watch on a call stopped `co` as well. An error that a hook raises leaves the coroutine's hooks switched off:
/// a <close> variable that loops would never end.
static bool was_stopped(lua_State *L, lua_State *co) {
    int status = lua_status(co);
    if (status == LUA_OK || status == LUA_YIELD || lua_gettop(co) == 0 || !lua_checkstack(co, 1)) return false;
    lua_pushvalue(co, -1);
    lua_xmove(co, L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, fl_host(L)->kill_message);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same;
}

static int close_coroutine(lua_State *L) {
    lua_State *co = check_coroutine(L, 1);
    char state = status_of(L, co)[0];
    if (state != 's' && state != 'd')
        return luaL_error(L, "cannot close a %s coroutine", status_of(L, co));
    if (waits_for_host(co)) return luaL_error(L, "cannot close a coroutine that waits for an answer to a call of ctx");
    if (was_stopped(L, co)) return luaL_error(L, "cannot close a coroutine that was stopped by its limits");
    fl_lua *lua = fl_host(L);
    lua->running = co;
    int result = lua_resetthread(co);
    lua->running = L;
    if (lua->killed) fl_raise_kill(L);
    fl_tick(L, 10);
    lua_pushboolean(L, result == LUA_OK);
    if (result == LUA_OK) return 1;
    lua_xmove(co, L, 1);
    return 2;
}

void fl_open_coroutine(lua_State *L) {
    fl_lua *lua = fl_host(L);
    lua_pushboolean(L, 0);
    lua->traces = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushglobaltable(L);
    static const luaL_Reg globals[] = {{"pcall", host_pcall}, {"xpcall", host_xpcall}, {NULL, NULL}};
    luaL_setfuncs(L, globals, 0);
    static const luaL_Reg functions[] = {
        {"create", create},           {"resume", resume}, {"wrap", wrap},       {"yield", yield},
        {"status", status},           {"isyieldable", isyieldable}, {"running", running}, {"close", close_coroutine},
        {NULL, NULL},
    };
    luaL_newlib(L, functions);
    lua_setfield(L, -2, "coroutine");
    lua_newtable(L);
    lua_pushcfunction(L, traceback);
    lua_setfield(L, -2, "traceback");
    lua_setfield(L, -2, "debug");
    lua_pop(L, 1);
}
