// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include <ctype.h>
#include <string.h>

#include "lua_host.h"

/// find, match, gmatch and gsub by the description of patterns in section 6.4.1 of the Lua 5.4 manual. Each step is
/// counted, so that a pattern that tries a great many ways is stopped like any other loop.

enum { CAPTURES_MAX = 32, MATCH_DEPTH_MAX = 200 };
enum { CAPTURE_OPEN = -1, CAPTURE_POSITION = -2 };

typedef struct {
    lua_State *L;
    const char *text;
    const char *end;
    const char *pattern_end;
    int depth;
    int count;
    struct {
        const char *start;
        ptrdiff_t length;
    } captures[CAPTURES_MAX];
} matcher;

static const char *run(matcher *m, const char *s, const char *p);

/// One past the single-character item at `p`.
static const char *item_end(matcher *m, const char *p) {
    char first = *p++;
    if (first == '%') {
        if (p == m->pattern_end) luaL_error(m->L, "malformed pattern (ends with '%%')");
        return p + 1;
    }
    if (first != '[') return p;
    if (p < m->pattern_end && *p == '^') p++;
    bool leading = true;
    for (;; leading = false) {
        if (p == m->pattern_end) luaL_error(m->L, "malformed pattern (missing ']')");
        char c = *p++;
        if (c == ']' && !leading) return p;
        if (c == '%') {
            if (p == m->pattern_end) luaL_error(m->L, "malformed pattern (missing ']')");
            p++;
        }
    }
}

static bool in_class(int c, int class) {
    bool yes;
    switch (tolower(class)) {
    case 'a': yes = isalpha(c); break;
    case 'c': yes = iscntrl(c); break;
    case 'd': yes = isdigit(c); break;
    case 'g': yes = isgraph(c); break;
    case 'l': yes = islower(c); break;
    case 'p': yes = ispunct(c); break;
    case 's': yes = isspace(c); break;
    case 'u': yes = isupper(c); break;
    case 'w': yes = isalnum(c); break;
    case 'x': yes = isxdigit(c); break;
    default: return class == c;
    }
    return isupper(class) ? !yes : yes;
}

/// `p` is at `[`, `end` one past its `]`.
static bool in_set(int c, const char *p, const char *end) {
    bool wanted = true;
    const char *last = end - 1;
    p++;
    if (*p == '^') {
        wanted = false;
        p++;
    }
    for (; p < last; p++) {
        if (*p == '%') {
            p++;
            if (in_class(c, (unsigned char)*p)) return wanted;
        } else if (p + 2 < last && p[1] == '-') {
            if ((unsigned char)p[0] <= c && c <= (unsigned char)p[2]) return wanted;
            p += 2;
        } else if ((unsigned char)*p == c) {
            return wanted;
        }
    }
    return !wanted;
}

static bool matches_one(matcher *m, const char *s, const char *p, const char *end) {
    if (s >= m->end) return false;
    int c = (unsigned char)*s;
    switch (*p) {
    case '.': return true;
    case '%': return in_class(c, (unsigned char)p[1]);
    case '[': return in_set(c, p, end);
    default: return (unsigned char)*p == c;
    }
}

static const char *balanced(matcher *m, const char *s, const char *p) {
    if (m->pattern_end - p < 2) luaL_error(m->L, "malformed pattern (missing arguments to '%%b')");
    if (s >= m->end || *s != p[0]) return NULL;
    int open = 1;
    for (const char *at = s + 1; at < m->end; at++) {
        fl_tick(m->L, 1);
        if (*at == p[1]) {
            if (--open == 0) return at + 1;
        } else if (*at == p[0]) {
            open++;
        }
    }
    return NULL;
}

static const char *repeat_most(matcher *m, const char *s, const char *p, const char *end, ptrdiff_t least) {
    ptrdiff_t n = 0;
    while (matches_one(m, s + n, p, end)) {
        n++;
        fl_tick(m->L, 1);
    }
    for (; n >= least; n--) {
        const char *found = run(m, s + n, end + 1);
        if (found) return found;
        fl_tick(m->L, 1);
    }
    return NULL;
}

