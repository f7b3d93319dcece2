// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import Testing

/// A real Chromium without a window, driven over W3C WebDriver. One serves all tests of a suite, each in a tab of its own.
final class Browser: Sendable {
    struct Refused: Error, CustomStringConvertible {
        var description: String
    }

    /// The one of the suite that asked for it with ``SuiteTrait/browser``.
    @TaskLocal static var current: Browser?

    let process: BrowserProcess
    private let session: String

    private init(_ process: BrowserProcess, session: String) {
        self.process = process
        self.session = session
    }

    /// Starts one, and ends it whatever comes of `work`.
    static func run(_ work: (Browser) async throws -> Void) async throws {
        let process = try BrowserProcess()
        let result: Result<Void, any Error>
        do {
            result = .success(try await work(start(process)))
        } catch {
            result = .failure(error)
        }
        try await process.end()
        try result.get()
    }

    private static func start(_ process: BrowserProcess) async throws -> Browser {
        try await eventually("the driver is ready", within: .seconds(60)) {
            (try? await process.send("GET", "/status")) != nil
        }
        var arguments = [
            "--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--disable-background-networking", "--force-color-profile=srgb", "--hide-scrollbars",
            "--user-data-dir=\(process.folder.path)/profile",
        ]
        // Its sandbox can't be had by root.
        if getuid() == 0 { arguments.append("--no-sandbox") }
        let answer = try await process.send(
            "POST", "/session",
            [
                "capabilities": [
                    "alwaysMatch": [
                        "browserName": "chrome", "goog:chromeOptions": ["args": arguments],
                        "goog:loggingPrefs": ["browser": "ALL", "performance": "ALL"],
                    ]
                ]
            ])
        guard let object = answer as? [String: Any], let id = object["sessionId"] as? String else {
            throw Refused(description: "no session: \(String(describing: answer))")
        }
        return Browser(process, session: "/session/\(id)")
    }

    /// The suite's browser with an empty tab in the place of the last test's, and nothing in its logs.
    static func fresh() async throws -> Browser {
        guard let browser = current else {
            throw Refused(description: "the suite has no browser; it is to be declared with the trait .browser")
        }
        let made = try await browser.send("POST", "/window/new", ["type": "tab"]) as? [String: Any]
        _ = try await browser.send("DELETE", "/window")
        _ = try await browser.send("POST", "/window", ["handle": made?["handle"] ?? ""])
        try await browser.size(1280, 900)
        // What was asked and said before is no part of the test.
        _ = try await browser.log("browser")
        _ = try await browser.log("performance")
        return browser
    }

    // MARK: What a person does

    func open(_ url: String) async throws {
        _ = try await send("POST", "/url", ["url": url])
    }

    /// Clicks with the mouse on what is visible there, as soon as it is.
    func click(_ selector: String, _ text: String? = nil) async throws {
        try await act("clicked", selector, text) { element in
            _ = try await self.send("POST", "/element/\(element)/click")
        }
    }

    /// Puts `text` in the place of what a field holds, key by key.
    func fill(_ selector: String, _ text: String) async throws {
        try await act("filled", selector, nil) { element in
            _ = try await self.send("POST", "/element/\(element)/clear")
            _ = try await self.send("POST", "/element/\(element)/value", ["text": text])
        }
    }

    /// What is found may be exchanged, or lie under a note that is about to go, before anything is done to it.
    private func act(
        _ what: String, _ selector: String, _ text: String?, _ work: (String) async throws -> Void
    ) async throws {
        var refusal: Refused?
        do {
            try await eventually("\(selector) is \(what)") {
                let element = try await self.element(selector, text)
                do {
                    try await work(element)
                    return true
                } catch let refused as Refused
                    where refused.description.contains("stale element") || refused.description.contains("intercepted")
                {
                    refusal = refused
                    return false
                }
            }
        } catch {
            throw refusal ?? error
        }
    }

    enum Key: String {
        case tab = "\u{E004}"
        case enter = "\u{E007}"
        case space = " "
        case escape = "\u{E00C}"
    }

    func press(_ key: Key) async throws { try await write(key.rawValue) }

    /// Types to whatever has the focus.
    func write(_ text: String) async throws {
        let strokes = text.flatMap { [["type": "keyDown", "value": "\($0)"], ["type": "keyUp", "value": "\($0)"]] }
        _ = try await send(
            "POST", "/actions", ["actions": [["type": "key", "id": "keys", "actions": strokes]]])
    }

    /// Presses Tab until what has the focus has this text or label.
    func tab(to text: String, most: Int = 120) async throws {
        for _ in 0..<most {
            let focused =
                try await script(
                    """
                    const e = document.activeElement;
                    return e === document.body ? "" : (e.getAttribute("aria-label") ?? e.textContent).trim()
                    """) as? String
            if let focused, focused.hasPrefix(text) { return }
            try await press(.tab)
        }
        throw Refused(description: "Tab never came to \"\(text)\"")
    }

