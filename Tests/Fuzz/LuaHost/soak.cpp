// SPDX-License-Identifier: Apache-2.0
#include <malloc.h>
#include <pthread.h>
#include <unistd.h>

#include <ctime>
#include <fstream>
#include <sstream>

#include "LuaHost.h"

// Drives the host through everything that Tests/Offenders knows: stopped for processor time, for memory and for waiting
// too long, answered, cancelled, closed in the midst. `soak OFFENDERS.lua ROUNDS KILLS`; the last part kills one handler
// KILLS times and prints what the process holds.

namespace {

constexpr uint64_t millisecond = 1000000;

std::vector<std::string> names(Host &host, int kind) {
    Record record("{\"names\": " + std::to_string(kind) + "}");
    host.run({&record});
    EXPECT(host.cause == FL_LUA_RETURNED && !host.reason.empty());
    std::vector<std::string> found;
    std::istringstream lines(host.reason);
    for (std::string line; std::getline(lines, line);) found.push_back(line);
    return found;
}

Record running(const std::string &name) { return Record("{\"run\": \"" + name + "\"}"); }

void offend(const std::string &source, int rounds) {
    fl_lua_limits limits = {32 << 20, 20 * millisecond, 1000 * millisecond, 60000 * millisecond, 2};
    Record fine("{}");
    for (int round = 0; round < rounds; round++) {
        Host host(limits);
        EXPECT(host.load(source));
        for (auto &name : names(host, 1)) {
            Record record = running(name);
            size_t kills = host.kills;
            host.run({&record, &fine});
            while (host.kills == kills) {
                EXPECT(!host.waiting.empty());
                host.answer_all();
            }
            if (host.cause != FL_LUA_KILLED_CPU) std::fprintf(stderr, "%s: %s\n", name.c_str(), host.reason.c_str());
            EXPECT(host.cause == FL_LUA_KILLED_CPU);
            host.run({&fine});
        }
        for (auto &name : names(host, 2)) {
            Record record = running(name);
            // Their limit is memory, however slow the machine.
            fl_lua_limits patient = {2 << 20, 20000 * millisecond, 1000 * millisecond, 60000 * millisecond, 1};
            Host hog(patient);
            EXPECT(hog.load(source));
            for (int i = 0; i < 3; i++) {
                hog.run({&record});
                EXPECT(hog.cause == FL_LUA_KILLED_MEMORY || hog.cause == FL_LUA_THREW);
            }
            hog.run({&fine});
            EXPECT(hog.acks == 1);
        }
        for (auto &name : names(host, 3)) {
            Record record = running(name);
            host.run({&record, &record});
            host.answer_all();
            host.run({&record, &record});
            while (!host.waiting.empty()) host.cancel(0);
            host.run({&record});
            if (!host.waiting.empty()) {
                Packed why;
                host.answer(0, FL_ANSWER_FAILURE, why.array(5).integer(1).number(2).text("failed").integer(503).map(0));
            }
            host.run({&record});
            // Closed while it waits.
            host.waiting.clear();
            Host other(limits);
            EXPECT(other.load(source));
            other.run({&record, &record});
        }
    }
}

/// As much memory as a plugin may be given, from so little that nothing works: each allocation of the host and of the
/// script is refused in turn.
void starve(const std::string &source) {
    Record record("{\"a\": [1, 2, {\"b\": null}], \"run\": \"every want\"}"), batch("[1]");
    for (size_t memory = 0; memory < 200 << 10; memory += 97) {
        fl_lua_limits limits = {memory, 50 * millisecond, 50 * millisecond, 60000 * millisecond, 2};
        Host host(limits);
        if (!host.lua || !host.load(source)) continue;
        host.run({&record, &batch});
        host.answer_all();
        host.run({&record});
        while (!host.waiting.empty()) host.cancel(0);
    }
}

void json() {
    fl_lua_limits limits = {32 << 20, 1000 * millisecond, 1000 * millisecond, 60000 * millisecond, 1};
    Host host(limits);
    EXPECT(host.load("return function(event, ctx) local d = event.data return ctx.retry{reason = ctx.json.encode(d)} end"));
    for (std::string text : {"null", "[]", "{}", "[[],{\"a\":[{}]}]", "{\"a\":9223372036854775807,\"b\":-0.0}",
                             "\"\\u0000\\ud83d\\ude00\"", "[1.5,true,false,null,\"a\"]"}) {
        Record record(text);
        host.run({&record});
        Record again(host.reason);
        std::string first = host.reason;
        host.run({&again});
        EXPECT(host.reason == first && host.cause == FL_LUA_RETURNED);
    }
    std::string deep(64, '[');
    Record deepest(deep + std::string(64, ']'));
    host.run({&deepest});
    EXPECT(host.reason == deep + std::string(64, ']'));
    Record wide("[99999999999999999999,9007199254740993123,-9223372036854775808]");
    host.run({&wide});
    EXPECT(host.reason == "[1e+20,9007199254740993123,-9223372036854775808]");
}

size_t resident() {
    std::ifstream statm("/proc/self/statm");
    size_t pages = 0, in_memory = 0;
    statm >> pages >> in_memory;
    return in_memory * size_t(sysconf(_SC_PAGESIZE));
}

void kill(size_t count) {
    fl_lua_limits limits = {256 << 10, millisecond / 20, 1000 * millisecond, 60000 * millisecond, 1};
    Host host(limits);
    EXPECT(host.load(R"(
        return function(event, ctx)
          local kept, text = {}, event.data.a
          if event.data.memory then while true do kept[#kept + 1] = {text} end end
          if event.data.wall then ctx.sleep(60) end
          local _ <close> = setmetatable({}, {__close = function() while true do end end})
          while true do pcall(function() kept[#kept % 100 + 1] = coroutine.wrap(function() return {text} end)() end) end
        end)"));
    Record record("{\"a\": \"b\"}"), memory("{\"memory\": true}"), wall("{\"wall\": true}");
    size_t settled = 0;
    for (size_t done = 0; done < count; done++) {
        host.run({done % 50 == 0 ? &memory : done % 50 < 5 ? &wall : &record});
        if (!host.waiting.empty()) host.cancel(0);
        EXPECT(host.kills == done + 1);
        if ((done + 1) % (count / 10) == 0) {
            std::printf("%9zu kills: %6zu KiB resident, %6zu KiB allocated, %5zu KiB in the interpreter\n", done + 1,
                        resident() >> 10, size_t(mallinfo2().uordblks) >> 10, fl_lua_memory(host.lua) >> 10);
            std::fflush(stdout);
        }
        if (done + 1 == count / 10) settled = resident();
    }
#if !__has_feature(address_sanitizer)
    // One part in ten of what there was, and a little for what the allocator does. The sanitizer keeps what is freed.
    EXPECT(count < 1000 || resident() < settled + settled / 10 + (1 << 20));
#endif
}

struct Arguments {
    std::string source;
    int rounds;
    size_t kills;
};

}  // namespace

int main(int count, char **arguments) {
    EXPECT(count == 4);
    std::ifstream file(arguments[1]);
    std::stringstream text;
    text << file.rdbuf();
    Arguments what = {text.str(), std::atoi(arguments[2]), size_t(std::atol(arguments[3]))};
    EXPECT(!what.source.empty());
    // On a stack as small as a lane's, where there is no sanitizer to make frames larger.
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
#if !__has_feature(address_sanitizer)
    pthread_attr_setstacksize(&attributes, 2 << 20);
#endif
    pthread_t thread;
    auto body = [](void *context) -> void * {
        auto &what = *static_cast<Arguments *>(context);
        json();
        offend(what.source, what.rounds);
        if (what.rounds > 0) starve(what.source);
        if (what.kills > 0) kill(what.kills);
        return nullptr;
    };
    EXPECT(pthread_create(&thread, &attributes, body, &what) == 0);
    pthread_join(thread, nullptr);
    std::puts("soak: all as it should be");
}