static const char *repeat_least(matcher *m, const char *s, const char *p, const char *end) {
    for (;; s++) {
        const char *found = run(m, s, end + 1);
        if (found) return found;
        if (!matches_one(m, s, p, end)) return NULL;
        fl_tick(m->L, 1);
    }
}

static const char *open_capture(matcher *m, const char *s, const char *p, ptrdiff_t kind) {
    if (m->count >= CAPTURES_MAX) luaL_error(m->L, "too many captures");
    m->captures[m->count].start = s;
    m->captures[m->count].length = kind;
    m->count++;
    const char *found = run(m, s, p);
    if (!found) m->count--;
    return found;
}

static const char *close_capture(matcher *m, const char *s, const char *p) {
    int which = m->count - 1;
    while (which >= 0 && m->captures[which].length != CAPTURE_OPEN) which--;
    if (which < 0) luaL_error(m->L, "invalid pattern capture");
    m->captures[which].length = s - m->captures[which].start;
    const char *found = run(m, s, p);
    if (!found) m->captures[which].length = CAPTURE_OPEN;
    return found;
}

static const char *back_reference(matcher *m, const char *s, int digit) {
    int which = digit - '1';
    if (which < 0 || which >= m->count || m->captures[which].length == CAPTURE_OPEN)
        luaL_error(m->L, "invalid capture index %%%d in pattern", which + 1);
    ptrdiff_t length = m->captures[which].length;
    if (length < 0 || m->end - s < length) return NULL;
    fl_tick(m->L, (uint32_t)(length >> 4) + 1);
    return memcmp(s, m->captures[which].start, (size_t)length) == 0 ? s + length : NULL;
}

static const char *match_here(matcher *m, const char *s, const char *p) {
    while (p < m->pattern_end) {
        fl_tick(m->L, 1);
        if (*p == '(')
            return p + 1 < m->pattern_end && p[1] == ')' ? open_capture(m, s, p + 2, CAPTURE_POSITION)
                                                         : open_capture(m, s, p + 1, CAPTURE_OPEN);
        if (*p == ')') return close_capture(m, s, p + 1);
        if (*p == '$' && p + 1 == m->pattern_end) return s == m->end ? s : NULL;
        if (*p == '%' && p + 1 < m->pattern_end) {
            if (p[1] == 'b') {
                s = balanced(m, s, p + 2);
                if (!s) return NULL;
                p += 4;
                continue;
            }
            if (p[1] == 'f') {
                p += 2;
                if (p == m->pattern_end || *p != '[') luaL_error(m->L, "missing '[' after '%%f' in pattern");
                const char *end = item_end(m, p);
                int previous = s == m->text ? 0 : (unsigned char)s[-1];
                int here = s == m->end ? 0 : (unsigned char)*s;
                if (in_set(previous, p, end) || !in_set(here, p, end)) return NULL;
                p = end;
                continue;
            }
            if (isdigit((unsigned char)p[1])) {
                s = back_reference(m, s, p[1]);
                if (!s) return NULL;
                p += 2;
                continue;
            }
        }
        const char *end = item_end(m, p);
        switch (end < m->pattern_end ? *end : '\0') {
        case '*': return repeat_most(m, s, p, end, 0);
        case '+': return repeat_most(m, s, p, end, 1);
        case '-': return repeat_least(m, s, p, end);
        case '?':
            if (matches_one(m, s, p, end)) {
                const char *found = run(m, s + 1, end + 1);
                if (found) return found;
            }
            p = end + 1;
            continue;
        default:
            if (!matches_one(m, s, p, end)) return NULL;
            s++;
            p = end;
        }
    }
    return s;
}

static const char *run(matcher *m, const char *s, const char *p) {
    if (++m->depth > MATCH_DEPTH_MAX) luaL_error(m->L, "pattern too complex");
    const char *found = match_here(m, s, p);
    m->depth--;
    return found;
}

static void start(matcher *m, lua_State *L, const char *text, size_t length, const char *pattern_end) {
    m->L = L;
    m->text = text;
    m->end = text + length;
    m->pattern_end = pattern_end;
}

