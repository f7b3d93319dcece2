// SPDX-License-Identifier: Apache-2.0

#include "json_text.h"

#include <algorithm>
#include <cstring>

namespace fairlead {
namespace {

/// Where and why a text is no JSON. simdjson says neither; this walks the text again, only once it is refused.
struct Locator {
    const uint8_t *start, *at, *end;
    size_t depth_max;
    const char *reason = nullptr;
    fl_json_status status = FL_JSON_SYNTAX;

    bool fail(const char *why, fl_json_status what = FL_JSON_SYNTAX) {
        reason = why;
        status = what;
        return false;
    }

    void space() { at = skip_space(at, end); }

    bool string() {
        ++at;
        while (at < end) {
            uint8_t c = *at;
            if (c == '"') {
                ++at;
                return true;
            }
            if (c < 0x20) return fail("a control character inside a string must be escaped");
            if (c == '\\') {
                if (end - at < 2) break;
                uint8_t escape = at[1];
                if (escape == 'u') {
                    int first = hex4(at + 2, end);
                    if (first < 0) return fail("\\u needs four hexadecimal digits");
                    if (first >= 0xD800 && first < 0xE000) {
                        int second = end - at >= 12 && at[6] == '\\' && at[7] == 'u' ? hex4(at + 8, end) : -1;
                        if (first >= 0xDC00 || second < 0xDC00 || second > 0xDFFF)
                            return fail("\\u names half a surrogate pair");
                        at += 6;
                    }
                    at += 6;
                } else if (std::strchr("\"\\/bfnrt", escape) && escape) {
                    at += 2;
                } else {
                    return fail("no such escape in a string");
                }
                continue;
            }
            ++at;
        }
        at = end;
        return fail("a string isn't closed");
    }

    bool number() {
        const uint8_t *from = at;
        if (at < end && *at == '-') ++at;
        if (at >= end || !is_digit(*at)) return fail("a value is expected here");
        if (*at == '0' && at + 1 < end && is_digit(at[1])) return fail("a number has a leading zero");
        while (at < end && is_digit(*at)) ++at;
        if (at < end && *at == '.') {
            ++at;
            if (at >= end || !is_digit(*at)) return fail("a digit is expected after the decimal point");
            while (at < end && is_digit(*at)) ++at;
        }
        if (at < end && (*at | 0x20) == 'e') {
            ++at;
            if (at < end && (*at == '+' || *at == '-')) ++at;
            if (at >= end || !is_digit(*at)) return fail("a digit is expected in the exponent");
            while (at < end && is_digit(*at)) ++at;
        }
        // Grammar is right, so simdjson could only dislike its size.
        uint8_t copy[512];
        size_t length = std::min(size_t(at - from), sizeof copy - simdjson::SIMDJSON_PADDING);
        std::memset(copy, ' ', sizeof copy);
        std::memcpy(copy, from, length);
        simdjson::dom::parser parser;
        auto element = parser.parse(copy, length, false);
        if (element.error() == simdjson::NUMBER_ERROR) {
            at = from;
            return fail("a number fits neither 64-bit integer nor double; send it as a string", FL_JSON_NUMBER);
        }
        return true;
    }

    bool word(const char *text) {
        size_t length = std::strlen(text);
        if (size_t(end - at) < length || std::memcmp(at, text, length) != 0) return fail("a value is expected here");
        at += length;
        return true;
    }

    bool value(size_t depth) {
        space();
        if (at >= end) return fail("the text ends too early");
        switch (*at) {
        case '"': return string();
        case 't': return word("true");
        case 'f': return word("false");
        case 'n': return word("null");
        case '{':
        case '[': {
            bool object = *at == '{';
            uint8_t close = object ? '}' : ']';
            const uint8_t *open = at++;
            space();
            if (at < end && *at == close) {
                ++at;
                return true;
            }
            // As simdjson counts: the document itself is a level, an empty object or array is none.
            if (depth + 1 >= depth_max) {
                at = open;
                return fail("nesting is too deep", FL_JSON_DEPTH);
            }
            for (;;) {
                if (object) {
                    space();
                    if (at >= end) return fail("an object isn't closed");
                    if (*at != '"') return fail("a member's name in double quotes is expected here");
                    if (!string()) return false;
                    space();
                    if (at >= end || *at != ':') return fail("\":\" is expected after a member's name");
                    ++at;
                }
                if (!value(depth + 1)) return false;
                space();
                if (at >= end) return fail(object ? "an object isn't closed" : "an array isn't closed");
                if (*at == close) {
                    ++at;
                    return true;
                }
                if (*at != ',') return fail(object ? "\",\" or \"}\" is expected" : "\",\" or \"]\" is expected");
                ++at;
            }
        }
        default: return number();
        }
    }

    fl_json_verdict verdict() {
        if (value(0)) {
            space();
            if (at < end) fail("more text follows the value");
        }
        if (!reason) return {FL_JSON_OK, 0, nullptr};
        return {status, size_t(at - start), reason};
    }
};

/// The first byte that doesn't belong to well-formed UTF-8 (Unicode 15, table 3-7).
size_t utf8_end(const uint8_t *bytes, size_t length) {
    size_t at = 0;
    while (at < length) {
        uint8_t c = bytes[at];
        if (c < 0x80) {
            ++at;
            continue;
        }
        size_t more = c >= 0xC2 && c < 0xE0 ? 1 : c >= 0xE0 && c < 0xF0 ? 2 : c >= 0xF0 && c < 0xF5 ? 3 : 0;
        if (more == 0 || length - at <= more) return at;
        uint8_t low = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80;
        uint8_t high = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
        if (bytes[at + 1] < low || bytes[at + 1] > high) return at;
        for (size_t i = 2; i <= more; ++i)
            if ((bytes[at + i] & 0xC0) != 0x80) return at;
        at += more + 1;
    }
    return length;
}

}  // namespace

fl_json_verdict locate(const uint8_t *bytes, size_t length, size_t depth, simdjson::error_code error) {
    if (error == simdjson::MEMALLOC) return {FL_JSON_MEMORY, 0, "out of memory"};
    size_t utf8 = utf8_end(bytes, length);
    if (utf8 < length) return {FL_JSON_UTF8, utf8, "a byte isn't UTF-8"};
    Locator locator{bytes, bytes, bytes + length, depth};
    auto verdict = locator.verdict();
    // Refused all the same, should the two ever disagree.
    if (verdict.status == FL_JSON_OK) return {FL_JSON_SYNTAX, 0, simdjson::error_message(error)};
    return verdict;
}

}  // namespace fairlead
