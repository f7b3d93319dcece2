// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// How it looks, and that all of it can be used without a mouse.
extension DashboardTests {
    @Test(.timeLimit(.minutes(3)))
    func everythingThatCanBeClickedIsReachedWithTab() async throws {
        let server = try await shop()
        try await publish(server, "e-1", #"{"order_id":"o-1"}"#)
        try await eventually("it is dead") { try await server.subscriber("receipts")["dead"] as? Int == 1 }
        let browser = try await open(server)
        for (view, text) in [
            ("", "Next offset"), ("dead?subscriber=receipts", "Letters"), ("dead/1", "And now"),
            ("tail/orders", "order.placed"), ("events/e-1", "Its subscribers"), ("history", "A new replay"),
            ("generations/1", "Files of generation 1"), ("subscriber/receipts", "has no address"),
        ] {
            _ = try await browser.script("location.hash = arguments[0]", "#/\(view)")
            try await browser.see(text, in: "main")
            // Again where something came while Tab was on its way.
            var missing: Set<String> = []
            do {
                try await eventually("Tab comes to all of \(view)", within: .seconds(60)) {
                    let reached = try await browser.tabStops()
                    missing = Set(try await browser.allStops()).subtracting(reached)
                    return missing.isEmpty && reached.count > 10
                }
            } catch {
                Issue.record("\(error): not to \(missing)")
            }
        }
        try await browser.expectClean(port: server.port)
    }

    @Test(.timeLimit(.minutes(3)))
    func everyViewFitsFrom360To1600PixelsAndIsReadableInLightAndDark() async throws {
        let server = try await shop()
        try await publish(server, "e-1", #"{"order_id":"o-\#(String(repeating: "1", count: 200))"}"#)
        try await publish(server, "e-2", #"{"order_id":"o-2","email":"a@example.com"}"#)
        _ = try await server.command("pause", "books", "--reason", "a test")
        try await eventually("it is dead") { try await server.subscriber("receipts")["dead"] as? Int == 1 }
        let browser = try await open(server)
        for (view, text) in [
            ("", "Who gets what"), ("dead", "Letters"), ("dead/1", "And now"), ("tail/orders", "order.placed"),
            ("events", "By time and filter"), ("events/e-1", "Its subscribers"), ("history", "A new replay"),
            ("generations/1", "Files of generation 1"), ("subscriber/receipts", "Stands at"),
        ] {
            _ = try await browser.script("location.hash = arguments[0]", "#/\(view)")
            try await browser.see(text, in: "main")
            for width in [360, 768, 1600] {
                try await browser.size(width, 900)
                try await eventually("\(view) fits into \(width) pixels") {
                    try await browser.script(
                        """
                        const root = document.documentElement, picture = document.querySelector(".picture");
                        return root.scrollWidth <= root.clientWidth
                          && (!picture || picture.getBoundingClientRect().right <= root.clientWidth)
                        """) as? Bool == true
                }
            }
            for isDark in [false, true] {
                try await browser.use(dark: isDark)
                let faint = try await browser.script(Self.faintTexts) as? [String]
                #expect(faint == [], "\(view), \(isDark ? "dark" : "light")")
            }
        }
        #expect(
            try await browser.script("return getComputedStyle(document.body).backgroundColor") as? String
                == "rgb(17, 21, 27)", "it is dark indeed")
        // Everything that can be operated has a name.
        let nameless = try await browser.script(
            """
            return [...document.querySelectorAll("a, button, input, select, textarea")].filter((e) => e.checkVisibility()
              && !(e.textContent.trim() || e.getAttribute("aria-label") || e.labels?.length)).map((e) => e.outerHTML)
            """)
        #expect(nameless as? [String] == [])
        try await browser.expectClean(port: server.port)
    }

    /// Texts with less contrast than 4.5 to 1 (WCAG 2.2, 1.4.3).
    private static let faintTexts = """
        const parts = (text) => {
          const numbers = text.match(/-?[\\d.]+(e-?\\d+)?/g).map(Number);
          return text.startsWith("color(") ? [...numbers.slice(0, 3).map((n) => n * 255), numbers[3] ?? 1] : numbers;
        };
        const light = (rgb) => {
          const [r, g, b] = rgb.map((n) => (n /= 255) <= 0.04045 ? n / 12.92 : ((n + 0.055) / 1.055) ** 2.4);
          return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const ground = (e) => {
          for (; e; e = e.parentElement) {
            const colour = parts(getComputedStyle(e).backgroundColor);
            if (colour.length < 4 || colour[3] === 1) return colour;
          }
          return [255, 255, 255];
        };
        return [...document.querySelectorAll("body *")].filter((e) => e.checkVisibility() && !(e instanceof SVGElement)
            && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim() !== "") && !e.closest(".unseen, .skip, :disabled"))
          .filter((e) => {
            const [a, b] = [light(parts(getComputedStyle(e).color).slice(0, 3)), light(ground(e).slice(0, 3))];
            return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5;
          }).map((e) => `${e.className} ${e.textContent.slice(0, 40)}`);
        """
}
