// SPDX-License-Identifier: Apache-2.0

import Events

/// A record of an event with these attributes and this JSON data, where given.
func record(
    _ data: String? = nil, type: String = "order.placed", topic: String = "orders",
    _ attributes: [(String, AttributeValue)] = []
) -> Record {
    var builder = RecordBatchBuilder(topic: .named(topic), key: nil, capacity: 256)
    builder.append(
        Event(
            id: "e-1", source: "/shop", type: type, attributes: attributes.map { .init($0.0, $0.1) },
            data: data.map { .json(Array($0.utf8)) } ?? .none))
    return builder.finish()[0]
}
