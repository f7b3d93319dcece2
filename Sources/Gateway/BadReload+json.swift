// SPDX-License-Identifier: Apache-2.0

import Events

extension BadReload {
    func write(to json: inout JSONWriter) {
        json.field("end", end.rawValue)
        json.field("generation", generation)
        json.field("previous", ifPresent: previous)
        json.field("time", Timestamp(milliseconds: time))
        json.field("error", error)
        json.field("trace", ifPresent: trace)
        json.field("failures", failures)
        json.field("deliveries", deliveries)
        json.field("obstacle", ifPresent: obstacle)
    }
}
