// SPDX-License-Identifier: Apache-2.0

import CFairlead
import Events

extension PluginRunner {
    func performMail(_ want: Want, _ call: PluginCall, _ slot: UInt32) -> Answer? {
        guard grants.mail else { return .error(refusal("mail", allow: "mail")) }
        var message = MailMessage(to: [], subject: "")
        for (name, value) in want[0].pairs ?? [] {
            if case .secret(let secret, _) = value {
                return .error("ctx.mail.send: \(name) is secret(\(secret)), which may not leave in a mail")
            }
            switch name {
            case "to", "cc":
                let list = value.text.map { [$0] } ?? value.items?.compactMap(\.text)
                guard let list, list.count == (value.items?.count ?? 1) else {
                    return .error(
                        "ctx.mail.send: \(name) is an address or a list of addresses, not a \(value.typeName)")
                }
                if name == "to" { message.to = list } else { message.cc = list }
            case "from", "reply_to", "subject", "text", "html":
                guard let text = value.text else {
                    return .error("ctx.mail.send: \(name) can't be a \(value.typeName)")
                }
                switch name {
                case "from": message.from = text
                case "reply_to": message.replyTo = text
                case "subject": message.subject = text
                case "text": message.text = text
                default: message.html = text
                }
            default:
                let known = LuaAPI.mailFields.map(\.name)
                let near = name.nearest(of: known).map { "; did you mean \"\($0)\"?" } ?? ""
                return .error(
                    "ctx.mail.send has no field \"\(name)\"\(near) (its fields are \(known.joined(separator: ", ")))")
            }
        }
        guard !message.to.isEmpty else { return .error("ctx.mail.send needs to: an address or a list of addresses") }
        guard message.text != nil || message.html != nil else { return .error("ctx.mail.send needs text or html") }
        let mail = services.mail
        let id = call.id
        let final = message
        call.wait = Task {
            let answer: Answer
            do throws(MailFailure) {
                try await mail.send(final)
                answer = .values([.boolean(true)])
            } catch {
                switch error {
                case .refused(let text):
                    answer = .failure(outcome: FL_LUA_DEAD, after: nil, message: "mail refused: \(text)")
                case .temporary(let text):
                    answer = .failure(outcome: FL_LUA_RETRY, after: nil, message: "mail not sent: \(text)")
                }
            }
            self.complete(slot, id, answer)
        }
        return nil
    }
}