static const char *match_at(matcher *m, const char *s, const char *p) {
    m->depth = 0;
    m->count = 0;
    return run(m, s, p);
}

static void push_capture(matcher *m, int which) {
    ptrdiff_t length = m->captures[which].length;
    if (length == CAPTURE_OPEN) luaL_error(m->L, "unfinished capture");
    if (length == CAPTURE_POSITION)
        lua_pushinteger(m->L, m->captures[which].start - m->text + 1);
    else
        lua_pushlstring(m->L, m->captures[which].start, (size_t)length);
}

/// All captures, or the whole match where there are none.
static int push_captures(matcher *m, const char *from, const char *to) {
    luaL_checkstack(m->L, m->count + 1, "too many captures");
    if (m->count == 0) {
        lua_pushlstring(m->L, from, (size_t)(to - from));
        return 1;
    }
    for (int i = 0; i < m->count; i++) push_capture(m, i);
    return m->count;
}

/// From 0; beyond the end where `position` is.
static size_t start_offset(lua_Integer position, size_t length) {
    if (position > 0) return (size_t)position - 1;
    if (position == 0 || position < -(lua_Integer)length) return 0;
    return length - (size_t)-position;
}

static int search(lua_State *L, bool find) {
    size_t length, pattern_length;
    const char *text = luaL_checklstring(L, 1, &length);
    const char *pattern = luaL_checklstring(L, 2, &pattern_length);
    size_t from = start_offset(luaL_optinteger(L, 3, 1), length);
    if (from > length) {
        lua_pushnil(L);
        return 1;
    }
    if (find && (lua_toboolean(L, 4) || !memchr(pattern, 0, pattern_length))) {
        bool plain = lua_toboolean(L, 4) || !strpbrk(pattern, "^$*+?.([%-)]");
        if (plain) {
            // glibc's memmem is linear.
            fl_tick(L, (uint32_t)((length - from) >> 6) + 1);
            const char *found = memmem(text + from, length - from, pattern, pattern_length);
            if (!found) {
                lua_pushnil(L);
                return 1;
            }
            lua_pushinteger(L, found - text + 1);
            lua_pushinteger(L, found - text + (lua_Integer)pattern_length);
            return 2;
        }
    }
    matcher m;
    start(&m, L, text, length, pattern + pattern_length);
    bool anchored = pattern_length > 0 && *pattern == '^';
    const char *p = pattern + anchored;
    for (const char *s = text + from;; s++) {
        const char *found = match_at(&m, s, p);
        if (found) {
            if (!find) return push_captures(&m, s, found);
            lua_pushinteger(L, s - text + 1);
            lua_pushinteger(L, found - text);
            return m.count ? 2 + push_captures(&m, s, found) : 2;
        }
        if (anchored || s == m.end) break;
    }
    lua_pushnil(L);
    return 1;
}

int fl_find(lua_State *L) { return search(L, true); }
static int match(lua_State *L) { return search(L, false); }

/// Upvalues: text, pattern, offset to go on from, end of the last match or -1.
static int gmatch_next(lua_State *L) {
    size_t length, pattern_length;
    const char *text = lua_tolstring(L, lua_upvalueindex(1), &length);
    const char *pattern = lua_tolstring(L, lua_upvalueindex(2), &pattern_length);
    size_t from = (size_t)lua_tointeger(L, lua_upvalueindex(3));
    lua_Integer last = lua_tointeger(L, lua_upvalueindex(4));
    if (from > length) return 0;
    matcher m;
    start(&m, L, text, length, pattern + pattern_length);
    for (const char *s = text + from; s <= m.end; s++) {
        const char *found = match_at(&m, s, pattern);
        if (found && found - text != last) {
            lua_pushinteger(L, found - text);
            lua_copy(L, -1, lua_upvalueindex(3));
            lua_replace(L, lua_upvalueindex(4));
            return push_captures(&m, s, found);
        }
    }
    lua_pushinteger(L, (lua_Integer)length + 1);
    lua_replace(L, lua_upvalueindex(3));
    return 0;
}

