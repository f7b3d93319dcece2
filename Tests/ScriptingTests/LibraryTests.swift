// SPDX-License-Identifier: Apache-2.0

import Events
import Testing

@testable import Scripting

/// The libraries that are our own behave as the Lua 5.4 manual says.
@Suite(.timeLimit(.minutes(1)))
struct LibraryTests {
    @Test(arguments: [
        // Patterns.
        "('hello world'):find('wor') == 7", "select(2, ('hello world'):find('o w')) == 7",
        "('hello'):find('l', 1, true) == 3", "('a.b'):find('.', 2, true) == 2", "('abc'):find('', 4) == 4",
        "('abc'):find('', 5) == nil", "('abc'):find('b', -2) == 2", "('abc'):find('b', -1) == nil",
        "('key = value'):match('^(%w+)%s*=%s*(%w+)$') == 'key'",
        "select(2, ('key = value'):match('^(%w+)%s*=%s*(%w+)$')) == 'value'",
        "('2024-01-02'):match('(%d+)-(%d+)-(%d+)') == '2024'", "('  x '):match('^%s*(.-)%s*$') == 'x'",
        "('THE (quick) fox'):find('%((%a+)%)') == 5", "('f(a(b)c)d'):match('%b()') == '(a(b)c)'",
        "('THE (quick) fox'):gsub('%f[%a]%a+', 'x') == 'x (x) x'", "('hello'):match('()ll()') == 3",
        "('[x]'):match('[]]') == ']'", "('a-b'):match('[a%-]+') == 'a-'", "('x^y'):match('[%^x]+') == 'x^'",
        "('abc'):match('[^a-b]') == 'c'", "('aXb'):match('%u') == 'X'", "('\"hi\"'):match('([\"\\'])(.-)%1') == '\"'",
        "('abc'):match('a$') == nil", "('a$'):match('a$$') == 'a$'", "('aaa'):match('a-b') == nil",
        "('aab'):match('a-b') == 'aab'", "('ab'):match('a?b') == 'ab'", "('b'):match('a?b') == 'b'",
        "('a\\0b'):find('\\0') == 2", "('abc'):match('%w%w', 2) == 'bc'", "('äö'):match('[\\xC3].') == 'ä'",
        "('hello world'):gsub('o', '0') == 'hell0 w0rld'", "select(2, ('hello'):gsub('l', 'L')) == 2",
        "('hello'):gsub('', '-') == '-h-e-l-l-o-'", "('abc'):gsub('%w', '%0%0') == 'aabbcc'",
        "('hello world'):gsub('(%w+) (%w+)', '%2 %1') == 'world hello'", "('abc'):gsub('b', '%%') == 'a%c'",
        "('$name is $age'):gsub('%$(%w+)', {name = 'x', age = 5}) == 'x is 5'",
        "('abc'):gsub('%w', function(c) if c == 'b' then return 'B' end end) == 'aBc'",
        "('abc'):gsub('a', '', 0) == 'abc'",
        "('abab'):gsub('^ab', 'x') == 'xab'", "('x'):gsub('x', 1) == '1'", "('abc'):gsub('()', '%1') == '1a2b3c4'",
        "(function() local t = {} for k, v in ('a=1, b=2'):gmatch('(%w+)=(%w+)') do t[k] = v end return t.a .. t.b end)() == '12'",
        "(function() local n = 0 for _ in ('abc'):gmatch('') do n = n + 1 end return n end)() == 4",
        "('abc'):gmatch('%w', 3)() == 'c'",
        // Tables.
        "table.concat({1, 'b', 2.5}, '-') == '1-b-2.5'", "table.concat({}) == ''",
        "table.concat({1, 2, 3}, ',', 2) == '2,3'",
        "#(function() local t = {1, 2, 3} table.insert(t, 2, 9) assert(t[2] == 9 and t[4] == 3) return t end)() == 4",
        "(function() local t = {1, 2, 3} assert(table.remove(t, 1) == 1) return t[1] == 2 and #t == 2 end)()",
        "table.remove({}) == nil", "table.remove({1, 2}) == 2", "select('#', table.unpack({1, nil, 3}, 1, 3)) == 3",
        "table.pack(1, nil).n == 2", "table.move({1, 2, 3}, 1, 3, 2)[3] == 2",
        "table.move({1, 2}, 1, 2, 1, {})[2] == 2",
        "(function() local t = {3, 1, 2} table.sort(t) return table.concat(t) end)() == '123'",
        "(function() local t = {3, 1, 2} table.sort(t, function(a, b) return a > b end) return table.concat(t) end)() == '321'",
        "not pcall(table.insert, {1}, 5, 'x')", "not pcall(table.concat, {{}})",
        // Calls, coroutines, the rest.
        "select('#', pcall(function() return 1, nil, 3 end)) == 4", "select(2, pcall(error, 'x', 0)) == 'x'",
        "select(2, xpcall(function() error('x', 0) end, function(e) return e .. '!' end)) == 'x!'",
        "select(3, xpcall(function(...) return ... end, print, 1, 2)) == 2",
        "select(2, xpcall(error, debug.traceback, 'm')):find('stack traceback') ~= nil",
        "(function() local co = coroutine.create(function(a) local b = coroutine.yield(a + 1) return b * 2 end) "
            + "assert(select(2, coroutine.resume(co, 1)) == 2) return select(2, coroutine.resume(co, 4)) end)() == 8",
        "coroutine.status(coroutine.create(print)) == 'suspended'", "coroutine.close(coroutine.create(print))",
        "(function() local co = coroutine.create(error) coroutine.resume(co) return coroutine.status(co) end)() == 'dead'",
        "select(2, coroutine.resume(coroutine.create(function() error('in', 0) end))) == 'in'",
        "not pcall(coroutine.wrap(function() error('x') end))", "select(2, coroutine.running()) == true",
        "(function() local co co = coroutine.wrap(function() return pcall(co) end) return select(2, co()) end)() ~= nil",
        "('ab'):rep(3, '-') == 'ab-ab-ab'", "('x'):rep(0) == ''", "('x'):rep(-1) == ''",
        "('%5.2f|%s|%d'):format(1, 'a', 3) == ' 1.00|a|3'",
        "string.format('%q', 'a\\n') == '\"a\\\\\\n\"'", "#'abc' == 3 and ('abc'):len() == 3",
        "('abc'):sub(-2) == 'bc'",
        "('abc'):byte(1, -1) == 97", "('ABC'):lower() == 'abc'", "utf8.len('äö') == 2", "math.type(1) == 'integer'",
        "os.time() == 1700000100", "os.date('!%Y-%m-%d') == '2023-11-14'", "os.getenv == nil",
        "next({}) == nil", "next({5}) == 1", "rawlen({1, 2}) == 2",
        "rawget(setmetatable({}, {__index = {a = 1}}), 'a') == nil",
        "tostring(nil) == 'nil' and tostring(1.0) == '1.0'", "collectgarbage('count') > 0",
        // ctx.
        "ctx.now() == 1700000100.0", "ctx.remaining() > 9 and ctx.remaining() <= 10",
        "ctx.uuid():match('^%x+%-%x+%-4%x+%-[89ab]%x+%-%x+$') ~= nil", "#ctx.uuid() == 36 and ctx.uuid() ~= ctx.uuid()",
        "ctx.idempotency_key == 'test:e-1'", "#ctx.crypto.random(7) == 7",
        "ctx.crypto.hex(ctx.crypto.sha256('abc')) == 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'",
        "ctx.crypto.hex(ctx.crypto.sha256('')) == 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'",
        "ctx.crypto.hex(ctx.crypto.sha256(('a'):rep(1000000))) == 'cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0'",
        // RFC 4231, test cases 1, 2 and 6.
        "ctx.crypto.hex(ctx.crypto.hmac_sha256(('\\11'):rep(20), 'Hi There')) == 'b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7'",
        "ctx.crypto.hex(ctx.crypto.hmac_sha256('Jefe', 'what do ya want for nothing?')) == '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843'",
        "ctx.crypto.hex(ctx.crypto.hmac_sha256(('\\xaa'):rep(131), 'Test Using Larger Than Block-Size Key - Hash Key First')) == '60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54'",
        // RFC 4648, section 10.
        "ctx.crypto.base64('') == '' and ctx.crypto.base64('f') == 'Zg==' and ctx.crypto.base64('foobar') == 'Zm9vYmFy'",
        "ctx.json.encode{b = 1, a = {1.5, 'x', ctx.null}} == '{\"a\":[1.5,\"x\",null],\"b\":1}'",
        "ctx.json.decode('{\"a\": [1]}').a[1] == 1",
    ])
    func holds(_ claim: String) async throws {
        let harness = try await Harness("return function(event, ctx) assert(\(claim)) end")
        let settlement = await harness.run()
        #expect(settlement.outcome == .ack)
    }
}
