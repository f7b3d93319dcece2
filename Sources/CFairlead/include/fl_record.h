// SPDX-License-Identifier: Apache-2.0
#pragma once

/// One record: an event as it stands in a journal segment, on the wire between threads, and under a Lua `event`.
/// It is built once, when the event is accepted, and never copied or re-encoded after that.
///
/// Little-endian, unaligned; nothing is padded. Version 1, named in the header of each segment.
///
///     at  field             type
///      0  length            u32   bytes of the whole record, this field included
///      4  crc               u32   CRC-32C of bytes 8 ..< length
///      8  offset            u64   place in its topic, from 0, never reused
///     16  time              i64   milliseconds since 1970-01-01 UTC, when it was appended
///     24  outbox            u64   the ledger's outbox row that caused it; 0 where a publisher sent it
///     32  attributesLength  u32
///     36  dataLength        u32
///     40  keyLength         u16   0xFFFF: the event has no key
///     42  dataKind          u8    FL_DATA_*
///     43  attributeCount    u8
///     44  attributes              attributeCount times: name length u8, type u8 (FL_ATTRIBUTE_*),
///                                 value length u32, name (ASCII), value (canonical string, UTF-8)
///         data                    dataLength bytes as received
///         key                     keyLength bytes of UTF-8
///
/// `id`, `source` and `type` are the first three attributes, in this order.

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    FL_RECORD_HEADER_BYTES = 44,
    FL_ATTRIBUTE_HEADER_BYTES = 6,
    FL_RECORD_NO_KEY = 0xFFFF,
    /// Readable bytes that must follow a record's last byte in memory: simdjson reads ahead (SIMDJSON_PADDING).
    FL_RECORD_PADDING = 64,
};

enum { FL_DATA_NONE = 0, FL_DATA_JSON = 1, FL_DATA_TEXT = 2, FL_DATA_BINARY = 3 };

/// CloudEvents attribute types that survive the JSON format; the value is stored as its canonical string all the same.
enum { FL_ATTRIBUTE_STRING = 0, FL_ATTRIBUTE_BOOLEAN = 1, FL_ATTRIBUTE_INTEGER = 2 };

#define FL_FIELD(name, type, at)                                                        \
    static inline type fl_record_##name(const void *record) {                          \
        type value;                                                                     \
        memcpy(&value, (const uint8_t *)record + (at), sizeof value);                   \
        return value;                                                                   \
    }                                                                                   \
    static inline void fl_record_set_##name(void *record, type value) {                \
        memcpy((uint8_t *)record + (at), &value, sizeof value);                         \
    }

FL_FIELD(length, uint32_t, 0)
FL_FIELD(crc, uint32_t, 4)
FL_FIELD(offset, uint64_t, 8)
FL_FIELD(time, int64_t, 16)
FL_FIELD(outbox, uint64_t, 24)
FL_FIELD(attributes_length, uint32_t, 32)
FL_FIELD(data_length, uint32_t, 36)
FL_FIELD(key_length, uint16_t, 40)
FL_FIELD(data_kind, uint8_t, 42)
FL_FIELD(attribute_count, uint8_t, 43)
#undef FL_FIELD

/// A run of bytes inside a record; `bytes` is NULL where there is none.
typedef struct {
    const uint8_t *bytes;
    size_t length;
} fl_span;

static inline fl_span fl_record_data(const void *record) {
    fl_span span = {(const uint8_t *)record + FL_RECORD_HEADER_BYTES + fl_record_attributes_length(record),
                    fl_record_data_length(record)};
    return span;
}

static inline fl_span fl_record_key(const void *record) {
    uint16_t length = fl_record_key_length(record);
    fl_span span = {NULL, 0};
    if (length != FL_RECORD_NO_KEY) {
        span.bytes = (const uint8_t *)record + FL_RECORD_HEADER_BYTES + fl_record_attributes_length(record) +
                     fl_record_data_length(record);
        span.length = length;
    }
    return span;
}

typedef struct {
    fl_span name;
    fl_span value;
    uint8_t type;
} fl_attribute;

/// Reads the attribute at `*at` (start with 0) and moves `*at` to the next; returns 0 after the last.
static inline int fl_record_next_attribute(const void *record, uint32_t *at, fl_attribute *out) {
    if (*at >= fl_record_attributes_length(record)) return 0;
    const uint8_t *p = (const uint8_t *)record + FL_RECORD_HEADER_BYTES + *at;
    uint32_t value_length;
    memcpy(&value_length, p + 2, sizeof value_length);
    out->type = p[1];
    out->name.bytes = p + FL_ATTRIBUTE_HEADER_BYTES;
    out->name.length = p[0];
    out->value.bytes = out->name.bytes + p[0];
    out->value.length = value_length;
    *at += FL_ATTRIBUTE_HEADER_BYTES + p[0] + value_length;
    return 1;
}

/// The value of the attribute called `name`; `bytes` is NULL where the event has no such attribute.
static inline fl_span fl_record_attribute(const void *record, const void *name, size_t length) {
    fl_attribute attribute;
    for (uint32_t at = 0; fl_record_next_attribute(record, &at, &attribute);)
        if (attribute.name.length == length && memcmp(attribute.name.bytes, name, length) == 0) return attribute.value;
    fl_span none = {NULL, 0};
    return none;
}

/// Whether `available` bytes at `record` hold a whole record whose lengths agree with each other.
/// Says nothing of the CRC; safe on any bytes.
static inline int fl_record_is_framed(const void *record, size_t available) {
    if (available < FL_RECORD_HEADER_BYTES) return 0;
    uint64_t length = fl_record_length(record);
    uint16_t key = fl_record_key_length(record);
    uint64_t parts = (uint64_t)FL_RECORD_HEADER_BYTES + fl_record_attributes_length(record) +
                     fl_record_data_length(record) + (key == FL_RECORD_NO_KEY ? 0 : key);
    return length == parts && length <= available;
}