static int gmatch(lua_State *L) {
    size_t length;
    luaL_checklstring(L, 1, &length);
    luaL_checkstring(L, 2);
    size_t from = start_offset(luaL_optinteger(L, 3, 1), length);
    lua_settop(L, 2);
    lua_pushinteger(L, (lua_Integer)(from > length ? length + 1 : from));
    lua_pushinteger(L, -1);
    lua_pushcclosure(L, gmatch_next, 4);
    return 1;
}

/// Adds what the match is replaced by; returns whether that differs from the match.
static bool add_replacement(matcher *m, luaL_Buffer *out, const char *from, const char *to, int type) {
    lua_State *L = m->L;
    if (type == LUA_TSTRING) {
        size_t length;
        const char *text = lua_tolstring(L, 3, &length);
        for (const char *at = text; at < text + length; at++) {
            if (*at != '%') {
                luaL_addchar(out, *at);
                continue;
            }
            at++;
            if (at < text + length && *at == '%') {
                luaL_addchar(out, '%');
            } else if (at < text + length && *at == '0') {
                luaL_addlstring(out, from, (size_t)(to - from));
            } else if (at < text + length && isdigit((unsigned char)*at)) {
                int which = *at - '1';
                if (which == 0 && m->count == 0) {
                    luaL_addlstring(out, from, (size_t)(to - from));
                } else {
                    if (which >= m->count)
                        luaL_error(L, "invalid capture index %%%d in replacement string", which + 1);
                    push_capture(m, which);
                    luaL_tolstring(L, -1, NULL);
                    lua_remove(L, -2);
                    luaL_addvalue(out);
                }
            } else {
                luaL_error(L, "invalid use of '%%' in replacement string");
            }
        }
        return true;
    }
    if (type == LUA_TFUNCTION) {
        lua_pushvalue(L, 3);
        int count = push_captures(m, from, to);
        lua_call(L, count, 1);
    } else {
        if (m->count == 0)
            lua_pushlstring(L, from, (size_t)(to - from));
        else
            push_capture(m, 0);
        lua_gettable(L, 3);
    }
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        luaL_addlstring(out, from, (size_t)(to - from));
        return false;
    }
    if (!lua_isstring(L, -1)) luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
    luaL_addvalue(out);
    return true;
}

static int gsub(lua_State *L) {
    size_t length, pattern_length;
    const char *text = luaL_checklstring(L, 1, &length);
    const char *pattern = luaL_checklstring(L, 2, &pattern_length);
    int type = lua_type(L, 3);
    luaL_argexpected(L, type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION || type == LUA_TTABLE, 3,
                     "string/function/table");
    lua_Integer most = luaL_optinteger(L, 4, (lua_Integer)length + 1);
    lua_settop(L, 4);
    if (type == LUA_TNUMBER) {
        lua_tostring(L, 3);
        type = LUA_TSTRING;
    }
    bool anchored = pattern_length > 0 && *pattern == '^';
    const char *p = pattern + anchored;
    matcher m;
    start(&m, L, text, length, pattern + pattern_length);
    luaL_Buffer out;
    luaL_buffinit(L, &out);
    lua_Integer count = 0;
    const char *s = text;
    const char *last = NULL;
    while (count < most) {
        const char *found = match_at(&m, s, p);
        if (found && found != last) {
            count++;
            add_replacement(&m, &out, s, found, type);
            if (luaL_bufflen(&out) > FL_STRING_MAX)
                return luaL_error(L, "string.gsub: the result is longer than %d bytes", (int)FL_STRING_MAX);
            s = last = found;
        } else if (s < m.end) {
            luaL_addchar(&out, *s);
            s++;
        } else {
            break;
        }
        fl_tick(L, 2);
        if (anchored) break;
    }
    luaL_addlstring(&out, s, (size_t)(m.end - s));
    luaL_pushresult(&out);
    lua_pushinteger(L, count);
    return 2;
}

void fl_open_patterns(lua_State *L) {
    lua_getglobal(L, "string");
    static const luaL_Reg functions[] = {
        {"find", fl_find}, {"match", match}, {"gmatch", gmatch}, {"gsub", gsub}, {NULL, NULL},
    };
    luaL_setfuncs(L, functions, 0);
    lua_pop(L, 1);
}
