// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lua_host.h"

/// The functions of `fl_lua.h`: each wraps its work in one pcall on the main thread, so that running out of memory
/// anywhere ends up as a status.

static void *must(void *block) {
    if (!block) abort();
    return block;
}

static fl_lua_run_of_bytes keep(fl_lua *lua, const char *text, size_t length) {
    fl_lua_run_of_bytes run = {(uint32_t)lua->bytes.length, (uint32_t)length};
    fl_bytes_append(&lua->bytes, text, length);
    return run;
}

static fl_lua_run_of_bytes keep_text(fl_lua *lua, const char *text) { return keep(lua, text, strlen(text)); }

/// Gives back what one large value made of a buffer.
static void trim(fl_bytes *buffer) {
    buffer->length = 0;
    if (buffer->capacity <= FL_BUFFER_KEPT) return;
    free(buffer->bytes);
    *buffer = (fl_bytes){0};
}

static void start_report(fl_lua *lua) {
    trim(&lua->bytes);
    trim(&lua->scratch);
    trim(&lua->keys);
    lua->killed = 0;
    lua->call_ends = 0;
    lua->ack_count = lua->end_count = lua->want_count = lua->log_count = 0;
    lua->events = NULL;
    lua->event_count = lua->next = 0;
}

static const fl_lua_report *finish_report(fl_lua *lua) {
    lua->report = (fl_lua_report){
        .begun = lua->next,
        .bytes = lua->bytes.bytes,
        .acks = lua->acks,
        .ack_count = lua->ack_count,
        .ends = lua->ends,
        .end_count = lua->end_count,
        .wants = lua->wants,
        .want_count = lua->want_count,
        .logs = lua->logs,
        .log_count = lua->log_count,
    };
    return &lua->report;
}

static void add_ack(fl_lua *lua, uint64_t tag) {
    if (lua->ack_count == lua->ack_capacity) {
        lua->ack_capacity = lua->ack_capacity ? lua->ack_capacity * 2 : 256;
        lua->acks = must(realloc(lua->acks, lua->ack_capacity * sizeof *lua->acks));
    }
    lua->acks[lua->ack_count++] = tag;
}

static fl_lua_end *add_end(fl_lua *lua, fl_slot *slot, int outcome, int cause) {
    if (lua->end_count == lua->end_capacity) {
        lua->end_capacity = lua->end_capacity ? lua->end_capacity * 2 : 64;
        lua->ends = must(realloc(lua->ends, lua->end_capacity * sizeof *lua->ends));
    }
    fl_lua_end *end = &lua->ends[lua->end_count++];
    *end = (fl_lua_end){
        .tag = slot->tag,
        .task = (uint32_t)(slot - lua->slots),
        .index = -1,
        .outcome = (uint8_t)outcome,
        .cause = (uint8_t)cause,
        .after = -1,
    };
    return end;
}

static void begin(fl_lua *lua, fl_slot *slot, int kind, uint64_t tag, uint64_t cpu) {
    slot->serial++;
    slot->tag = tag;
    slot->kind = (uint8_t)kind;
    slot->busy = true;
    slot->waiting = false;
    slot->wanted = false;
    slot->spent = 0;
    slot->wall_deadline = 0;
    slot->cpu = cpu;
    slot->log_bytes = 0;
    lua->killed = 0;
    lua->refusals = 0;
    lua->wanting = false;
    lua->current = slot;
    lua->call_ends = lua->end_count;
}

static void finish(fl_lua *lua, fl_slot *slot) {
    slot->busy = false;
    slot->waiting = false;
    slot->serial++;
    lua->current = NULL;
}

static void forget_coroutine(fl_lua *lua, fl_slot *slot) {
    if (!slot->co) return;
    slot->co = NULL;
    luaL_unref(lua->L, LUA_REGISTRYINDEX, slot->co_ref);
    slot->co_ref = LUA_NOREF;
}

static void need_coroutine(lua_State *L, fl_slot *slot) {
    if (slot->co) return;
    lua_State *co = lua_newthread(L);
    slot->co_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    slot->co = co;
}

