// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdbool.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "fl_json.h"
#include "fl_lua.h"

enum {
    /// VM instructions between looks at the clock. A hook of any count makes 5.4's VM check each instruction, so a
    /// small one costs little more; a single instruction can be milliseconds long (comparing two long strings).
    FL_HOOK_INSTRUCTIONS = 400,
    /// Steps of our own C loops between looks at the clock.
    FL_TICK_STEPS = 2000,
    /// An allocation of this size or more looks at the clock: doubling a string is few instructions and much work.
    FL_BIG_ALLOCATION = 16 << 10,
    /// Bytes beyond the limit that the host may use to report what happened.
    FL_MEMORY_SLACK = 512 << 10,
    /// Refused allocations after which a call is stopped, since a script can catch each of them.
    FL_REFUSALS_MAX = 6,
    /// Longest result of string.rep and longest JSON text or request, in bytes.
    FL_STRING_MAX = 8 << 20,
    FL_PACK_MAX = 16 << 20,
    /// Nesting of values that leave or enter Lua; `Limits.jsonDepthMax`.
    FL_DEPTH_MAX = 64,
    /// Bytes of log output of one call.
    FL_LOG_BYTES_MAX = 64 << 10,
    /// Bytes of a stack trace kept.
    FL_TRACE_MAX = 4 << 10,
    /// Bytes of a buffer of the host that are kept from one call to the next.
    FL_BUFFER_KEPT = 1 << 20,
    /// Values that table.unpack may return at once.
    FL_UNPACK_MAX = 100000,
};

typedef struct {
    uint8_t *bytes;
    size_t length;
    size_t capacity;
} fl_bytes;

void fl_bytes_reserve(fl_bytes *buffer, size_t more);
void fl_bytes_append(fl_bytes *buffer, const void *bytes, size_t length);
static inline void fl_bytes_u8(fl_bytes *buffer, uint8_t value) { fl_bytes_append(buffer, &value, 1); }
static inline void fl_bytes_u32(fl_bytes *buffer, uint32_t value) { fl_bytes_append(buffer, &value, 4); }

/// One call of a handler that is under way.
typedef struct {
    /// Kept from one call to the next where it ended well.
    lua_State *co;
    int co_ref;
    /// Rises with each call: an event of an earlier one is settled and its record may be gone.
    uint64_t serial;
    uint64_t tag;
    bool busy;
    bool waiting;
    /// Swift knows of this call, because it wanted something.
    bool wanted;
    uint8_t kind;
    /// Nanoseconds of processor time so far.
    uint64_t spent;
    uint64_t cpu;
    /// By CLOCK_MONOTONIC; 0 until the call runs.
    uint64_t wall_deadline;
    uint32_t log_bytes;
    uint32_t event_count;
    fl_lua_event event;
} fl_slot;

enum { FL_KIND_EVENT = 0, FL_KIND_BATCH, FL_KIND_INIT, FL_KIND_STOP, FL_KIND_RUN, FL_KIND_LOAD, FL_KIND_MIGRATE };

typedef struct {
    char *name;
    char *chunk;
    char *source;
    size_t length;
} fl_module;

struct fl_lua {
    lua_State *L;
    fl_lua_limits limits;
    char *subscriber;

    size_t used;
    /// While true, allocations may use the slack: the host is at work, not the script.
    bool in_host;
    int refusals;

    /// 0, or one of FL_LUA_KILLED_*: sticks until the call has ended, whatever the script catches.
    uint8_t killed;
    bool inside;
    uint64_t entered;
    /// Nanoseconds of all calls so far.
    uint64_t spent;
    uint64_t deadline;
    uint64_t sample_mono;
    uint64_t sample_cpu;
    uint32_t steps;
    /// The innermost coroutine that runs.
    lua_State *running;

    fl_slot *slots;
    uint32_t slot_count;
    /// One more than there are calls at once, for init and stop and for loading.
    fl_slot *current;
    /// The running coroutine is about to yield with a want.
    bool wanting;
    int answer_kind;
    const uint8_t *answer;
    size_t answer_length;

    int64_t now;
    fl_module *modules;
    size_t module_count;

    /// Registry references.
    int handler, handler_batch, init, stop, migrate, ctx, event_meta, outcome_meta, secret_meta, frozen_meta, array_meta,
        null_value, topics, kill_message, loaded, traces;

    const fl_lua_event *events;
    size_t event_count;
    size_t next;
    uint64_t budget_end;

