// SPDX-License-Identifier: Apache-2.0
#pragma once

/// The Lua host: one sandboxed interpreter per subscriber.
///
/// The contract. Lua answers errors with a longjmp, which must not cross a Swift frame. So every call that can raise is
/// made here, behind a pcall, and no function below ever leaves by a longjmp. Lua never calls Swift: where a script
/// wants something that only Swift can do, its coroutine yields, the want stands in the report, and `fl_lua_answer`
/// goes on with it later.
///
/// An interpreter belongs to one thread at a time. What a report points to is valid until the next call on the same
/// interpreter. A record given to `fl_lua_run` stays readable until its task has ended or was cancelled.

#include <stddef.h>
#include <stdint.h>

#include "fl_record.h"

typedef struct fl_lua fl_lua;

/// The release of the Lua library in use, as a part of a longer text.
const char *fl_lua_ident(void);

typedef struct {
    /// Bytes of the interpreter's heap.
    size_t memory;
    /// Processor time of one call of a handler, in nanoseconds.
    uint64_t cpu;
    /// Processor time for loading the chunk and for `init` and `stop`.
    uint64_t load_cpu;
    /// From the start of a call to its end, waiting included.
    uint64_t wall;
    /// Calls that may be under way at once.
    uint32_t concurrency;
} fl_lua_limits;

typedef struct {
    const void *record;
    /// The caller's name for the delivery.
    uint64_t tag;
    /// As told by `fl_lua_topic`.
    uint32_t topic;
    uint32_t attempt;
    uint8_t replay;
} fl_lua_event;

enum { FL_LUA_ACK = 0, FL_LUA_RETRY = 1, FL_LUA_DEAD = 2, FL_LUA_DROP = 3 };

/// Why a call ended other than by returning an outcome.
enum {
    FL_LUA_RETURNED = 0,
    /// An error was thrown and not caught.
    FL_LUA_THREW = 1,
    /// It returned something that is no outcome.
    FL_LUA_BUG = 2,
    FL_LUA_KILLED_CPU = 3,
    FL_LUA_KILLED_WALL = 4,
    FL_LUA_KILLED_MEMORY = 5,
};

/// A run of the report's `bytes`.
typedef struct {
    uint32_t at;
    uint32_t length;
} fl_lua_run_of_bytes;

typedef struct {
    uint64_t tag;
    uint32_t task;
    /// Which event of a batch, from 0; -1 where it is about the whole call.
    int32_t index;
    uint8_t outcome;
    uint8_t cause;
    /// Whether more ends of the same task follow.
    uint8_t more;
    /// Seconds; negative where the retry policy decides.
    double after;
    fl_lua_run_of_bytes reason;
    fl_lua_run_of_bytes trace;
} fl_lua_end;

typedef struct {
    uint64_t tag;
    uint32_t task;
    uint8_t kind;
    /// A packed array.
    fl_lua_run_of_bytes arguments;
    /// `file:line:` of the plugin that asked.
    fl_lua_run_of_bytes place;
} fl_lua_want;

enum {
    FL_WANT_STATE_GET = 1,
    FL_WANT_STATE_PUT,
    FL_WANT_STATE_ADD,
    FL_WANT_STATE_DELETE,
    FL_WANT_STATE_LIST,
    FL_WANT_PUBLISH,
    FL_WANT_HTTP,
    FL_WANT_MAIL,
    FL_WANT_SLEEP,
    FL_WANT_ENV,
    FL_WANT_TEST,
    FL_WANT_FILE,
};

enum { FL_LOG_DEBUG = 0, FL_LOG_INFO = 1, FL_LOG_WARN = 2, FL_LOG_ERROR = 3, FL_LOG_METRIC = 4 };

typedef struct {
    /// Of the call that wrote it; UINT64_MAX outside of any.
    uint64_t tag;
    uint32_t task;
    uint8_t level;
    /// A packed array: message and fields, or a metric's name and amount.
    fl_lua_run_of_bytes arguments;
} fl_lua_log;

typedef struct {
    /// Events taken from the front of those given.
    size_t begun;
    const uint8_t *bytes;
    /// Tags of the events that were acknowledged without wanting anything.
    const uint64_t *acks;
    size_t ack_count;
    const fl_lua_end *ends;
    size_t end_count;
    const fl_lua_want *wants;
    size_t want_count;
    const fl_lua_log *logs;
    size_t log_count;
} fl_lua_report;

