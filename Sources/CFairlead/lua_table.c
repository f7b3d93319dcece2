// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "lua_host.h"

/// The table library, raw: it trusts no `__len` and no `__index`, counts its steps, reads frozen tables and changes
/// none. Behaviour as section 6.6 of the Lua 5.4 manual has it where no metamethods are involved.

/// Puts the table to read at `index`, thawed.
static void readable(lua_State *L, int index) {
    luaL_checktype(L, index, LUA_TTABLE);
    fl_push_thawed(L, index);
    lua_replace(L, index);
}

static void writable(lua_State *L, int index) {
    luaL_checktype(L, index, LUA_TTABLE);
    if (fl_push_thawed(L, index)) luaL_error(L, "attempt to change a read-only table");
    lua_pop(L, 1);
}

static int concat(lua_State *L) {
    readable(L, 1);
    size_t separator_length;
    const char *separator = luaL_optlstring(L, 2, "", &separator_length);
    lua_Integer first = luaL_optinteger(L, 3, 1);
    lua_Integer last = luaL_optinteger(L, 4, (lua_Integer)lua_rawlen(L, 1));
    luaL_Buffer buffer;
    size_t total = 0;
    luaL_buffinit(L, &buffer);
    for (lua_Integer i = first; i <= last; i++) {
        int type = lua_rawgeti(L, 1, i);
        if (type != LUA_TSTRING && type != LUA_TNUMBER)
            return luaL_error(L, "invalid value (at index %I) in table for 'concat' (a %s value)", (LUAI_UACINT)i,
                              lua_typename(L, type));
        size_t length;
        lua_tolstring(L, -1, &length);
        total += length + separator_length;
        if (total > FL_STRING_MAX)
            return luaL_error(L, "table.concat: the result is longer than %d bytes", (int)FL_STRING_MAX);
        luaL_addvalue(&buffer);
        if (i < last) luaL_addlstring(&buffer, separator, separator_length);
        fl_tick(L, 1 + (uint32_t)(length >> 8));
        if (i == last) break;
    }
    luaL_pushresult(&buffer);
    return 1;
}

static int insert(lua_State *L) {
    writable(L, 1);
    lua_Integer end = (lua_Integer)lua_rawlen(L, 1) + 1;
    switch (lua_gettop(L)) {
    case 2: break;
    case 3: {
        lua_Integer position = luaL_checkinteger(L, 2);
        luaL_argcheck(L, position >= 1 && position <= end, 2, "position out of bounds");
        for (lua_Integer i = end; i > position; i--) {
            lua_rawgeti(L, 1, i - 1);
            lua_rawseti(L, 1, i);
            fl_tick(L, 1);
        }
        end = position;
        break;
    }
    default: return luaL_error(L, "wrong number of arguments to 'insert'");
    }
    lua_rawseti(L, 1, end);
    return 0;
}

static int remove_(lua_State *L) {
    writable(L, 1);
    lua_Integer size = (lua_Integer)lua_rawlen(L, 1);
    lua_Integer position = luaL_optinteger(L, 2, size);
    if (lua_gettop(L) > 1)
        luaL_argcheck(L, (lua_Unsigned)position - 1u <= (lua_Unsigned)size, 2, "position out of bounds");
    lua_rawgeti(L, 1, position);
    for (; position < size; position++) {
        lua_rawgeti(L, 1, position + 1);
        lua_rawseti(L, 1, position);
        fl_tick(L, 1);
    }
    lua_pushnil(L);
    lua_rawseti(L, 1, position);
    return 1;
}

static int move(lua_State *L) {
    readable(L, 1);
    lua_Integer first = luaL_checkinteger(L, 2), last = luaL_checkinteger(L, 3), to = luaL_checkinteger(L, 4);
    int target = lua_isnoneornil(L, 5) ? 1 : 5;
    writable(L, target);
    if (last >= first) {
        luaL_argcheck(L, first > 0 || last < LUA_MAXINTEGER + first, 3, "too many elements to move");
        lua_Integer count = last - first + 1;
        luaL_argcheck(L, to <= LUA_MAXINTEGER - count + 1, 4, "destination wrap around");
        bool forwards = to > last || to <= first || (target == 5 && !lua_rawequal(L, 1, 5));
        for (lua_Integer i = 0; i < count; i++) {
            lua_Integer k = forwards ? i : count - 1 - i;
            lua_rawgeti(L, 1, first + k);
            lua_rawseti(L, target, to + k);
            fl_tick(L, 1);
        }
    }
    lua_pushvalue(L, target);
    return 1;
}

static int pack(lua_State *L) {
    int count = lua_gettop(L);
    lua_createtable(L, count, 1);
    lua_insert(L, 1);
    for (int i = count; i >= 1; i--) lua_rawseti(L, 1, i);
    lua_pushinteger(L, count);
    lua_setfield(L, 1, "n");
    return 1;
}

static int unpack(lua_State *L) {
    readable(L, 1);
    lua_Integer first = luaL_optinteger(L, 2, 1);
    lua_Integer last = luaL_optinteger(L, 3, (lua_Integer)lua_rawlen(L, 1));
    if (first > last) return 0;
    lua_Unsigned count = (lua_Unsigned)last - (lua_Unsigned)first;
    if (count >= FL_UNPACK_MAX || !lua_checkstack(L, (int)(count + 1))) return luaL_error(L, "too many results to unpack");
    fl_tick(L, (uint32_t)count);
    for (lua_Unsigned i = 0; i <= count; i++) lua_rawgeti(L, 1, (lua_Integer)((lua_Unsigned)first + i));
    return (int)count + 1;
}

static int before(lua_State *L) {
    fl_tick(L, 2);
    lua_settop(L, 2);
    if (lua_isnil(L, lua_upvalueindex(1))) {
        lua_pushboolean(L, lua_compare(L, 1, 2, LUA_OPLT));
        return 1;
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, 2, 1);
    return 1;
}

/// The standard sort (upvalue 1), told to compare through a function that looks at the clock.
static int sort(lua_State *L) {
    writable(L, 1);
    if (!lua_isnoneornil(L, 2)) luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_settop(L, 2);
    if (luaL_getmetafield(L, 1, "__len") || luaL_getmetafield(L, 1, "__index") || luaL_getmetafield(L, 1, "__newindex"))
        return luaL_error(L, "table.sort takes no table with __len, __index or __newindex");
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 2);
    lua_pushcclosure(L, before, 1);
    lua_call(L, 2, 0);
    return 0;
}

void fl_open_table(lua_State *L) {
    luaL_requiref(L, LUA_TABLIBNAME, luaopen_table, 0);
    lua_pushglobaltable(L);
    static const luaL_Reg functions[] = {
        {"concat", concat}, {"insert", insert}, {"remove", remove_}, {"move", move},
        {"pack", pack},     {"unpack", unpack}, {NULL, NULL},
    };
    luaL_newlib(L, functions);
    lua_getfield(L, -3, "sort");
    lua_pushcclosure(L, sort, 1);
    lua_setfield(L, -2, "sort");
    lua_setfield(L, -2, "table");
    lua_pop(L, 2);
}
