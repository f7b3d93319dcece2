// SPDX-License-Identifier: Apache-2.0

#include "json_text.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

using namespace fairlead;

namespace {

/// Bytes up to which a thread keeps its parser. simdjson holds about 14 bytes for each byte it can take; larger texts
/// are rare and get a parser of their own.
constexpr size_t kept_capacity = 64 << 10;

struct Parser {
    simdjson::dom::parser parser;
    size_t capacity = 0;
    size_t depth = 0;

    simdjson::error_code check(const uint8_t *bytes, size_t length, size_t max_depth) noexcept {
        if (length > capacity || depth != max_depth) {
            size_t wanted = std::max(std::max(length, capacity), size_t(4096));
            if (auto error = parser.allocate(wanted, max_depth)) return error;
            capacity = wanted;
            depth = max_depth;
        }
        return parser.parse(bytes, length, false).error();
    }
};

struct Scratch {
    Parser parser;
    std::vector<fl_json_member> members;
    std::unique_ptr<uint8_t[]> text;
    size_t text_capacity = 0;
    size_t text_used = 0;
};

thread_local Scratch scratch;

/// Bytes looked at in one step. Reading past the end is what the padding is for.
constexpr int step = 16;
static_assert(step <= FL_RECORD_PADDING, "a step from the last byte stays in the padding");

/// One bit for each of the next `step` bytes that is a quote or a backslash.
inline uint32_t in_string(const uint8_t *at) {
#if defined(__SSE2__)
    __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i *>(at));
    return uint32_t(_mm_movemask_epi8(
        _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')), _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\')))));
#else
    uint32_t bits = 0;
    for (int i = 0; i < step; ++i) bits |= uint32_t(at[i] == '"' || at[i] == '\\') << i;
    return bits;
#endif
}

/// One bit for each of the next `step` bytes that is a quote, a bracket or a brace.
inline uint32_t in_container(const uint8_t *at) {
#if defined(__SSE2__)
    __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i *>(at));
    // Brackets and braces differ in this bit only.
    __m128i folded = _mm_or_si128(bytes, _mm_set1_epi8(0x20));
    __m128i brackets =
        _mm_or_si128(_mm_cmpeq_epi8(folded, _mm_set1_epi8('{')), _mm_cmpeq_epi8(folded, _mm_set1_epi8('}')));
    return uint32_t(_mm_movemask_epi8(_mm_or_si128(brackets, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')))));
#else
    uint32_t bits = 0;
    for (int i = 0; i < step; ++i) {
        uint8_t folded = at[i] | 0x20;
        bits |= uint32_t(at[i] == '"' || folded == '{' || folded == '}') << i;
    }
    return bits;
#endif
}

/// `at` is behind the opening quote; the closing one, or NULL. `*escaped` is set where an escape is between them.
const uint8_t *string_end(const uint8_t *at, const uint8_t *end, bool *escaped) {
    while (at < end) {
        uint32_t bits = in_string(at);
        if (bits == 0) {
            at += step;
            continue;
        }
        at += __builtin_ctz(bits);
        if (at >= end) return nullptr;
        if (*at == '"') return at;
        *escaped = true;
        at += 2;
    }
    return nullptr;
}

/// Behind the value that starts at `at`, or NULL where it doesn't end. Looks at quotes and brackets only.
/// `*escaped` is set where it is a string with an escape in it.
const uint8_t *value_end(const uint8_t *at, const uint8_t *end, bool *escaped) {
    if (at >= end) return nullptr;
    if (*at == '"') {
        auto quote = string_end(at + 1, end, escaped);
        return quote ? quote + 1 : nullptr;
    }
    if (*at == '{' || *at == '[') {
        size_t depth = 0;
        bool ignored;
        while (at < end) {
            uint32_t bits = in_container(at);
            const uint8_t *next = at + step;
            for (; bits != 0; bits &= bits - 1) {
                const uint8_t *found = at + __builtin_ctz(bits);
                if (found >= end) return nullptr;
                if (*found == '"') {
                    auto quote = string_end(found + 1, end, &ignored);
                    if (!quote) return nullptr;
                    next = quote + 1;
                    // What is left of this step may lie inside the string.
                    if (next >= at + step) break;
                    bits &= ~0u << (next - at - 1);
                } else if ((*found | 0x20) == '{') {
                    ++depth;
                } else if (--depth == 0) {
                    return found + 1;
                }
                next = std::max(next, at + step);
            }
            at = next;
        }
        return nullptr;
    }
    const uint8_t *start = at;
    while (at < end && *at != ',' && *at != ']' && *at != '}' && !is_space(*at)) ++at;
    return at == start ? nullptr : at;
}

uint8_t *put_utf8(uint8_t *out, uint32_t c) {
    if (c < 0x80) {
        *out++ = uint8_t(c);
    } else if (c < 0x800) {
        *out++ = uint8_t(0xC0 | c >> 6);
        *out++ = uint8_t(0x80 | (c & 0x3F));
    } else if (c < 0x10000) {
        *out++ = uint8_t(0xE0 | c >> 12);
        *out++ = uint8_t(0x80 | (c >> 6 & 0x3F));
        *out++ = uint8_t(0x80 | (c & 0x3F));
    } else {
        *out++ = uint8_t(0xF0 | c >> 18);
        *out++ = uint8_t(0x80 | (c >> 12 & 0x3F));
        *out++ = uint8_t(0x80 | (c >> 6 & 0x3F));
        *out++ = uint8_t(0x80 | (c & 0x3F));
    }
    return out;
}

/// Undoes the escapes of a string that is valid JSON. False for half a surrogate pair, which no UTF-8 can hold.
bool unescape(fl_span raw, uint8_t *out, size_t *length) {
    const uint8_t *at = raw.bytes, *end = raw.bytes + raw.length;
    uint8_t *start = out;
    while (at < end) {
        if (*at != '\\') {
            *out++ = *at++;
            continue;
        }
        if (end - at < 2) return false;
        uint8_t c = at[1];
        at += 2;
        switch (c) {
        case 'b': *out++ = '\b'; break;
        case 'f': *out++ = '\f'; break;
        case 'n': *out++ = '\n'; break;
        case 'r': *out++ = '\r'; break;
        case 't': *out++ = '\t'; break;
        case 'u': {
            int first = hex4(at, end);
            if (first < 0) return false;
            at += 4;
            uint32_t value = uint32_t(first);
            if (value >= 0xD800 && value < 0xDC00) {
                if (end - at < 6 || at[0] != '\\' || at[1] != 'u') return false;
                int second = hex4(at + 2, end);
                if (second < 0xDC00 || second > 0xDFFF) return false;
                at += 6;
                value = 0x10000 + ((value - 0xD800) << 10) + (uint32_t(second) - 0xDC00);
            } else if (value >= 0xDC00 && value < 0xE000) {
                return false;
            }
            out = put_utf8(out, value);
            break;
        }
        default: *out++ = c;
        }
    }
    *length = size_t(out - start);
    return true;
}

bool unescaped(fl_span raw, fl_span *text, size_t whole) {
    if (scratch.text_capacity < whole) {
        // Only before its first use for this text: runs given out must stay where they are.
        scratch.text.reset(new (std::nothrow) uint8_t[whole]);
        scratch.text_capacity = scratch.text ? whole : 0;
        if (!scratch.text) return false;
    }
    uint8_t *out = scratch.text.get() + scratch.text_used;
    size_t length = 0;
    if (!unescape(raw, out, &length)) return false;
    scratch.text_used += length;
    *text = {out, length};
    return true;
}

fl_json_kind kind_of(uint8_t first) {
    switch (first) {
    case '"': return FL_JSON_STRING;
    case '{': return FL_JSON_OBJECT;
    case '[': return FL_JSON_ARRAY;
    case 't':
    case 'f': return FL_JSON_BOOLEAN;
    case 'n': return FL_JSON_NULL;
    default: return FL_JSON_NUMBER_VALUE;
    }
}

template <size_t N>
bool is(const uint8_t *name, const char (&text)[N]) {
    return std::memcmp(name, text, N - 1) == 0;
}

}  // namespace

fl_member_role fl_member_role_of(const uint8_t *name, size_t length) {
    switch (length) {
    case 2: return is(name, "id") ? FL_MEMBER_ID : FL_MEMBER_OTHER;
    case 4:
        return is(name, "type") ? FL_MEMBER_TYPE
            : is(name, "data")  ? FL_MEMBER_DATA
            : is(name, "time")  ? FL_MEMBER_TIME
                                : FL_MEMBER_OTHER;
    case 6: return is(name, "source") ? FL_MEMBER_SOURCE : FL_MEMBER_OTHER;
    case 7: return is(name, "subject") ? FL_MEMBER_SUBJECT : FL_MEMBER_OTHER;
    case 10: return is(name, "dataschema") ? FL_MEMBER_DATASCHEMA : FL_MEMBER_OTHER;
    case 11:
        return is(name, "specversion")  ? FL_MEMBER_SPECVERSION
            : is(name, "data_base64") ? FL_MEMBER_DATA_BASE64
                                      : FL_MEMBER_OTHER;
    case 15: return is(name, "datacontenttype") ? FL_MEMBER_DATACONTENTTYPE : FL_MEMBER_OTHER;
    default: return FL_MEMBER_OTHER;
    }
}

fl_json_verdict fl_json_check(const uint8_t *bytes, size_t length, size_t depth) {
    try {
        simdjson::error_code error;
        if (length <= kept_capacity) {
            error = scratch.parser.check(bytes, length, depth);
        } else {
            Parser parser;
            error = parser.check(bytes, length, depth);
        }
        if (!error) return {FL_JSON_OK, 0, nullptr};
        return locate(bytes, length, depth, error);
    } catch (...) {
        return {FL_JSON_MEMORY, 0, "out of memory"};
    }
}

fl_json_verdict fl_json_members(const uint8_t *bytes, size_t length, const fl_json_member **members, size_t *count) {
    const fl_json_verdict broken = {FL_JSON_SYNTAX, 0, "an object isn't closed"};
    const uint8_t *end = bytes + length;
    const uint8_t *at = skip_space(bytes, end);
    if (at >= end || *at != '{') return {FL_JSON_NO_OBJECT, size_t(at - bytes), "a JSON object is expected"};
    try {
        auto &list = scratch.members;
        list.clear();
        scratch.text_used = 0;
        if (scratch.text_capacity > kept_capacity) {
            scratch.text.reset();
            scratch.text_capacity = 0;
        }
        uint32_t seen = 0;
        at = skip_space(at + 1, end);
        while (at < end && *at != '}') {
            if (*at != '"') return broken;
            bool escaped = false;
            const uint8_t *quote = string_end(at + 1, end, &escaped);
            if (!quote) return broken;
            fl_json_member member = {};
            member.name = {at + 1, size_t(quote - at - 1)};
            if (escaped && !unescaped(member.name, &member.name, length))
                return {FL_JSON_SYNTAX, size_t(at - bytes), "a name holds half a surrogate pair"};
            size_t name_at = size_t(at - bytes);
            at = skip_space(quote + 1, end);
            if (at >= end || *at != ':') return broken;
            at = skip_space(at + 1, end);
            escaped = false;
            const uint8_t *behind = value_end(at, end, &escaped);
            if (!behind) return broken;
            member.raw = {at, size_t(behind - at)};
            member.kind = uint8_t(kind_of(*at));
            if (member.kind == FL_JSON_STRING) {
                member.text = {at + 1, member.raw.length - 2};
                if (escaped && !unescaped(member.text, &member.text, length))
                    return {FL_JSON_SYNTAX, size_t(at - bytes), "a string holds half a surrogate pair"};
            }
            auto role = fl_member_role_of(member.name.bytes, member.name.length);
            member.role = uint8_t(role);
            if (role != FL_MEMBER_OTHER) {
                if (seen & 1u << role) return {FL_JSON_DUPLICATE, name_at, "a member's name occurs twice"};
                seen |= 1u << role;
            }
            list.push_back(member);
            at = skip_space(behind, end);
            if (at < end && *at == ',') at = skip_space(at + 1, end);
        }
        if (at >= end) return broken;
        *members = list.data();
        *count = list.size();
        return {FL_JSON_OK, 0, nullptr};
    } catch (...) {
        return {FL_JSON_MEMORY, 0, "out of memory"};
    }
}

fl_json_array fl_json_array_of(const uint8_t *bytes, size_t length) {
    return {bytes, bytes, bytes + length, 0};
}

int fl_json_array_next(fl_json_array *array, fl_span *element) {
    const uint8_t *end = array->end;
    const uint8_t *at = skip_space(array->at, end);
    array->at = at;
    if (!array->begun) {
        if (at >= end || *at != '[') return -1;
        at = skip_space(at + 1, end);
        array->at = at;
        array->begun = 1;
        if (at < end && *at == ']') {
            array->at = skip_space(at + 1, end);
            return array->at == end ? 0 : -1;
        }
    } else {
        if (at >= end) return -1;
        if (*at == ']') {
            array->at = skip_space(at + 1, end);
            return array->at == end ? 0 : -1;
        }
        if (*at != ',') return -1;
        at = skip_space(at + 1, end);
        array->at = at;
    }
    bool escaped = false;
    const uint8_t *behind = value_end(at, end, &escaped);
    if (!behind) return -1;
    *element = {at, size_t(behind - at)};
    array->at = behind;
    return 1;
}

int fl_is_utf8(const uint8_t *bytes, size_t length) {
    return length == 0 || simdjson::validate_utf8(reinterpret_cast<const char *>(bytes), length);
}

size_t fl_event_text_end(const uint8_t *bytes, size_t length) {
    for (size_t at = 0; at < length;) {
        uint8_t c = bytes[at];
        if (c >= 0x20 && c < 0x7F) {
            ++at;
        } else if (c < 0x20 || c == 0x7F) {
            return at;
        } else if (c < 0xE0) {
            // U+0080 to U+009F are controls.
            if (c == 0xC2 && at + 1 < length && bytes[at + 1] < 0xA0) return at;
            at += 2;
        } else if (c < 0xF0) {
            if (length - at < 3) return at;
            uint32_t value = uint32_t(c & 0x0F) << 12 | uint32_t(bytes[at + 1] & 0x3F) << 6 | (bytes[at + 2] & 0x3F);
            if ((value >= 0xFDD0 && value <= 0xFDEF) || (value & 0xFFFE) == 0xFFFE) return at;
            at += 3;
        } else {
            if (length - at < 4) return at;
            uint32_t low = uint32_t(bytes[at + 2] & 0x3F) << 6 | (bytes[at + 3] & 0x3F);
            uint32_t value = uint32_t(c & 0x07) << 18 | uint32_t(bytes[at + 1] & 0x3F) << 12 | low;
            if ((value & 0xFFFE) == 0xFFFE) return at;
            at += 4;
        }
    }
    return length;
}

int fl_event_name_is_valid(const uint8_t *bytes, size_t length) {
    for (size_t at = 0; at < length; ++at) {
        uint8_t c = bytes[at];
        if (!(is_digit(c) || (c >= 'a' && c <= 'z'))) return 0;
    }
    return length > 0;
}
