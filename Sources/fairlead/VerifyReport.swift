// SPDX-License-Identifier: Apache-2.0

import Events
import Foundation
import Journal
import Ledger

/// What `fairlead verify` found, and what became of it.
struct VerifyReport: Encodable {
    struct Finding: Encodable, Hashable {
        var kind: String
        var isDamage: Bool
        var file: String
        var topic: String?
        /// Offsets that it is about, the last included.
        var first: UInt64?
        var last: UInt64?
        /// Who has not settled all of them.
        var subscribers: [String]
        var meaning: String
        var repair: String?
        var isRepaired = false
    }

    var data: String
    var topics: Int
    var segments: Int
    var records: Int
    var bytes: Int
    var ledgerRows: Int
    /// A server ran meanwhile.
    var isServed: Bool
    var findings: [Finding]
    private(set) var journalFindings: [JournalFinding]
    private(set) var ledgerFindings: [LedgerFinding]

    private enum CodingKeys: CodingKey {
        case data, topics, segments, records, bytes, ledgerRows, isServed, isSound, findings
    }

    init(_ path: String, _ journal: JournalInspection, _ ledger: LedgerInspection?, isServed: Bool) {
        data = path
        topics = journal.present.count
        segments = journal.segments
        records = journal.records
        bytes = journal.bytes
        ledgerRows = ledger?.rows ?? 0
        self.isServed = isServed
        journalFindings = journal.findings
        ledgerFindings = ledger?.findings ?? []
        let positions = ledger?.positions ?? []
        findings = journal.findings.map { finding in
            Finding(
                kind: finding.kind.rawValue, isDamage: finding.isDamage, file: finding.file, topic: finding.topic,
                first: finding.lost.flatMap { $0.isEmpty ? nil : $0.lowerBound },
                last: finding.lost.flatMap { $0.isEmpty ? nil : $0.upperBound - 1 },
                subscribers: finding.lost.map { Self.unsettled($0, finding.topic, positions) } ?? [],
                meaning: finding.meaning, repair: finding.repair)
        }
        findings += ledgerFindings.map { finding in
            Finding(
                kind: finding.kind.rawValue, isDamage: finding.isDamage, file: path + "/ledger.db",
                topic: finding.topic.map { finding.lane == nil ? $0 : Topic.named($0).shownName },
                first: finding.offsets?.lowerBound, last: finding.offsets?.upperBound,
                subscribers: finding.subscriber.map { [$0 + (finding.lane.map { " (\($0))" } ?? "")] } ?? [],
                meaning: finding.meaning, repair: finding.repair)
        }
    }

    var isSound: Bool { !findings.contains { $0.isDamage && !$0.isRepaired } }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(data, forKey: .data)
        try container.encode(topics, forKey: .topics)
        try container.encode(segments, forKey: .segments)
        try container.encode(records, forKey: .records)
        try container.encode(bytes, forKey: .bytes)
        try container.encode(ledgerRows, forKey: .ledgerRows)
        try container.encode(isServed, forKey: .isServed)
        try container.encode(isSound, forKey: .isSound)
        try container.encode(findings, forKey: .findings)
    }

    /// Subscribers that had something to do in this range still.
    private static func unsettled(
        _ range: Range<Offset>, _ topic: String, _ positions: [LedgerInspection.Position]
    ) -> [String] {
        positions.filter { position in
            guard position.topic == topic, position.position < range.upperBound else { return false }
            let from = max(position.position, range.lowerBound)
            return !position.settled.contains { $0.lowerBound <= from && $0.upperBound >= range.upperBound - 1 }
        }.map { position in position.subscriber + (position.lane.map { " (\($0))" } ?? "") }.sorted()
    }

    /// Keeps what was found before the repair and is found no more, as repaired.
    mutating func markRepaired(_ before: VerifyReport) {
        let left = Set(findings.map { "\($0.kind) \($0.file) \($0.meaning)" })
        var repaired = before.findings.filter {
            $0.repair != nil && !left.contains("\($0.kind) \($0.file) \($0.meaning)")
        }
        for index in repaired.indices { repaired[index].isRepaired = true }
        findings = repaired + findings
    }

    func text(offersRepair: Bool) -> String {
        var lines: [String] = []
        for finding in findings {
            let mark =
                if finding.isRepaired {
                    Console.styled("mended ", .green)
                } else if finding.isDamage {
                    Console.styled("damaged", .red)
                } else {
                    Console.styled("note   ", .dim)
                }
            lines.append("\(mark)  \(finding.file): \(finding.meaning)")
            if finding.first != nil, finding.topic != nil, finding.isDamage, !finding.file.hasSuffix("ledger.db") {
                lines.append(
                    finding.subscribers.isEmpty
                        ? "         every subscriber had settled them"
                        : "         not settled by: \(finding.subscribers.joined(separator: ", "))")
            }
            if finding.isRepaired, let repair = finding.repair {
                lines.append("         done: \(repair)")
            } else if let repair = finding.repair, finding.isDamage {
                lines.append("         --repair would \(repair)")
            } else if finding.isDamage {
                lines.append("         it can't be mended here: put the file back from a backup")
            }
        }
        let counts =
            "\(topics) topics, \(segments) segments, \(records) records, \(bytes >> 20) MiB, \(ledgerRows) rows of the ledger"
        if isServed {
            lines.append("a server is running: the end of each topic may be in the making and is not judged")
        }
        let damages = findings.count { $0.isDamage && !$0.isRepaired }
        lines.append(damages == 0 ? "\(counts): sound" : "\(counts): \(damages) damaged")
        if offersRepair, findings.contains(where: { $0.isDamage && $0.repair != nil }) {
            lines.append("`fairlead verify --repair` mends what can be mended; stop the server first")
        }
        return lines.joined(separator: "\n")
    }

    /// Of all segments, as their files are long.
    static func bytes(of folder: String) -> Int {
        guard let files = FileManager.default.enumerator(atPath: folder) else { return 0 }
        var sum = 0
        for case let name as String in files where name.hasSuffix(".log") {
            let attributes = try? FileManager.default.attributesOfItem(atPath: folder + "/" + name)
            sum += (attributes?[.size] as? Int) ?? 0
        }
        return sum
    }
}
