// SPDX-License-Identifier: Apache-2.0

/// One record on its way to one subscriber.
package struct Delivery: Sendable {
    package var record: Record
    /// From 1.
    package var attempt: Int
    /// The record is delivered again because somebody asked for history.
    package var replay: Bool
    /// When the attempt began, and the configuration it began under; set when it is started.
    package var began = Timestamp.distantPast
    package var generation = 0

    package init(record: Record, attempt: Int, replay: Bool = false) {
        self.record = record
        self.attempt = attempt
        self.replay = replay
    }

    package var id: DeliveryID { DeliveryID(topic: record.topic, offset: record.offset) }
}

/// Names a delivery among those of one subscriber.
package struct DeliveryID: Hashable, Sendable {
    package var topic: Topic
    package var offset: Offset

    package init(topic: Topic, offset: Offset) {
        self.topic = topic
        self.offset = offset
    }
}
