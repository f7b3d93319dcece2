// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

extern "C" {
#include "fl_lua.h"
}
#include "fl_json.h"
#include "fl_record.h"

/// What the fuzzers and the soak run share: records, packed values, and a host whose reports are checked.

#define EXPECT(condition)                                                                       \
    do {                                                                                        \
        if (!(condition)) {                                                                     \
            std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);        \
            std::abort();                                                                       \
        }                                                                                       \
    } while (0)

/// A record on the heap of its own, so that reading past it shows.
struct Record {
    std::vector<uint8_t> bytes;

    explicit Record(std::string_view data, int kind = FL_DATA_JSON, std::string_view id = "e-1") {
        bytes.resize(FL_RECORD_HEADER_BYTES);
        for (auto [name, value] : {std::pair<std::string_view, std::string_view>{"id", id},
                                   {"source", "/shop"},
                                   {"type", "order.placed"},
                                   {"time", "2026-01-02T03:04:05.5Z"}}) {
            uint32_t length = uint32_t(value.size());
            bytes.push_back(uint8_t(name.size()));
            bytes.push_back(FL_ATTRIBUTE_STRING);
            bytes.insert(bytes.end(), reinterpret_cast<uint8_t *>(&length), reinterpret_cast<uint8_t *>(&length) + 4);
            bytes.insert(bytes.end(), name.begin(), name.end());
            bytes.insert(bytes.end(), value.begin(), value.end());
        }
        uint32_t attributes = uint32_t(bytes.size() - FL_RECORD_HEADER_BYTES);
        bytes.insert(bytes.end(), data.begin(), data.end());
        size_t length = bytes.size();
        bytes.resize(length + FL_RECORD_PADDING);
        uint8_t *record = bytes.data();
        fl_record_set_length(record, uint32_t(length));
        fl_record_set_crc(record, 0);
        fl_record_set_offset(record, 7);
        fl_record_set_time(record, 1700000000500);
        fl_record_set_outbox(record, 0);
        fl_record_set_attributes_length(record, attributes);
        fl_record_set_data_length(record, uint32_t(data.size()));
        fl_record_set_key_length(record, FL_RECORD_NO_KEY);
        fl_record_set_data_kind(record, uint8_t(kind));
        fl_record_set_attribute_count(record, 4);
    }
};

/// Packed values as Swift writes them.
struct Packed {
    std::vector<uint8_t> bytes;

    Packed &u8(uint8_t value) {
        bytes.push_back(value);
        return *this;
    }
    Packed &raw(const void *from, size_t length) {
        auto at = static_cast<const uint8_t *>(from);
        bytes.insert(bytes.end(), at, at + length);
        return *this;
    }
    Packed &u32(size_t value) {
        uint32_t small = uint32_t(value);
        return raw(&small, 4);
    }
    Packed &array(size_t count) { return u8(FL_PACK_ARRAY).u32(count); }
    Packed &map(size_t count) { return u8(FL_PACK_MAP).u32(count); }
    Packed &key(std::string_view text) { return u32(text.size()).raw(text.data(), text.size()); }
    Packed &text(std::string_view text) { return u8(FL_PACK_STRING).key(text); }
    Packed &json(std::string_view text) { return u8(FL_PACK_JSON).key(text); }
    Packed &secret(std::string_view name, std::string_view value) { return u8(FL_PACK_SECRET).key(name).key(value); }
    Packed &integer(int64_t value) { return u8(FL_PACK_INTEGER).raw(&value, 8); }
    Packed &number(double value) { return u8(FL_PACK_NUMBER).raw(&value, 8); }
    Packed &nil() { return u8(FL_PACK_NIL); }
};

/// Goes through one packed value; aborts where it isn't whole.
inline const uint8_t *walk(const uint8_t *at, const uint8_t *end, int depth = 0) {
    auto u32 = [&] {
        EXPECT(end - at >= 4);
        uint32_t value;
        std::memcpy(&value, at, 4);
        at += 4;
        return value;
    };
    auto skip = [&](size_t length) {
        EXPECT(size_t(end - at) >= length);
        at += length;
    };
    EXPECT(at < end && depth < 100);
    switch (*at++) {
    case FL_PACK_NIL:
    case FL_PACK_FALSE:
    case FL_PACK_TRUE:
    case FL_PACK_NULL: break;
    case FL_PACK_INTEGER:
    case FL_PACK_NUMBER: skip(8); break;
    case FL_PACK_STRING:
    case FL_PACK_OTHER:
    case FL_PACK_JSON: skip(u32()); break;
    case FL_PACK_SECRET:
        skip(u32());
        skip(u32());
        break;
    case FL_PACK_ARRAY:
        for (uint32_t count = u32(); count > 0; count--) at = walk(at, end, depth + 1);
        break;
    case FL_PACK_MAP:
        for (uint32_t count = u32(); count > 0; count--) {
            skip(u32());
            at = walk(at, end, depth + 1);
        }
        break;
    default: EXPECT(!"a known tag");
    }
    return at;
}

