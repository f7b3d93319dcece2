// SPDX-License-Identifier: Apache-2.0

import Events
import Foundation

extension Topic {
    /// Where dead letters are announced.
    static let dead = Topic.named("$dead")
    /// Where what an operator should look at is announced.
    static let alert = Topic.named("$alert")
    /// Where changes of the configuration are announced.
    static let config = Topic.named("$config")
}

extension Publication {
    /// What Fairlead itself has to say of a subscriber, on a system topic. `data` holds texts and numbers only.
    static func system(
        _ topic: Topic, type: String, id: String, subscriber: String, data: some Encodable
    ) -> Publication {
        system(
            topic, type: type, id: id, source: "/fairlead/subscribers/\(subscriber)", subject: subscriber, data: data)
    }

    /// `data` holds texts and numbers only.
    static func system(
        _ topic: Topic, type: String, id: String, source: String, subject: String, data: some Encodable
    ) -> Publication {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.withoutEscapingSlashes, .sortedKeys]
        // Texts and numbers: this can't fail.
        let bytes = (try? encoder.encode(data)).map(Array.init) ?? []
        return Publication(
            topic: topic.name,
            event: Event(
                id: id, source: source, type: type,
                attributes: [
                    .init("subject", .string(subject)), .init("datacontenttype", .string("application/json")),
                ],
                data: .json(bytes)))
    }
}
