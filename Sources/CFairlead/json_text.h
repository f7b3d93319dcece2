// SPDX-License-Identifier: Apache-2.0
#pragma once

/// The letters of JSON, for the files that read it here.

#include <cstddef>
#include <cstdint>
#include <simdjson.h>

#include "fl_json.h"

namespace fairlead {

inline bool is_space(uint8_t c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }
inline bool is_digit(uint8_t c) { return c >= '0' && c <= '9'; }

inline const uint8_t *skip_space(const uint8_t *at, const uint8_t *end) {
    while (at < end && is_space(*at)) ++at;
    return at;
}

inline int hex(uint8_t c) {
    if (is_digit(c)) return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

inline int hex4(const uint8_t *at, const uint8_t *end) {
    if (end - at < 4) return -1;
    int value = 0;
    for (int i = 0; i < 4; ++i) {
        int digit = hex(at[i]);
        if (digit < 0) return -1;
        value = value << 4 | digit;
    }
    return value;
}

/// Where and why simdjson has refused `bytes`, which it doesn't tell; reads them once more, slowly.
fl_json_verdict locate(const uint8_t *bytes, size_t length, size_t depth, simdjson::error_code error);

}  // namespace fairlead
