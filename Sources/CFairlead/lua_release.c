// SPDX-License-Identifier: Apache-2.0
#include <lua.h>

#include "fl_lua.h"

/// What the library that is linked says of itself, "$LuaVersion: Lua 5.4.6  Copyright …": `LUA_RELEASE` is only what the
/// header said when this was compiled.
extern const char lua_ident[];

const char *fl_lua_ident(void) { return lua_ident; }