static fl_lua_run_of_bytes keep_trace(lua_State *L, fl_lua *lua, lua_State *co) {
    luaL_traceback(L, co, NULL, 0);
    size_t length;
    const char *trace = lua_tolstring(L, -1, &length);
    static const char heading[] = "stack traceback:\n\t";
    size_t skip = sizeof heading - 1;
    if (length >= skip && memcmp(trace, heading, skip) == 0) {
        trace += skip;
        length -= skip;
    } else if (length >= skip - 2) {
        length = 0;
    }
    fl_lua_run_of_bytes run = keep(lua, trace, length < FL_TRACE_MAX ? length : FL_TRACE_MAX);
    lua_pop(L, 1);
    return run;
}

/// What follows reads a call's results and errors on the main thread: an error raised on the call's own coroutine would
/// find no pcall there, and close its variables on the way to one.
static fl_lua_run_of_bytes keep_reason_of(fl_lua *lua, lua_State *L, int index) {
    fl_lua_run_of_bytes run = {0, 0};
    if (lua_getiuservalue(L, index, 1) == LUA_TSTRING) {
        size_t length;
        const char *text = lua_tolstring(L, -1, &length);
        run = keep(lua, text, length);
    }
    lua_pop(L, 1);
    return run;
}

/// Raw: the script's own metamethods may not run here.
static fl_lua_run_of_bytes keep_error(fl_lua *lua, lua_State *L, int index) {
    size_t length;
    index = lua_absindex(L, index);
    if (lua_type(L, index) == LUA_TSTRING || lua_type(L, index) == LUA_TNUMBER) {
        lua_pushvalue(L, index);
        const char *text = lua_tolstring(L, -1, &length);
        fl_lua_run_of_bytes run = keep(lua, text, length);
        lua_pop(L, 1);
        return run;
    }
    if (lua_type(L, index) == LUA_TTABLE) {
        static const char *const names[] = {"message", "reason", "error"};
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            lua_pushstring(L, names[i]);
            bool found = lua_rawget(L, index) == LUA_TSTRING;
            fl_lua_run_of_bytes run = {0, 0};
            if (found) {
                const char *text = lua_tolstring(L, -1, &length);
                run = keep(lua, text, length);
            }
            lua_pop(L, 1);
            if (found) return run;
        }
    }
    char text[80];
    snprintf(text, sizeof text, "an error value that is a %s was thrown", lua_typename(L, lua_type(L, index)));
    return keep_text(lua, text);
}

static fl_lua_run_of_bytes keep_kill(fl_lua *lua, fl_slot *slot) {
    char text[160];
    switch (lua->killed) {
    case FL_LUA_KILLED_CPU:
        snprintf(text, sizeof text, "stopped: used more than its %llu ms of processor time (limits { cpu })",
                 (unsigned long long)(slot->cpu / 1000000u));
        break;
    case FL_LUA_KILLED_WALL:
        snprintf(text, sizeof text, "stopped: took longer than %llu ms (timeout)",
                 (unsigned long long)(lua->limits.wall / 1000000u));
        break;
    default:
        snprintf(text, sizeof text, "stopped: needed more than its %llu KiB of memory (limits { memory })",
                 (unsigned long long)(lua->limits.memory >> 10));
    }
    return keep_text(lua, text);
}

static void end_with_error(lua_State *L, fl_lua *lua, fl_slot *slot, int status) {
    lua_State *co = slot->co;
    uint8_t killed = lua->killed;
    // The error stays where it is as well: <close> variables are shown it.
    if ((status == LUA_ERRMEM || !lua_checkstack(co, 1)) && !killed) killed = lua->killed = FL_LUA_KILLED_MEMORY;
    if (killed) {
        fl_lua_run_of_bytes reason = keep_kill(lua, slot);
        fl_lua_run_of_bytes trace = keep_trace(L, lua, co);
        fl_lua_end *end = add_end(lua, slot, FL_LUA_RETRY, killed);
        end->reason = reason;
        end->trace = trace;
        // Not reset: what it left to be closed would run with no hook, since the hook's error switched hooks off.
        forget_coroutine(lua, slot);
        finish(lua, slot);
        return;
    }
    if (status == LUA_YIELD) {
        lua_pushliteral(L, "it yielded outside a coroutine of its own");
    } else {
        lua_pushvalue(co, -1);
        lua_xmove(co, L, 1);
    }
    fl_outcome *outcome = fl_to_outcome(L, -1);
    fl_lua_run_of_bytes reason = outcome ? keep_reason_of(lua, L, lua_gettop(L)) : keep_error(lua, L, -1);
    fl_lua_run_of_bytes trace = keep_trace(L, lua, co);
    fl_lua_end *end = add_end(lua, slot, outcome ? outcome->kind : FL_LUA_RETRY, FL_LUA_THREW);
    if (outcome) end->after = outcome->after;
    end->reason = reason;
    end->trace = trace;
    lua_pop(L, 1);
    // Its <close> variables run now, within what is left of its time.
    fl_enter(lua, slot, co);
    lua_resetthread(co);
    fl_leave(lua, slot);
    forget_coroutine(lua, slot);
    finish(lua, slot);
}

