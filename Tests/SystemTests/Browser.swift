// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import Testing

/// A real Chromium without a window, driven over W3C WebDriver.
final class Browser {
    struct Refused: Error, CustomStringConvertible {
        var description: String
    }

    private let driver = Process()
    private let port: Int
    private let folder: URL
    private var session = ""

    init() async throws {
        port = try Loopback.freePort()
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("browser-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        driver.executableURL = URL(fileURLWithPath: "/usr/bin/chromedriver")
        driver.arguments = ["--port=\(port)", "--log-level=OFF"]
        // Chromium keeps what it must write there, and not in whatever home there is.
        driver.environment = ProcessInfo.processInfo.environment.merging(["HOME": folder.path]) { $1 }
        driver.standardOutput = FileHandle.nullDevice
        driver.standardError = FileHandle.nullDevice
        do {
            try driver.run()
        } catch {
            throw Refused(description: "no chromedriver; `make deps` installs it: \(error)")
        }
        try await eventually("the driver is ready", within: .seconds(60)) {
            (try? await Loopback.send("GET", self.port, "/status").status) == 200
        }
        var arguments = [
            "--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--disable-background-networking", "--force-color-profile=srgb", "--hide-scrollbars",
            "--user-data-dir=\(folder.path)/profile",
        ]
        // Its sandbox can't be had by root.
        if getuid() == 0 { arguments.append("--no-sandbox") }
        let answer = try await send(
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
        session = "/session/\(id)"
        try await size(1280, 900)
        // What its own first page asked of itself is no part of the test.
        try await open("about:blank")
        _ = try await log("performance")
    }

    deinit {
        if driver.isRunning {
            // The driver takes its browser with it.
            driver.terminate()
            driver.waitUntilExit()
        }
        try? FileManager.default.removeItem(at: folder)
    }

    // MARK: What a person does

    func open(_ url: String) async throws {
        _ = try await send("POST", session + "/url", ["url": url])
    }

    /// Clicks with the mouse on what is visible there, as soon as it is.
    func click(_ selector: String, _ text: String? = nil) async throws {
        // What is found may be exchanged, or lie under a note that is about to go, before it is clicked.
        var refusal: Refused?
        do {
            try await eventually("\(selector) is clicked") {
                let element = try await self.element(selector, text)
                do {
                    _ = try await self.send("POST", self.session + "/element/\(element)/click", [String: Any]())
                    return true
                } catch let refused as Refused
                    where refused.description.contains("stale element") || refused.description.contains("intercepted")
                {
                    refusal = refused
                    return false
                }
            }
        } catch  where refusal != nil {
            throw refusal!
        }
    }

    /// Puts `text` in the place of what a field holds, key by key.
    func fill(_ selector: String, _ text: String) async throws {
        let element = try await element(selector, nil)
        _ = try await send("POST", session + "/element/\(element)/clear", [String: Any]())
        _ = try await send("POST", session + "/element/\(element)/value", ["text": text])
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
            "POST", session + "/actions", ["actions": [["type": "key", "id": "keys", "actions": strokes]]])
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
        try await send("POST", session + "/execute/sync", ["script": source, "args": arguments])
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
        try await send("POST", session + "/se/log", ["type": kind]) as? [[String: Any]] ?? []
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
        try await send("POST", session + "/goog/cdp/execute", ["cmd": command, "params": parameters])
    }

    private func send(_ method: String, _ path: String, _ body: [String: Any]) async throws -> Any? {
        let answer = try await Loopback.send(
            method, port, path, body: Array(try JSONSerialization.data(withJSONObject: body)))
        guard answer.status == 200 else { throw Refused(description: String(answer.text.prefix(600))) }
        return try answer.object["value"]
    }
}
