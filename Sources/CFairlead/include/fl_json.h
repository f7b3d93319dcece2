// SPDX-License-Identifier: Apache-2.0
#pragma once

/// Reads JSON events: simdjson checks a text, then a scan hands out the members of its outermost object as runs of
/// the caller's own bytes, so that data is kept exactly as it was received.
///
/// Every function takes bytes of which FL_RECORD_PADDING more can be read, keeps its parser and scratch space per
/// thread, and returns runs that stay valid until the next call on the same thread. Nothing throws.

#include <stddef.h>
#include <stdint.h>

#include "fl_record.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    FL_JSON_OK = 0,
    FL_JSON_SYNTAX,
    FL_JSON_DEPTH,
    FL_JSON_UTF8,
    /// Valid JSON, but a number that neither a 64-bit integer nor a double can hold.
    FL_JSON_NUMBER,
    FL_JSON_NO_OBJECT,
    /// A member's name occurs twice in the outermost object.
    FL_JSON_DUPLICATE,
    FL_JSON_MEMORY,
} fl_json_status;

typedef enum {
    FL_JSON_NULL,
    FL_JSON_BOOLEAN,
    FL_JSON_NUMBER_VALUE,
    FL_JSON_STRING,
    FL_JSON_ARRAY,
    FL_JSON_OBJECT,
} fl_json_kind;

/// What a member of a CloudEvent in the JSON format is, by its name.
typedef enum {
    FL_MEMBER_OTHER = 0,
    FL_MEMBER_SPECVERSION,
    FL_MEMBER_ID,
    FL_MEMBER_SOURCE,
    FL_MEMBER_TYPE,
    FL_MEMBER_DATA,
    FL_MEMBER_DATA_BASE64,
    FL_MEMBER_DATACONTENTTYPE,
    FL_MEMBER_DATASCHEMA,
    FL_MEMBER_SUBJECT,
    FL_MEMBER_TIME,
    FL_MEMBER_ROLES,
} fl_member_role;

typedef struct {
    /// Without quotes, escapes undone.
    fl_span name;
    /// The value byte for byte, without the space around it.
    fl_span raw;
    /// A string's value without quotes, escapes undone; empty for other kinds.
    fl_span text;
    uint8_t kind;
    uint8_t role;
} fl_json_member;

typedef struct {
    fl_json_status status;
    /// Where the text stops being right, in bytes from its start.
    size_t position;
    /// What is wrong there, in words; never NULL where status isn't FL_JSON_OK.
    const char *reason;
} fl_json_verdict;

/// Checks `bytes` completely: grammar, UTF-8, numbers, nesting of at most `depth`.
fl_json_verdict fl_json_check(const uint8_t *bytes, size_t length, size_t depth);

/// The members of the outermost object of a text that fl_json_check has found right.
fl_json_verdict fl_json_members(const uint8_t *bytes, size_t length, const fl_json_member **members, size_t *count);

/// Goes through the elements of an array without checking what is in them: the caller checks each.
typedef struct {
    const uint8_t *start;
    const uint8_t *at;
    const uint8_t *end;
    int begun;
} fl_json_array;

fl_json_array fl_json_array_of(const uint8_t *bytes, size_t length);
/// 1 and the next element, 0 at the end, -1 where the array itself is broken; then `at` is where.
int fl_json_array_next(fl_json_array *array, fl_span *element);

/// Whether `bytes` are UTF-8.
int fl_is_utf8(const uint8_t *bytes, size_t length);

/// Where the first character stands that a CloudEvents string may not contain (controls, noncharacters; 1.0.2
/// section 2.1), in bytes, or `length` where there is none. `bytes` are UTF-8.
size_t fl_event_text_end(const uint8_t *bytes, size_t length);

/// Whether it is a CloudEvents attribute name: one or more of a-z and 0-9.
int fl_event_name_is_valid(const uint8_t *bytes, size_t length);

fl_member_role fl_member_role_of(const uint8_t *name, size_t length);

#ifdef __cplusplus
}
#endif