/// `file:line: ` of the function that the host called, as Lua's own errors begin; empty where it is none of Lua's.
static void function_place(fl_lua *lua, lua_State *L, char *text, size_t size) {
    uint8_t kind = lua->current->kind;
    lua_Debug info;
    text[0] = 0;
    lua_rawgeti(L, LUA_REGISTRYINDEX,
                kind == FL_KIND_BATCH  ? lua->handler_batch
                : kind == FL_KIND_INIT ? lua->init
                : kind == FL_KIND_STOP ? lua->stop
                                       : lua->handler);
    if (!lua_isfunction(L, -1))
        lua_pop(L, 1);
    else if (lua_getinfo(L, ">S", &info) && info.linedefined > 0)
        snprintf(text, size, "%s:%d: ", info.short_src, info.linedefined);
}

static void describe_bug(fl_lua *lua, lua_State *L, int index, const char *function, fl_lua_end *end) {
    char text[340], place[100];
    function_place(lua, L, place, sizeof place);
    const char *type = lua_typename(L, lua_type(L, index));
    char value[64] = "";
    if (lua_type(L, index) == LUA_TSTRING)
        snprintf(value, sizeof value, " (\"%.40s\")", lua_tostring(L, index));
    else if (lua_isinteger(L, index))
        snprintf(value, sizeof value, " (%lld)", (long long)lua_tointeger(L, index));
    snprintf(text, sizeof text,
             "%splugin bug: %s returned a %s%s; return nothing or true when done, ctx.retry{}, ctx.dead(why) or "
             "ctx.drop(why), or nil and an error message",
             place, function, type, value);
    fl_lua_run_of_bytes reason = keep_text(lua, text);
    end->outcome = FL_LUA_RETRY;
    end->cause = FL_LUA_BUG;
    end->reason = reason;
}

/// Reads an outcome from a value at `index`, with `message` the index of a second result or 0.
static void read_outcome(fl_lua *lua, lua_State *L, int index, int message, const char *function, fl_lua_end *end) {
    fl_outcome *outcome = fl_to_outcome(L, index);
    if (outcome) {
        end->outcome = outcome->kind;
        end->after = outcome->after;
        end->reason = keep_reason_of(lua, L, index);
        return;
    }
    int type = lua_type(L, index);
    if (type == LUA_TBOOLEAN && lua_toboolean(L, index)) return;
    if (type == LUA_TNIL || type == LUA_TBOOLEAN) {
        end->outcome = FL_LUA_RETRY;
        if (message && !lua_isnil(L, message)) {
            fl_outcome *failure = fl_to_outcome(L, message);
            if (failure) {
                end->outcome = failure->kind;
                end->after = failure->after;
                end->reason = keep_reason_of(lua, L, message);
            } else {
                end->reason = keep_error(lua, L, message);
            }
        } else {
            char text[80];
            snprintf(text, sizeof text, "%s returned %s", function, type == LUA_TNIL ? "nil" : "false");
            end->reason = keep_text(lua, text);
        }
        return;
    }
    describe_bug(lua, L, index, function, end);
}

static void end_batch(fl_lua *lua, fl_slot *slot, lua_State *L, int table) {
    for (uint32_t i = 0; i < slot->event_count; i++) {
        lua_rawgeti(L, table, (lua_Integer)i + 1);
        fl_lua_end end = *add_end(lua, slot, FL_LUA_ACK, FL_LUA_RETURNED);
        end.index = (int32_t)i;
        end.more = i + 1 < slot->event_count;
        if (!lua_isnil(L, -1)) read_outcome(lua, L, lua_gettop(L), 0, "handle_batch's table", &end);
        lua->ends[lua->end_count - 1] = end;
        lua_pop(L, 1);
    }
}