    /// JavaScript: what tells one thing that can be operated from another while figures in it change.
    private static let nameOfStop = """
        (e) => e.tagName + " " + (e.getAttribute("href") ?? e.getAttribute("aria-label") ?? e.labels?.[0]?.textContent
          ?? e.textContent).replace(/[0-9]+/g, "#").trim()
        """

    /// Presses Tab from the first stop of the page to the last; what had the focus.
    func tabStops(most: Int = 200) async throws -> [String] {
        _ = try await script("document.querySelector('.skip').focus()")
        var stops: [String] = []
        for _ in 0..<most {
            let focused =
                try await script(
                    """
                    const e = document.activeElement, name = \(Self.nameOfStop);
                    return e === document.body || arguments[0] && e.matches(".skip") ? null : name(e)
                    """, !stops.isEmpty) as? String
            guard let focused else { return stops }
            stops.append(focused)
            try await press(.tab)
        }
        throw Refused(description: "the page has no last stop: \(stops)")
    }

    /// What Tab is to come to.
    func allStops() async throws -> [String] {
        let names = try await script(
            """
            return [...document.querySelectorAll("a, button, input, select, textarea, summary")]
              .filter((e) => e.checkVisibility() && !e.disabled).map(\(Self.nameOfStop))
            """)
        return try #require(names as? [String])
    }

    // MARK: What a person sees

    /// Waits until the page's visible text has `text`.
    func see(_ text: String, in selector: String = "body") async throws {
        do {
            try await eventually("the page says \"\(text)\"") { try await self.text(of: selector).contains(text) }
        } catch {
            throw Refused(
                description: "the page never says \"\(text)\"; it says:\n\(try await self.text(of: selector))")
        }
    }

    func text(of selector: String) async throws -> String {
        try await script(
            "return [...document.querySelectorAll(arguments[0])].map((e) => e.innerText ?? e.textContent).join('\\n')",
            selector)
            as? String
            ?? ""
    }

    func script(_ source: String, _ arguments: Any...) async throws -> Any? {
        try await send("POST", "/execute/sync", ["script": source, "args": arguments])
    }

    func size(_ width: Int, _ height: Int) async throws {
        try await tool(
            "Emulation.setDeviceMetricsOverride",
            ["width": width, "height": height, "deviceScaleFactor": 1, "mobile": false])
    }

    func use(dark: Bool) async throws {
        try await tool(
            "Emulation.setEmulatedMedia",
            ["features": [["name": "prefers-color-scheme", "value": dark ? "dark" : "light"]]])
    }

    func picture() async throws -> Data {
        let answer = try await tool("Page.captureScreenshot", ["format": "png"]) as? [String: Any]
        guard let text = answer?["data"] as? String, let data = Data(base64Encoded: text) else {
            throw Refused(description: "no picture: \(String(describing: answer))")
        }
        return data
    }

    // MARK: What must not be

    /// The console said nothing bad, no policy was violated, and nothing was asked of anybody but `port`.
    /// - Parameter refusals: status codes that the test provokes; the console reports each.
    func expectClean(port: Int, refusals: [Int] = []) async throws {
        let console = try await log("browser")
        for entry in console {
            let message = entry["message"] as? String ?? ""
            if refusals.contains(where: { message.contains("status of \($0) ") }) { continue }
            #expect(entry["level"] as? String == "INFO", "the console says: \(message)")
        }
        var asked = 0
        for entry in try await log("performance") {
            guard let text = entry["message"] as? String,
                let whole = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any],
                let message = whole["message"] as? [String: Any],
                message["method"] as? String == "Network.requestWillBeSent",
                let request = (message["params"] as? [String: Any])?["request"] as? [String: Any],
                let url = request["url"] as? String, url != "about:blank", !url.hasPrefix("chrome:")
            else { continue }
            asked += 1
            #expect(url.hasPrefix("http://127.0.0.1:\(port)/"), "a request to somebody else: \(url)")
        }
        #expect(asked > 10, "requests are seen at all")
    }

    private func log(_ kind: String) async throws -> [[String: Any]] {
        try await send("POST", "/se/log", ["type": kind]) as? [[String: Any]] ?? []
    }

    // MARK: The driver

    private func element(_ selector: String, _ text: String?) async throws -> String {
        var found: String?
        do {
            try await eventually("there is \(selector)") {
                let answer = try await self.script(
                    """
                    return [...document.querySelectorAll(arguments[0])].find((e) => e.checkVisibility() && !e.disabled
                      && (arguments[1] === null || e.textContent.includes(arguments[1]))) ?? null
                    """, selector, text ?? NSNull())
                found = (answer as? [String: Any])?.values.first as? String
                return found != nil
            }
        } catch {
            throw Refused(
                description: "no \(selector) \(text ?? "") on the page, which says:\n\(try await self.text(of: "body"))"
            )
        }
        return found!
    }

    @discardableResult
    private func tool(_ command: String, _ parameters: [String: Any]) async throws -> Any? {
        try await send("POST", "/goog/cdp/execute", ["cmd": command, "params": parameters])
    }

    private func send(_ method: String, _ path: String, _ body: [String: Any] = [:]) async throws -> Any? {
        try await process.send(method, session + path, body)
    }
}
