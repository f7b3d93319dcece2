// SPDX-License-Identifier: Apache-2.0

/// JSON as publishers send it, right and wrong (RFC 8259), one value each.
struct JSONCase: Sendable {
    var bytes: [UInt8]
    var isRight: Bool

    init(_ text: String, _ isRight: Bool) {
        self.init(bytes: Array(text.utf8), isRight)
    }

    init(bytes: [UInt8], _ isRight: Bool) {
        self.bytes = bytes
        self.isRight = isRight
    }

    var shown: String { String(decoding: bytes.prefix(60), as: UTF8.self) }

    static let all: [JSONCase] =
        right.map { JSONCase($0, true) } + wrong.map { JSONCase($0, false) }
        + notText.map { JSONCase(bytes: Array("\"a".utf8) + $0 + Array("b\"".utf8), false) }
        + [
            JSONCase(bytes: [0xFE, 0xFF, 0x00, 0x31], false),  // UTF-16, in either order
            JSONCase(bytes: [0x31, 0x00], false),
            JSONCase(bytes: [0xEF, 0xBB, 0xBF, 0x31], false),  // a byte order mark
            JSONCase(bytes: [0x31, 0x00, 0x32], false),
            JSONCase(bytes: [0xC2, 0xA0, 0x31], false),  // a space that JSON hasn't
        ]

    private static let right: [String] = [
        "null", "true", "false", "0", "-0", "7", "-7", "10", "1.5", "-1.5e3", "1E5", "1e+5", "1e-5", "0.0", "0e0",
        "1.7976931348623157e308", "5e-324", "1e-400", "9223372036854775807", "-9223372036854775808",
        "18446744073709551615", #""""#, #""a""#, #""é😀""#, #""\u00e9\uD83D\uDE00""#, #""\"\\\/\b\f\n\r\t""#,
        #""\u0000""#, #""\u007f""#, "\"\u{7F}\"", "\"\u{FFFF}\u{10FFFF}\"", #""'{}[],:""#, "[]", "[ ]", "[[]]",
        "[1,2,3]", #"[1,"a",null,true,{}]"#, "{}", "{ }", #"{"":1}"#, #"{"a":{"b":{"c":[]}}}"#, #"{"a":1,"a":2}"#,
        #"{"\u0061":1}"#, #"{"constructor":1,"__proto__":{}}"#, "\t[\t1\t,\t2\t]\t",
        String(repeating: "[", count: 60) + String(repeating: "]", count: 60),
        String(repeating: #"{"a":"#, count: 60) + "1" + String(repeating: "}", count: 60),
        "[" + String(repeating: "0,", count: 5_000) + "0]", "\"" + String(repeating: "x", count: 30_000) + "\"",
    ]

    private static let wrong: [String] = [
        "", " ", "nul", "nulL", "NULL", "True", "tru", "truee", "undefined", "NaN", "-NaN", "Infinity", "-Infinity",
        "01", "-01", "00", "+1", "1.", ".5", "-.5", "-", "--1", "1e", "1e+", "1e5.5", "1.2.3", "0x10", "1_000",
        "1,000a",
        "1 000", "1f", "1e999", "-1e999", "123456789012345678901234567890", "١", "'a'", "a", #"""#, #""a"#, #"a""#,
        #""a"b"#, #""\""#, #""\x41""#, #""\u12""#, #""\u12g4""#, #""\U0041""#, #""\a""#, "\"a\tb\"", "\"a\u{0}b\"",
        "\"a\u{1F}b\"", "[", "]", "[1", "[1,", "[1,]", "[,1]", "[1,,2]", "[1 2]", "[1;2]", "[1}", #"["a""#, "(1)",
        "{", "}", #"{"a"}"#, #"{"a":}"#, #"{"a":1"#, #"{"a":1,}"#, #"{,"a":1}"#, #"{"a" 1}"#, #"{"a"=1}"#,
        #"{"a"::1}"#, "{a:1}", "{1:1}", "{'a':1}", #"{"a":1;"b":2}"#, #"{"a":1 "b":2}"#, #"{null:1}"#, "{]", "[1] [2]",
        "{}{}", "1 2", "// no\n1", "1 // no", "/* no */1", "#1", "\u{0B}1", "\u{2028}1", "<a/>",
        String(repeating: "[", count: 70) + String(repeating: "]", count: 70),
        String(repeating: "[", count: 20_000), String(repeating: #"{"a":"#, count: 20_000),
    ]

    /// Bytes in a string that are no UTF-8: alone, cut off, too long, a surrogate, beyond Unicode.
    private static let notText: [[UInt8]] = [
        [0x80], [0xBF], [0xC0, 0x80], [0xC1, 0xBF], [0xC3], [0xE0, 0x80, 0x80], [0xE2, 0x82], [0xED, 0xA0, 0x80],
        [0xF0, 0x80, 0x80, 0x80], [0xF0, 0x9F, 0x98], [0xF4, 0x90, 0x80, 0x80], [0xF8, 0x88, 0x80, 0x80, 0x80], [0xFF],
    ]
}