static void end_with_results(lua_State *L, fl_lua *lua, fl_slot *slot, int results) {
    // More than an outcome and a message nobody reads.
    int kept = results < 2 ? results : 2;
    lua_settop(slot->co, lua_gettop(slot->co) - results + kept);
    lua_xmove(slot->co, L, kept);
    int base = lua_gettop(L) - kept + 1;
    bool acked = results == 0 || (lua_type(L, base) == LUA_TBOOLEAN && lua_toboolean(L, base));
    if (slot->kind == FL_KIND_EVENT && acked && !slot->wanted) {
        add_ack(lua, slot->tag);
    } else if (slot->kind == FL_KIND_BATCH && !acked && lua_istable(L, base)) {
        end_batch(lua, slot, L, base);
    } else {
        fl_lua_end end = *add_end(lua, slot, FL_LUA_ACK, FL_LUA_RETURNED);
        if (!acked) {
            const char *function = slot->kind == FL_KIND_BATCH  ? "handle_batch"
                                   : slot->kind == FL_KIND_INIT ? "init"
                                   : slot->kind == FL_KIND_STOP ? "stop"
                                   : slot->kind == FL_KIND_MIGRATE ? "migrate"
                                                                : "the handler";
            read_outcome(lua, L, base, results > 1 ? base + 1 : 0, function, &end);
            lua->ends[lua->end_count - 1] = end;
        }
    }
    lua_pop(L, kept);
    lua_settop(slot->co, 0);
    finish(lua, slot);
}

/// Runs or goes on with the call in `slot` until it ends or wants something.
static void step(lua_State *L, fl_lua *lua, fl_slot *slot, int arguments) {
    int results = 0;
    lua->killed = 0;
    fl_enter(lua, slot, slot->co);
    int status = lua_resume(slot->co, L, arguments, &results);
    fl_leave(lua, slot);
    if (status == LUA_OK) {
        end_with_results(L, lua, slot, results);
    } else if (status == LUA_YIELD && lua->wanting) {
        lua->wanting = false;
        lua_pop(slot->co, results);
        lua->want_count++;
        slot->waiting = true;
        slot->wanted = true;
        lua->current = NULL;
    } else {
        end_with_error(L, lua, slot, status);
    }
}

/// Calls `work` protected. What it left half done because memory ran out in the host's own code ends as a retry.
static bool protect(fl_lua *lua, lua_CFunction work) {
    lua_State *L = lua->L;
    lua->in_host = true;
    lua->running = NULL;
    lua_settop(L, 0);
    // Neither of these allocates.
    lua_pushcfunction(L, work);
    int status = lua_pcall(L, 0, 0, 0);
    lua->in_host = true;
    lua->inside = false;
    lua->running = NULL;
    if (status == LUA_OK) return true;
    fl_slot *slot = lua->current;
    if (slot && slot->busy && !slot->waiting) {
        // Some events of a batch may have ended already; the call ends as a whole instead.
        lua->end_count = lua->call_ends;
        int cause = FL_LUA_THREW;
        fl_lua_run_of_bytes reason;
        if (!lua->killed && status != LUA_ERRMEM && lua_type(L, -1) == LUA_TSTRING) {
            size_t length;
            const char *text = lua_tolstring(L, -1, &length);
            reason = keep(lua, text, length);
        } else {
            if (!lua->killed) lua->killed = FL_LUA_KILLED_MEMORY;
            cause = lua->killed;
            reason = keep_kill(lua, slot);
        }
        fl_lua_end *end = add_end(lua, slot, FL_LUA_RETRY, cause);
        end->reason = reason;
        forget_coroutine(lua, slot);
        finish(lua, slot);
    }
    lua_settop(L, 0);
    lua_gc(L, LUA_GCCOLLECT);
    return false;
}

static fl_slot *free_slot(fl_lua *lua) {
    for (uint32_t i = 0; i < lua->limits.concurrency; i++)
        if (!lua->slots[i].busy) return &lua->slots[i];
    return NULL;
}

