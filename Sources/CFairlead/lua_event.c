// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "lua_host.h"

/// `event`: a read-only view of a record. Nothing is read before it is asked for, and nothing after the delivery is
/// settled, since the record may be gone by then.

typedef struct {
    const void *record;
    uint64_t serial;
    uint32_t slot;
    uint32_t topic;
    uint32_t attempt;
    uint8_t replay;
    bool decoded;
} event_view;

void fl_push_event(lua_State *L, fl_lua *lua, const fl_lua_event *event, uint64_t serial, uint32_t slot,
                   int metatable) {
    (void)lua;
    event_view *view = lua_newuserdatauv(L, sizeof *view, 1);
    view->record = event->record;
    view->serial = serial;
    view->slot = slot;
    view->topic = event->topic;
    view->attempt = event->attempt;
    view->replay = event->replay;
    view->decoded = false;
    lua_pushvalue(L, metatable);
    lua_setmetatable(L, -2);
}

static void push_span(lua_State *L, fl_span span) {
    if (span.bytes)
        lua_pushlstring(L, (const char *)span.bytes, span.length);
    else
        lua_pushnil(L);
}

static void push_attribute_value(lua_State *L, const fl_attribute *attribute) {
    if (attribute->type == FL_ATTRIBUTE_BOOLEAN) {
        lua_pushboolean(L, attribute->value.length > 0 && attribute->value.bytes[0] == 't');
    } else if (attribute->type == FL_ATTRIBUTE_INTEGER && attribute->value.length < 24) {
        char text[24];
        memcpy(text, attribute->value.bytes, attribute->value.length);
        text[attribute->value.length] = 0;
        lua_pushinteger(L, strtoll(text, NULL, 10));
    } else {
        push_span(L, attribute->value);
    }
}

/// `count` digits at `at`, or -1.
static int digits(const uint8_t *at, int count) {
    int value = 0;
    for (int i = 0; i < count; i++) {
        if (at[i] < '0' || at[i] > '9') return -1;
        value = value * 10 + (at[i] - '0');
    }
    return value;
}

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar.
static int64_t days_since_epoch(int year, int month, int day) {
    // Years are counted from March, so that the leap day is the last of its year.
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

/// Seconds since 1970 of an RFC 3339 timestamp; false where it is none.
static bool parse_time(fl_span text, double *seconds) {
    const uint8_t *p = text.bytes;
    if (text.length < 20 || p[4] != '-' || p[7] != '-' || (p[10] | 0x20) != 't' || p[13] != ':' || p[16] != ':')
        return false;
    int year = digits(p, 4), month = digits(p + 5, 2), day = digits(p + 8, 2);
    int hour = digits(p + 11, 2), minute = digits(p + 14, 2), second = digits(p + 17, 2);
    if (year < 0 || month < 1 || month > 12 || day < 1 || day > 31 || hour < 0 || hour > 23 || minute < 0 ||
        minute > 59 || second < 0 || second > 60)
        return false;
    size_t at = 19;
    double fraction = 0, scale = 0.1;
    if (p[at] == '.') {
        for (at++; at < text.length && p[at] >= '0' && p[at] <= '9'; at++, scale /= 10) fraction += (p[at] - '0') * scale;
    }
    int64_t offset = 0;
    if (at >= text.length) return false;
    if ((p[at] | 0x20) == 'z') {
        at++;
    } else if ((p[at] == '+' || p[at] == '-') && at + 6 <= text.length && p[at + 3] == ':') {
        int hours = digits(p + at + 1, 2), minutes = digits(p + at + 4, 2);
        if (hours < 0 || minutes < 0) return false;
        offset = (hours * 60 + minutes) * 60 * (p[at] == '-' ? -1 : 1);
        at += 6;
    }
    if (at != text.length) return false;
    *seconds = (double)(days_since_epoch(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset) +
               fraction;
    return true;
}

static void push_time(lua_State *L, const void *record) {
    fl_span text = fl_record_attribute(record, "time", 4);
    double seconds;
    if (!text.bytes || !parse_time(text, &seconds)) seconds = (double)fl_record_time(record) / 1000;
    lua_pushnumber(L, seconds);
}

/// `self` is the index of the event.
static void push_data(lua_State *L, event_view *view, int self) {
    if (view->decoded) {
        lua_getiuservalue(L, self, 1);
        return;
    }
    fl_span data = fl_record_data(view->record);
    switch (fl_record_data_kind(view->record)) {
    case FL_DATA_NONE: lua_pushnil(L); break;
    case FL_DATA_JSON: fl_json_push_padded(L, data.bytes, data.length); break;
    default: lua_pushlstring(L, (const char *)data.bytes, data.length);
    }
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, self, 1);
    view->decoded = true;
}

static event_view *open_view(lua_State *L) {
    event_view *view = lua_touserdata(L, 1);
    if (!view) luaL_error(L, "event expected");
    fl_lua *lua = fl_host(L);
    if (lua->slots[view->slot].serial != view->serial)
        luaL_error(L, "the event is settled and can't be read any more; copy what you need while it is handled");
    return view;
}

#define IS(literal) (length == sizeof(literal) - 1 && memcmp(name, literal, sizeof(literal) - 1) == 0)

static int read_field(lua_State *L) {
    event_view *view = open_view(L);
    if (lua_type(L, 2) != LUA_TSTRING) return 0;
    size_t length;
    const char *name = lua_tolstring(L, 2, &length);
    const void *record = view->record;
    if (IS("data")) {
        push_data(L, view, 1);
    } else if (IS("time")) {
        push_time(L, record);
    } else if (IS("topic")) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, fl_host(L)->topics);
        lua_rawgeti(L, -1, (lua_Integer)view->topic + 1);
    } else if (IS("key")) {
        push_span(L, fl_record_key(record));
    } else if (IS("offset")) {
        lua_pushinteger(L, (lua_Integer)fl_record_offset(record));
    } else if (IS("attempt")) {
        lua_pushinteger(L, view->attempt);
    } else if (IS("replay")) {
        lua_pushboolean(L, view->replay);
    } else {
        fl_attribute attribute;
        for (uint32_t at = 0; fl_record_next_attribute(record, &at, &attribute);) {
            if (attribute.name.length == length && memcmp(attribute.name.bytes, name, length) == 0) {
                push_attribute_value(L, &attribute);
                return 1;
            }
        }
        return 0;
    }
    return 1;
}

