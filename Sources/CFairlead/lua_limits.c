// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "lua_host.h"

void *fl_allocate(void *context, void *pointer, size_t old_size, size_t new_size) {
    fl_lua *lua = context;
    if (new_size == 0) {
        if (pointer) lua->used -= old_size;
        free(pointer);
        return NULL;
    }
    // Where there is no block yet, Lua puts the kind of object into `old_size`.
    size_t old = pointer ? old_size : 0;
    if (new_size > old) {
        size_t limit = lua->limits.memory + (lua->in_host ? FL_MEMORY_SLACK : 0);
        if (lua->used - old + new_size > limit) {
            if (!lua->in_host && ++lua->refusals > FL_REFUSALS_MAX && !lua->killed) {
                lua->killed = FL_LUA_KILLED_MEMORY;
                if (lua->running) lua_sethook(lua->running, fl_hook, LUA_MASKCOUNT, 1);
            }
            return NULL;
        }
        if (new_size >= FL_BIG_ALLOCATION && lua->running && fl_is_over(lua))
            lua_sethook(lua->running, fl_hook, LUA_MASKCOUNT, 1);
    }
    void *moved = realloc(pointer, new_size);
    if (!moved) return NULL;
    lua->used += new_size - old;
    return moved;
}

void fl_enter(fl_lua *lua, fl_slot *slot, lua_State *running) {
    uint64_t now = fl_clock(CLOCK_MONOTONIC);
    // The thread's own clock is a system call; one look each 5 ms bounds by that how much of other calls' work could
    // be taken for this one's.
    if (now - lua->sample_mono > 5000000u) {
        lua->sample_cpu = fl_clock(CLOCK_THREAD_CPUTIME_ID);
        lua->sample_mono = now;
    }
    lua->current = slot;
    lua->running = running;
    lua->entered = now;
    if (slot->wall_deadline == 0)
        slot->wall_deadline = lua->limits.wall > UINT64_MAX - now ? UINT64_MAX : now + lua->limits.wall;
    lua->deadline = now + (slot->cpu > slot->spent ? slot->cpu - slot->spent : 0);
    if (slot->wall_deadline < lua->deadline) lua->deadline = slot->wall_deadline;
    lua->in_host = false;
    lua->inside = true;
}

/// Processor time since `fl_enter`, at most what it can have been.
static uint64_t own_time(fl_lua *lua, uint64_t now) {
    uint64_t elapsed = now - lua->entered;
    if (elapsed < 1000000u) return elapsed;
    uint64_t total = fl_clock(CLOCK_THREAD_CPUTIME_ID) - lua->sample_cpu;
    uint64_t before = lua->entered - lua->sample_mono;
    uint64_t own = total > before ? total - before : 0;
    return own < elapsed ? own : elapsed;
}

void fl_leave(fl_lua *lua, fl_slot *slot) {
    uint64_t own = own_time(lua, fl_clock(CLOCK_MONOTONIC));
    slot->spent += own;
    lua->spent += own;
    lua->running = NULL;
    lua->in_host = true;
    lua->inside = false;
}

bool fl_is_over(fl_lua *lua) {
    if (lua->killed) return true;
    if (!lua->inside) return false;
    uint64_t now = fl_clock(CLOCK_MONOTONIC);
    if (now < lua->deadline) return false;
    fl_slot *slot = lua->current;
    if (now >= slot->wall_deadline) {
        lua->killed = FL_LUA_KILLED_WALL;
        return true;
    }
    // A thread that was not scheduled has not used its time.
    uint64_t spent = slot->spent + own_time(lua, now);
    if (spent >= slot->cpu) {
        lua->killed = FL_LUA_KILLED_CPU;
        return true;
    }
    lua->deadline = now + (slot->cpu - spent);
    if (slot->wall_deadline < lua->deadline) lua->deadline = slot->wall_deadline;
    return false;
}

void fl_raise_kill(lua_State *L) {
    // From here on at each instruction, so that nothing that catches errors or runs on the way out goes on.
    lua_sethook(L, fl_hook, LUA_MASKCOUNT, 1);
    lua_checkstack(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, fl_host(L)->kill_message);
    lua_error(L);
    abort();
}

void fl_kill_check(lua_State *L) {
    if (fl_is_over(fl_host(L))) fl_raise_kill(L);
}

void fl_hook(lua_State *L, lua_Debug *debug) {
    (void)debug;
    if (fl_is_over(fl_host(L))) fl_raise_kill(L);
    // A coroutine that outlived a call which was stopped.
    if (lua_gethookcount(L) != FL_HOOK_INSTRUCTIONS) lua_sethook(L, fl_hook, LUA_MASKCOUNT, FL_HOOK_INSTRUCTIONS);
}