static int run_events(lua_State *L) {
    fl_lua *lua = fl_host(L);
    luaL_checkstack(L, 20, NULL);
    lua_rawgeti(L, LUA_REGISTRYINDEX, lua->event_meta);
    lua_rawgeti(L, LUA_REGISTRYINDEX, lua->handler);
    lua_rawgeti(L, LUA_REGISTRYINDEX, lua->ctx);
    while (lua->next < lua->event_count) {
        fl_slot *slot = free_slot(lua);
        if (!slot) break;
        const fl_lua_event *event = &lua->events[lua->next++];
        begin(lua, slot, FL_KIND_EVENT, event->tag, lua->limits.cpu);
        slot->event = *event;
        slot->event_count = 1;
        need_coroutine(L, slot);
        lua_pushvalue(L, 2);
        fl_push_event(L, lua, event, slot->serial, (uint32_t)(slot - lua->slots), 1);
        lua_pushvalue(L, 3);
        lua_xmove(L, slot->co, 3);
        step(L, lua, slot, 2);
        if (lua->entered > lua->budget_end) break;
    }
    return 0;
}

const fl_lua_report *fl_lua_run(fl_lua *lua, const fl_lua_event *events, size_t count, uint64_t budget) {
    start_report(lua);
    lua->events = events;
    lua->event_count = count;
    lua->budget_end = fl_clock(CLOCK_MONOTONIC) + budget;
    while (!protect(lua, run_events) && lua->next < count) continue;
    return finish_report(lua);
}

static int run_batch(lua_State *L) {
    fl_lua *lua = fl_host(L);
    fl_slot *slot = lua->current;
    luaL_checkstack(L, 20, NULL);
    need_coroutine(L, slot);
    lua_rawgeti(L, LUA_REGISTRYINDEX, lua->event_meta);
    lua_rawgeti(L, LUA_REGISTRYINDEX, lua->handler_batch);
    lua_createtable(L, (int)lua->event_count, 0);
    for (size_t i = 0; i < lua->event_count; i++) {
        fl_push_event(L, lua, &lua->events[i], slot->serial, (uint32_t)(slot - lua->slots), 1);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, lua->ctx);
    lua_xmove(L, slot->co, 3);
    step(L, lua, slot, 2);
    return 0;
}

const fl_lua_report *fl_lua_run_batch(fl_lua *lua, const fl_lua_event *events, size_t count, uint64_t tag) {
    start_report(lua);
    fl_slot *slot = free_slot(lua);
    if (slot && count) {
        lua->events = events;
        lua->event_count = lua->next = count;
        begin(lua, slot, FL_KIND_BATCH, tag, lua->limits.cpu);
        slot->event = events[0];
        slot->event_count = (uint32_t)count;
        protect(lua, run_batch);
    }
    return finish_report(lua);
}

static int run_call(lua_State *L) {
    fl_lua *lua = fl_host(L);
    fl_slot *slot = lua->current;
    luaL_checkstack(L, 20, NULL);
    need_coroutine(L, slot);
    lua_rawgeti(L, LUA_REGISTRYINDEX,
                slot->kind == FL_KIND_INIT      ? lua->init
                : slot->kind == FL_KIND_STOP    ? lua->stop
                : slot->kind == FL_KIND_MIGRATE ? lua->migrate
                                                : lua->handler);
    lua_rawgeti(L, LUA_REGISTRYINDEX, lua->ctx);
    if (slot->kind == FL_KIND_MIGRATE) {
        fl_push_thawed(L, 2);
        lua_getfield(L, 3, "state");
        lua_replace(L, 2);
        lua_settop(L, 2);
    }
    int count = 0;
    if (lua->answer_length) {
        fl_unpack(L, lua->answer, lua->answer + lua->answer_length, false);
        int arguments = lua_gettop(L);
        count = (int)lua_rawlen(L, arguments);
        for (int i = 1; i <= count; i++) lua_rawgeti(L, arguments, i);
        lua_remove(L, arguments);
    }
    lua_xmove(L, slot->co, 2 + count);
    step(L, lua, slot, 1 + count);
    return 0;
}