static int refuse_write(lua_State *L) {
    return luaL_error(L, "event is read-only (field '%s'); copy it, or build a new event with ctx.publish",
                      lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : luaL_typename(L, 2));
}

static int next_pair(lua_State *L) {
    lua_settop(L, 2);
    if (lua_next(L, 1)) return 2;
    lua_pushnil(L);
    return 1;
}

static int pairs(lua_State *L) {
    event_view *view = open_view(L);
    lua_settop(L, 1);
    lua_pushcfunction(L, next_pair);
    lua_createtable(L, 0, fl_record_attribute_count(view->record) + 7);
    fl_attribute attribute;
    for (uint32_t at = 0; fl_record_next_attribute(view->record, &at, &attribute);) {
        lua_pushlstring(L, (const char *)attribute.name.bytes, attribute.name.length);
        push_attribute_value(L, &attribute);
        lua_rawset(L, -3);
    }
    static const char *const names[] = {"data", "time", "topic", "key", "offset", "attempt", "replay"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        lua_pushstring(L, names[i]);
        lua_pushvalue(L, 1);
        lua_pushvalue(L, -2);
        // Reads through the same function as `event.name` does.
        lua_pushcfunction(L, read_field);
        lua_insert(L, -3);
        lua_call(L, 2, 1);
        lua_rawset(L, 3);
    }
    lua_pushnil(L);
    return 3;
}

static int to_text(lua_State *L) {
    event_view *view = open_view(L);
    fl_span id = fl_record_attribute(view->record, "id", 2);
    lua_pushliteral(L, "event ");
    lua_pushlstring(L, (const char *)id.bytes, id.length);
    lua_concat(L, 2);
    return 1;
}

void fl_open_event(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"__index", read_field}, {"__newindex", refuse_write}, {"__pairs", pairs}, {"__tostring", to_text}, {NULL, NULL},
    };
    lua_newtable(L);
    luaL_setfuncs(L, functions, 0);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pushliteral(L, "event");
    lua_setfield(L, -2, "__name");
    fl_host(L)->event_meta = luaL_ref(L, LUA_REGISTRYINDEX);
}
