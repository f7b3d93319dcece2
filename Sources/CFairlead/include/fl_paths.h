// SPDX-License-Identifier: Apache-2.0
#pragma once

/// Takes the values of many paths out of a JSON text in one pass. C on the outside, simdjson within: no exception and
/// no type of C++ leaves this header's functions.
///
/// A value of a path with `[*]` is a list: the path's own entry has the kind FL_VALUE_ARRAY where the array of its
/// first `[*]` is there, and `next` leads through one entry for each element, FL_VALUE_MISSING where an element lacks
/// the rest of the path.

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { FL_STEP_KEY = 0, FL_STEP_INDEX = 1, FL_STEP_EVERY = 2 };

typedef struct {
    /// FL_STEP_KEY: the key's UTF-8, not zero-ended.
    const char *key;
    size_t length;
    /// FL_STEP_INDEX: from 0.
    uint32_t index;
    uint8_t kind;
} fl_step;

enum {
    FL_VALUE_MISSING = 0,
    FL_VALUE_NULL = 1,
    FL_VALUE_BOOLEAN = 2,
    FL_VALUE_INTEGER = 3,
    FL_VALUE_NUMBER = 4,
    FL_VALUE_STRING = 5,
    FL_VALUE_ARRAY = 6,
    FL_VALUE_OBJECT = 7,
    /// A number that no double can hold.
    FL_VALUE_HUGE = 8,
};

typedef struct {
    uint8_t kind;
    /// FL_ATTRIBUTE_*, where the value is an attribute's; 0 from here.
    uint8_t attribute_type;
    /// FL_VALUE_STRING: bytes. FL_VALUE_ARRAY: elements, where the path was added with `counts`.
    uint32_t length;
    /// Place of the next element's value in `fl_json_elements`; 0 after the last.
    uint32_t next;
    union {
        int64_t integer;
        double number;
        /// UTF-8, unescaped; valid until the next call with the same parser.
        const uint8_t *bytes;
    };
} fl_value;

/// A set of paths. Immutable once `fl_paths_close` is back; any number of threads may use it then.
typedef struct fl_paths fl_paths;

/// NULL where there is no memory.
fl_paths *fl_paths_new(void);
void fl_paths_free(fl_paths *paths);
/// Adds a path and gives it the next place, from 0. Returns 0 where there is no memory.
int fl_paths_add(fl_paths *paths, const fl_step *steps, size_t count, int counts);
/// Ends adding. Returns 0 where there is no memory, or where the paths' `[n]` and `[*]` combine in more than
/// FL_PATHS_STATES_EXTRA_MAX ways; a single path never does.
int fl_paths_close(fl_paths *paths);
enum { FL_PATHS_STATES_EXTRA_MAX = 1 << 14 };

/// A parser with its memory, for one thread at a time; it keeps the memory for the next text.
typedef struct fl_json fl_json;

fl_json *fl_json_new(void);
void fl_json_free(fl_json *json);
/// The calling thread's own, freed with the thread; NULL where there is no memory.
fl_json *fl_json_of_thread(void);

/// Fills `out` with one value for each path. `bytes` needs FL_RECORD_PADDING readable bytes behind its `length`.
/// Returns 0 where the text turned out not to be JSON; every value is missing then. Of equal keys the first counts.
int fl_json_extract(fl_json *json, const fl_paths *paths, const uint8_t *bytes, size_t length, fl_value *out);
/// The list elements of the last extraction; valid until the next.
const fl_value *fl_json_elements(const fl_json *json);

#ifdef __cplusplus
}
#endif