const fl_lua_report *fl_lua_call(fl_lua *lua, int function, const uint8_t *arguments, size_t length, uint64_t tag) {
    start_report(lua);
    fl_slot *slot = &lua->slots[lua->limits.concurrency];
    int reference = lua->handler, kind = FL_KIND_RUN;
    switch (function) {
    case FL_CALL_INIT: reference = lua->init, kind = FL_KIND_INIT; break;
    case FL_CALL_STOP: reference = lua->stop, kind = FL_KIND_STOP; break;
    case FL_CALL_MIGRATE: reference = lua->migrate, kind = FL_KIND_MIGRATE; break;
    }
    begin(lua, slot, kind, tag, lua->limits.load_cpu);
    if (reference == LUA_NOREF) {
        add_end(lua, slot, FL_LUA_ACK, FL_LUA_RETURNED);
        finish(lua, slot);
    } else {
        lua->answer = arguments;
        lua->answer_length = length;
        protect(lua, run_call);
    }
    return finish_report(lua);
}

static int run_answer(lua_State *L) {
    fl_lua *lua = fl_host(L);
    luaL_checkstack(L, 20, NULL);
    step(L, lua, lua->current, 0);
    return 0;
}

const fl_lua_report *fl_lua_answer(fl_lua *lua, uint32_t task, int kind, const uint8_t *packed, size_t length) {
    start_report(lua);
    fl_slot *slot = task < lua->slot_count ? &lua->slots[task] : NULL;
    if (slot && slot->waiting) {
        slot->waiting = false;
        lua->current = slot;
        lua->answer_kind = kind;
        lua->answer = packed;
        lua->answer_length = length;
        protect(lua, run_answer);
    }
    return finish_report(lua);
}

static int run_cancel(lua_State *L) {
    fl_lua *lua = fl_host(L);
    fl_slot *slot = lua->current;
    luaL_checkstack(L, 20, NULL);
    fl_lua_run_of_bytes trace = keep_trace(L, lua, slot->co);
    add_end(lua, slot, FL_LUA_RETRY, FL_LUA_KILLED_WALL)->trace = trace;
    // Its <close> variables run now, within what is left of its processor time.
    slot->wall_deadline = UINT64_MAX;
    lua->killed = 0;
    fl_enter(lua, slot, slot->co);
    lua_resetthread(slot->co);
    fl_leave(lua, slot);
    forget_coroutine(lua, slot);
    finish(lua, slot);
    return 0;
}

const fl_lua_report *fl_lua_cancel(fl_lua *lua, uint32_t task) {
    start_report(lua);
    fl_slot *slot = task < lua->slot_count ? &lua->slots[task] : NULL;
    if (slot && slot->waiting) {
        slot->waiting = false;
        lua->current = slot;
        protect(lua, run_cancel);
    }
    return finish_report(lua);
}

static int open_all(lua_State *L) {
    fl_lua *lua = fl_host(L);
    lua_pushliteral(L, "stopped by its limits");
    lua->kill_message = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_newtable(L);
    lua->topics = luaL_ref(L, LUA_REGISTRYINDEX);
    fl_open_libraries(L);
    fl_open_outcome(L);
    fl_open_event(L);
    fl_open_ctx(L);
    return 0;
}

fl_lua *fl_lua_open(const fl_lua_limits *limits, const char *subscriber) {
    fl_lua *lua = calloc(1, sizeof *lua);
    if (!lua) return NULL;
    lua->limits = *limits;
    if (lua->limits.concurrency < 1) lua->limits.concurrency = 1;
    lua->subscriber = strdup(subscriber);
    lua->slot_count = lua->limits.concurrency + 1;
    lua->slots = calloc(lua->slot_count, sizeof *lua->slots);
    lua->in_host = true;
    lua->handler = lua->handler_batch = lua->init = lua->stop = lua->migrate = LUA_NOREF;
    if (!lua->subscriber || !lua->slots || !(lua->L = lua_newstate(fl_allocate, lua))) {
        free(lua->subscriber);
        free(lua->slots);
        free(lua);
        return NULL;
    }
    for (uint32_t i = 0; i < lua->slot_count; i++) lua->slots[i].co_ref = LUA_NOREF;
    *(fl_lua **)lua_getextraspace(lua->L) = lua;
    lua_sethook(lua->L, fl_hook, LUA_MASKCOUNT, FL_HOOK_INSTRUCTIONS);
    if (!protect(lua, open_all)) {
        fl_lua_close(lua);
        return NULL;
    }
    return lua;
}