/// An interpreter that keeps account of its calls: each ends once, and no report points beyond itself.
class Host {
  public:
    fl_lua *lua;
    size_t ends = 0, acks = 0, kills = 0;
    /// Of the last end.
    int cause = -1, outcome = -1;
    std::string reason;
    struct Want {
        uint32_t task;
        int kind;
    };
    std::vector<Want> waiting;

    explicit Host(const fl_lua_limits &limits) : lua(fl_lua_open(&limits, "soak")), memory(limits.memory) {
        if (lua) fl_lua_set_time(lua, 1700000100000);
    }
    ~Host() {
        if (lua) fl_lua_close(lua);
    }
    Host(const Host &) = delete;

    void module(const char *name, std::string_view source) {
        fl_lua_module(lua, name, name, source.data(), source.size());
    }

    bool load(std::string_view source) {
        module("main", source);
        const uint8_t *packed = nullptr;
        size_t length = 0;
        bool done = fl_lua_load(lua, "main", &packed, &length) == 1;
        EXPECT(walk(packed, packed + length) == packed + length);
        if (!done) reason.assign(reinterpret_cast<const char *>(packed), length);
        return done;
    }

    void configure(const Packed &config) { fl_lua_configure(lua, config.bytes.data(), config.bytes.size()); }

    void run(const std::vector<const Record *> &records) {
        std::vector<fl_lua_event> events;
        for (auto record : records)
            events.push_back(fl_lua_event{record->bytes.data(), events.size(), 0, 1, 0});
        for (size_t at = 0; at < events.size();) {
            size_t before = ends + acks + waiting.size();
            auto report = fl_lua_run(lua, events.data() + at, events.size() - at, 1000000000);
            take(report);
            EXPECT(ends + acks + waiting.size() == before + report->begun);
            if (report->begun == 0) break;
            at += report->begun;
        }
    }

    void run_batch(const std::vector<const Record *> &records) {
        std::vector<fl_lua_event> events;
        for (auto record : records)
            events.push_back(fl_lua_event{record->bytes.data(), events.size(), 0, 1, 0});
        take(fl_lua_run_batch(lua, events.data(), events.size(), 1));
    }

    void call(int function) {
        Packed none;
        none.array(0);
        take(fl_lua_call(lua, function, none.bytes.data(), none.bytes.size(), 1));
    }

    void answer(size_t which, int kind, const Packed &value) {
        Want want = waiting[which];
        waiting.erase(waiting.begin() + long(which));
        size_t before = ends + acks + waiting.size();
        take(fl_lua_answer(lua, want.task, kind, value.bytes.data(), value.bytes.size()));
        EXPECT(ends + acks + waiting.size() > before);
    }

    void cancel(size_t which) {
        Want want = waiting[which];
        waiting.erase(waiting.begin() + long(which));
        size_t before = ends;
        take(fl_lua_cancel(lua, want.task));
        EXPECT(ends == before + 1);
    }

    void answer_all() {
        while (!waiting.empty()) {
            Packed value;
            switch (waiting.back().kind) {
            case FL_WANT_STATE_GET: value.array(1).json("{\"a\":[1,2.5,null]}"); break;
            case FL_WANT_STATE_LIST:
                value.array(1).array(1).map(2).key("key").text("k").key("value").json("1");
                break;
            case FL_WANT_HTTP:
                value.array(1).map(3).key("status").integer(200).key("headers").map(0).key("body").text("{\"b\":1}");
                break;
            case FL_WANT_STATE_ADD: value.array(1).integer(5); break;
            default: value.array(0);
            }
            answer(waiting.size() - 1, FL_ANSWER_VALUES, value);
        }
    }

  private:
    size_t memory;

    void check(const fl_lua_report *report, fl_lua_run_of_bytes run) {
        volatile uint8_t sum = 0;
        for (uint32_t i = 0; i < run.length; i++) sum = uint8_t(sum + report->bytes[run.at + i]);
    }

    void check_packed(const fl_lua_report *report, fl_lua_run_of_bytes run) {
        EXPECT(walk(report->bytes + run.at, report->bytes + run.at + run.length) == report->bytes + run.at + run.length);
    }

    void take(const fl_lua_report *report) {
        for (size_t i = 0; i < report->end_count; i++) {
            const fl_lua_end &end = report->ends[i];
            check(report, end.reason);
            check(report, end.trace);
            cause = end.cause;
            outcome = end.outcome;
            reason.assign(reinterpret_cast<const char *>(report->bytes) + end.reason.at, end.reason.length);
            if (end.cause >= FL_LUA_KILLED_CPU) kills++;
            ends += end.more == 0;
        }
        acks += report->ack_count;
        for (size_t i = 0; i < report->log_count; i++) check_packed(report, report->logs[i].arguments);
        for (size_t i = 0; i < report->want_count; i++) {
            check_packed(report, report->wants[i].arguments);
            check(report, report->wants[i].place);
            waiting.push_back({report->wants[i].task, report->wants[i].kind});
        }
        // 512 KiB of it are the host's own, for reporting what happened.
        EXPECT(fl_lua_memory(lua) <= memory + (512u << 10));
    }
};