/// Values on their way between Lua and Swift: a tag byte, then what the tag says; lengths and counts are u32, all
/// little-endian and unaligned.
enum {
    FL_PACK_NIL = 0,
    FL_PACK_FALSE = 1,
    FL_PACK_TRUE = 2,
    /// i64
    FL_PACK_INTEGER = 3,
    /// f64
    FL_PACK_NUMBER = 4,
    /// length, bytes
    FL_PACK_STRING = 5,
    /// count, values
    FL_PACK_ARRAY = 6,
    /// count, (length, bytes of the key, value)
    FL_PACK_MAP = 7,
    /// length, bytes of the name, length, bytes of the value
    FL_PACK_SECRET = 8,
    /// JSON's null
    FL_PACK_NULL = 9,
    /// length, bytes: the Lua type of something that can't be packed
    FL_PACK_OTHER = 10,
    /// length, bytes: JSON text, to be decoded on arrival
    FL_PACK_JSON = 11,
};

enum {
    /// A packed array of results.
    FL_ANSWER_VALUES = 0,
    /// A packed string: raised as an error at the place that asked.
    FL_ANSWER_ERROR = 1,
    /// A packed array [outcome, after or nil, message, status or nil, response or nil]: raised as an error that knows
    /// its outcome.
    FL_ANSWER_FAILURE = 2,
};

/// NULL where there is no memory for it.
fl_lua *fl_lua_open(const fl_lua_limits *limits, const char *subscriber);
void fl_lua_close(fl_lua *lua);

/// Makes a source file known to `require`; the bytes are copied. `chunk` is what errors call it.
void fl_lua_module(fl_lua *lua, const char *name, const char *chunk, const void *source, size_t length);

/// Runs the module called `name`, which must return a function or a table. Returns 1 with the packed manifest, or 0
/// with a packed array [message, trace].
int fl_lua_load(fl_lua *lua, const char *name, const uint8_t **packed, size_t *length);

/// Sets `ctx.config` from a packed map. Returns 0 where there is no memory for it.
int fl_lua_configure(fl_lua *lua, const uint8_t *packed, size_t length);

/// Compiles without running. Returns 1, or 0 with the message in `packed` as in `fl_lua_load`.
int fl_lua_compile(fl_lua *lua, const char *chunk, const void *source, size_t length, const uint8_t **packed,
                   size_t *packed_length);

/// Whether the Lua pattern is found in the text; -1 where it is no pattern, -2 where it takes longer than `load_cpu` or
/// more memory than there is.
int fl_lua_matches(fl_lua *lua, const char *text, size_t text_length, const char *pattern, size_t pattern_length);

/// Milliseconds since 1970 for `ctx.now` and `os.time`; set before each call that runs Lua.
void fl_lua_set_time(fl_lua *lua, int64_t milliseconds);

/// Names the topic that events call `id`; ids are dense.
void fl_lua_topic(fl_lua *lua, uint32_t id, const char *name, size_t length);

/// Runs the handler on as many of `events` as can be begun, in order, and stops early after `budget` nanoseconds.
const fl_lua_report *fl_lua_run(fl_lua *lua, const fl_lua_event *events, size_t count, uint64_t budget);

/// Calls `handle_batch` once with all of `events`.
const fl_lua_report *fl_lua_run_batch(fl_lua *lua, const fl_lua_event *events, size_t count, uint64_t tag);

enum { FL_CALL_INIT = 1, FL_CALL_STOP = 2, FL_CALL_RUN = 3, FL_CALL_MIGRATE = 4 };

/// Calls `init`, `stop`, or, for `FL_CALL_RUN`, a loaded module that is itself the function (a test file's cases).
/// `arguments` is a packed array that follows `ctx`, or, for `FL_CALL_MIGRATE`, `ctx.state`.
const fl_lua_report *fl_lua_call(fl_lua *lua, int function, const uint8_t *arguments, size_t length, uint64_t tag);

const fl_lua_report *fl_lua_answer(fl_lua *lua, uint32_t task, int kind, const uint8_t *packed, size_t length);

/// Drops a waiting task. Returns its place as a stack trace.
const fl_lua_report *fl_lua_cancel(fl_lua *lua, uint32_t task);

/// Tasks that can still be begun.
uint32_t fl_lua_free_tasks(const fl_lua *lua);

/// Processor time that the script's own code has taken since it was opened, in nanoseconds.
uint64_t fl_lua_spent(const fl_lua *lua);

/// Bytes in use.
size_t fl_lua_memory(const fl_lua *lua);

/// Writes a random UUID (RFC 9562, version 4) and a zero byte.
void fl_random_uuid(char text[37]);