void fl_lua_close(fl_lua *lua) {
    lua->in_host = true;
    lua->running = NULL;
    lua_close(lua->L);
    for (size_t i = 0; i < lua->module_count; i++) {
        free(lua->modules[i].name);
        free(lua->modules[i].chunk);
        free(lua->modules[i].source);
    }
    free(lua->modules);
    free(lua->bytes.bytes);
    free(lua->scratch.bytes);
    free(lua->keys.bytes);
    free(lua->acks);
    free(lua->ends);
    free(lua->wants);
    free(lua->logs);
    free(lua->slots);
    free(lua->subscriber);
    free(lua);
}

void fl_lua_module(fl_lua *lua, const char *name, const char *chunk, const void *source, size_t length) {
    lua->modules = must(realloc(lua->modules, (lua->module_count + 1) * sizeof *lua->modules));
    fl_module *module = &lua->modules[lua->module_count++];
    module->name = must(strdup(name));
    module->chunk = must(malloc(strlen(chunk) + 2));
    // "@" tells Lua that the chunk's name is a file's.
    module->chunk[0] = '@';
    strcpy(module->chunk + 1, chunk);
    module->source = must(malloc(length + 1));
    memcpy(module->source, source, length);
    module->length = length;
}

/// Packs [message, trace] of the end reported last.
static void pack_failure(fl_lua *lua, const uint8_t **packed, size_t *length) {
    fl_lua_end end = lua->end_count ? lua->ends[lua->end_count - 1] : (fl_lua_end){0};
    fl_bytes *bytes = &lua->bytes;
    size_t start = bytes->length;
    fl_bytes_reserve(bytes, 32 + end.reason.length + end.trace.length);
    fl_bytes_u8(bytes, FL_PACK_ARRAY);
    fl_bytes_u32(bytes, 2);
    fl_pack_string(bytes, bytes->bytes + end.reason.at, end.reason.length);
    fl_pack_string(bytes, bytes->bytes + end.trace.at, end.trace.length);
    *packed = bytes->bytes + start;
    *length = bytes->length - start;
}

static int keep_function(lua_State *L, int table, const char *name) {
    lua_pushstring(L, name);
    if (lua_rawget(L, table) == LUA_TFUNCTION) return luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pop(L, 1);
    return LUA_NOREF;
}

static int run_load(lua_State *L) {
    fl_lua *lua = fl_host(L);
    fl_slot *slot = lua->current;
    luaL_checkstack(L, 20, NULL);
    need_coroutine(L, slot);
    lua_pushglobaltable(L);
    lua_pushliteral(L, "require");
    lua_rawget(L, 1);
    lua_pushstring(L, (const char *)lua->answer);
    lua_xmove(L, slot->co, 2);
    int results = 0;
    lua_State *co = slot->co;
    fl_enter(lua, slot, co);
    int status = lua_resume(co, L, 1, &results);
    fl_leave(lua, slot);
    if (status != LUA_OK) {
        end_with_error(L, lua, slot, status);
        return 0;
    }
    lua_settop(co, 1);
    lua_xmove(co, L, 1);
    lua_replace(L, 1);
    lua_settop(L, 1);
    size_t start = lua->bytes.length;
    if (lua_isfunction(L, 1)) {
        lua->handler = luaL_ref(L, LUA_REGISTRYINDEX);
        fl_bytes_u8(&lua->bytes, FL_PACK_NIL);
    } else if (lua_istable(L, 1)) {
        lua->handler = keep_function(L, 1, "handle");
        lua->handler_batch = keep_function(L, 1, "handle_batch");
        lua->init = keep_function(L, 1, "init");
        lua->stop = keep_function(L, 1, "stop");
        lua->migrate = keep_function(L, 1, "migrate");
        fl_pack(L, 1, &lua->bytes);
    } else {
        fl_bytes_u8(&lua->bytes, FL_PACK_OTHER);
        const char *type = luaL_typename(L, 1);
        // A chunk that returns nothing gives `true` from require.
        if (lua_isboolean(L, 1)) type = "nothing";
        fl_bytes_u32(&lua->bytes, (uint32_t)strlen(type));
        fl_bytes_append(&lua->bytes, type, strlen(type));
    }
    lua->answer_length = start;
    finish(lua, slot);
    return 0;
}