    fl_bytes bytes;
    fl_bytes scratch;
    fl_bytes keys;
    uint64_t *acks;
    size_t ack_count, ack_capacity;
    fl_lua_end *ends;
    size_t end_count, end_capacity;
    /// How many there were when the current call began.
    size_t call_ends;
    fl_lua_want *wants;
    size_t want_count, want_capacity;
    fl_lua_log *logs;
    size_t log_count, log_capacity;
    fl_lua_report report;
};

static inline fl_lua *fl_host(lua_State *L) { return *(fl_lua **)lua_getextraspace(L); }

static inline uint64_t fl_clock(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

// lua_limits.c
void *fl_allocate(void *context, void *pointer, size_t old_size, size_t new_size);
void fl_hook(lua_State *L, lua_Debug *debug);
/// Opens the window in which a script may run, for what `slot` has left of its time.
void fl_enter(fl_lua *lua, fl_slot *slot, lua_State *running);
void fl_leave(fl_lua *lua, fl_slot *slot);
/// Whether the running call must stop.
bool fl_is_over(fl_lua *lua);
_Noreturn void fl_raise_kill(lua_State *L);
void fl_kill_check(lua_State *L);

/// Counts `steps` of work that no VM instruction shows, and raises when the time is up.
static inline void fl_tick(lua_State *L, uint32_t steps) {
    fl_lua *lua = fl_host(L);
    lua->steps += steps;
    if (lua->steps >= FL_TICK_STEPS) {
        lua->steps = 0;
        fl_kill_check(L);
    }
}

// lua_sandbox.c, lua_coroutine.c, lua_table.c, lua_pattern.c: the libraries as a plugin sees them.
void fl_open_libraries(lua_State *L);
void fl_open_coroutine(lua_State *L);
void fl_open_table(lua_State *L);
void fl_open_patterns(lua_State *L);
int fl_find(lua_State *L);
/// Pushes the table behind a frozen one, or the value itself; returns whether it was frozen.
bool fl_push_thawed(lua_State *L, int index);
/// Puts a read-only view of the table on top in its place.
void fl_freeze(lua_State *L);
/// As `tostring`, but without addresses.
void fl_push_text(lua_State *L, int index);

// lua_event.c
void fl_open_event(lua_State *L);
void fl_push_event(lua_State *L, fl_lua *lua, const fl_lua_event *event, uint64_t serial, uint32_t slot, int metatable);

// lua_outcome.c
typedef struct {
    uint8_t kind;
    double after;
    bool failure;
} fl_outcome;
void fl_open_outcome(lua_State *L);
/// The message, status and response are in its user values.
fl_outcome *fl_to_outcome(lua_State *L, int index);
/// Pops the message and pushes the outcome.
fl_outcome *fl_push_outcome(lua_State *L, uint8_t kind, double after, bool failure);
typedef struct {
    size_t name_length;
    size_t length;
    char bytes[];
} fl_secret;
fl_secret *fl_to_secret(lua_State *L, int index);
fl_secret *fl_push_secret(lua_State *L, const void *name, size_t name_length, const void *value, size_t length);

// lua_ctx.c
void fl_open_ctx(lua_State *L);
/// Seconds from "30s", "1m30s", "500ms" or a number; negative where it is neither.
double fl_duration(lua_State *L, int index);

// lua_crypto.c
void fl_push_crypto(lua_State *L);
void fl_random(void *bytes, size_t length);
void fl_sha256(const void *bytes, size_t length, uint8_t digest[32]);
void fl_uuid(char text[37]);

// lua_pack.c
void fl_pack(lua_State *L, int index, fl_bytes *out);
/// For results of the host itself, which can't be too large or too deep.
void fl_pack_string(fl_bytes *out, const void *bytes, size_t length);
const uint8_t *fl_unpack(lua_State *L, const uint8_t *at, const uint8_t *end, bool freeze);

// lua_json.cpp
/// Pushes the value of JSON text that FL_RECORD_PADDING readable bytes follow; raises where it isn't JSON.
void fl_json_push_padded(lua_State *L, const uint8_t *bytes, size_t length);
/// As above, for bytes that nothing need follow.
void fl_json_push(lua_State *L, const uint8_t *bytes, size_t length);
/// Writes the value at `index` to `scratch`. Returns whether a secret is in it, which is refused unless `secrets`.
bool fl_json_write(lua_State *L, int index, bool secrets);

// lua_run.c
lua_Number fl_seconds_left(fl_lua *lua);

#ifdef __cplusplus
}
#endif
