// SPDX-License-Identifier: Apache-2.0

import Events

/// A population of filters, and events that fit it. All is worked out from the number, so two runs are alike.
enum Workload: String, CaseIterable {
    /// Ten subscribers to each type, each with a condition of its own on the data.
    case selective
    /// Four types for all subscribers; a customer's number tells them apart.
    case sharedType = "shared-type"
    /// A window of a number, one in a hundred wide, of one type in fifty.
    case rangeHeavy = "range-heavy"
    /// Only what must not be: nothing can be looked up.
    case negativeOnly = "negative-only"
    /// A word somewhere in a text: nothing can be looked up but the text's being there.
    case containsOnly = "contains-only"
    /// As the first, in the strict dialect, which sees attributes alone.
    case cesql

    func filter(_ number: Int, of count: Int) -> String {
        switch self {
        case .selective:
            let type = "type = 'shop.order.t\(number / 10)'"
            switch number % 10 {
            case 0, 1: return type
            case 2: return "\(type) and data.total >= \(number * 7 % 500)"
            case 3: return "\(type) and data.country in ('US', 'CA', 'DE')"
            case 4: return "\(type) and not (data.country = 'US')"
            case 5: return "\(type) and (data.total < 100 or data.flags.vip)"
            case 6: return "\(type) and data.items[*].sku = 'A-\(number % 8)'"
            case 7: return "\(type) and subject startswith 'customer-'"
            case 8: return "\(type) and exists data.customer.id"
            default: return "\(type) and data.customer.mail endswith '.example'"
            }
        case .sharedType: return "type = 'shop.order.t\(number % 4)' and data.customer.id = \(number / 4)"
        case .rangeHeavy:
            let low = Self.spread(number) % 99_000
            return "type = 'shop.order.t\(number % 50)' and data.total >= \(low) and data.total < \(low + 1_000)"
        case .negativeOnly: return "type != 'shop.order.t\(number)' and data.country != '\(number)'"
        case .cesql:
            let type = "type = 'shop.order.t\(number / 10)'"
            switch number % 5 {
            case 0: return "cesql \"\(type)\""
            case 1: return "cesql \"\(type) AND subject LIKE 'customer-%'\""
            case 2: return "cesql \"\(type) AND NOT (source = '/stock')\""
            case 3: return "cesql \"\(type) AND LENGTH(subject) > \(number % 20)\""
            default: return "cesql \"\(type) AND (EXISTS trace OR source IN ('/shop', '/stock'))\""
            }
        case .containsOnly: return "subject contains '-\(number)-'"
        }
    }

    func event(_ number: Int, of count: Int) -> Record {
        let place = Self.spread(number)
        let type =
            switch self {
            case .selective, .cesql: place % max(1, count / 10)
            case .sharedType: number % 4
            case .rangeHeavy: number % 50
            case .negativeOnly, .containsOnly: place % count
            }
        let customer = place % max(1, count / 4)
        let countries = ["US", "CA", "DE", "FR", "JP"]
        let data = """
            {"id": "o-\(number)", "total": \(place % 100_000), "country": "\(countries[number % 5])", "currency": "EUR", \
            "customer": {"id": \(customer), "mail": "c\(customer)@mail.example", "name": "A customer"}, \
            "items": [{"sku": "A-\(number % 8)", "count": 2, "price": 12.5}, {"sku": "B-\(number % 16)", "count": 1, \
            "price": 99}], "flags": {"vip": \(number % 9 == 0), "test": false}, "note": "left at the door, as always"}
            """
        var builder = RecordBatchBuilder(topic: .named("orders"), key: nil, capacity: data.utf8.count + 512)
        builder.append(
            Event(
                id: "e-\(number)", source: "/shop", type: "shop.order.t\(type)",
                attributes: [.init("subject", .string("customer-\(place % count)-of-many"))],
                data: .json(Array(data.utf8))))
        return builder.finish()[0]
    }

    /// A number that looks random and isn't.
    private static func spread(_ number: Int) -> Int {
        Int((UInt64(number) &* 0x9E37_79B9_7F4A_7C15) >> 40)
    }
}