int fl_lua_load(fl_lua *lua, const char *name, const uint8_t **packed, size_t *length) {
    start_report(lua);
    fl_slot *slot = &lua->slots[lua->limits.concurrency];
    begin(lua, slot, FL_KIND_LOAD, 0, lua->limits.load_cpu);
    lua->answer = (const uint8_t *)name;
    bool done = protect(lua, run_load);
    if (!done || lua->end_count) {
        pack_failure(lua, packed, length);
        return 0;
    }
    *packed = lua->bytes.bytes + lua->answer_length;
    *length = lua->bytes.length - lua->answer_length;
    return 1;
}

static int run_compile(lua_State *L) {
    fl_lua *lua = fl_host(L);
    fl_module *module = &lua->modules[lua->module_count - 1];
    if (luaL_loadbufferx(L, module->source, module->length, module->chunk, "t") != LUA_OK) {
        fl_lua_run_of_bytes reason = keep_error(lua, L, -1);
        fl_lua_end *end = add_end(lua, lua->current, FL_LUA_RETRY, FL_LUA_THREW);
        end->reason = reason;
    }
    finish(lua, lua->current);
    return 0;
}

int fl_lua_compile(fl_lua *lua, const char *chunk, const void *source, size_t length, const uint8_t **packed,
                   size_t *packed_length) {
    start_report(lua);
    begin(lua, &lua->slots[lua->limits.concurrency], FL_KIND_LOAD, 0, lua->limits.load_cpu);
    fl_lua_module(lua, "", chunk, source, length);
    bool done = protect(lua, run_compile);
    if (done && !lua->end_count) return 1;
    pack_failure(lua, packed, packed_length);
    return 0;
}

static int run_configure(lua_State *L) {
    fl_lua *lua = fl_host(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, lua->ctx);
    fl_push_thawed(L, 1);
    fl_unpack(L, lua->answer, lua->answer + lua->answer_length, true);
    lua_setfield(L, 2, "config");
    return 0;
}

int fl_lua_configure(fl_lua *lua, const uint8_t *packed, size_t length) {
    start_report(lua);
    lua->current = NULL;
    lua->answer = packed;
    lua->answer_length = length;
    return protect(lua, run_configure);
}

static int run_topic(lua_State *L) {
    fl_lua *lua = fl_host(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, lua->topics);
    lua_pushlstring(L, (const char *)lua->answer, lua->answer_length);
    lua_rawseti(L, 1, (lua_Integer)lua->next + 1);
    return 0;
}

void fl_lua_topic(fl_lua *lua, uint32_t id, const char *name, size_t length) {
    start_report(lua);
    lua->current = NULL;
    lua->next = id;
    lua->answer = (const uint8_t *)name;
    lua->answer_length = length;
    protect(lua, run_topic);
}

typedef struct {
    const char *text, *pattern;
    size_t text_length, pattern_length;
    int result;
} match_request;

static int run_matches(lua_State *L) {
    fl_lua *lua = fl_host(L);
    match_request *request = (match_request *)lua->answer;
    lua_pushcfunction(L, fl_find);
    lua_pushlstring(L, request->text, request->text_length);
    lua_pushlstring(L, request->pattern, request->pattern_length);
    fl_enter(lua, lua->current, L);
    lua_call(L, 2, 1);
    fl_leave(lua, lua->current);
    request->result = !lua_isnil(L, -1);
    finish(lua, lua->current);
    return 0;
}

int fl_lua_matches(fl_lua *lua, const char *text, size_t text_length, const char *pattern, size_t pattern_length) {
    match_request request = {text, pattern, text_length, pattern_length, -1};
    start_report(lua);
    begin(lua, &lua->slots[lua->limits.concurrency], FL_KIND_LOAD, 0, lua->limits.load_cpu);
    lua->answer = (const uint8_t *)&request;
    if (!protect(lua, run_matches) && lua->killed) return -2;
    return request.result;
}

void fl_lua_set_time(fl_lua *lua, int64_t milliseconds) { lua->now = milliseconds; }

uint32_t fl_lua_free_tasks(const fl_lua *lua) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < lua->limits.concurrency; i++) count += !lua->slots[i].busy;
    return count;
}

uint64_t fl_lua_spent(const fl_lua *lua) { return lua->spent; }

size_t fl_lua_memory(const fl_lua *lua) { return lua->used; }
