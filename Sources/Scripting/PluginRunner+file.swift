// SPDX-License-Identifier: Apache-2.0

import CFairlead
import Events

extension PluginRunner {
    func performFile(_ want: Want, _ call: PluginCall, _ slot: UInt32) -> Answer? {
        let addition: FileAddition
        do {
            addition = try fileAddition(want, call)
        } catch {
            return error.answer
        }
        let files = services.files
        let id = call.id
        call.wait = Task {
            let answer: Answer
            do throws(FileFailure) {
                let done = try await files.append(addition)
                answer = .values([.integer(Int64(done.size))] + (done.setAside.map { [.text($0)] } ?? []))
            } catch {
                answer = Self.answer(error)
            }
            self.complete(slot, id, answer)
        }
        return nil
    }

    private struct Refusal: Error {
        var answer: Answer
    }

    private static func answer(_ failure: FileFailure) -> Answer {
        switch failure {
        case .refused(let text):
            .failure(outcome: FL_LUA_DEAD, after: nil, message: "ctx.file.append: \(text)")
        case .temporary(let text):
            .failure(outcome: FL_LUA_RETRY, after: nil, message: "ctx.file.append: \(text)")
        }
    }

    private func fileAddition(_ want: Want, _ call: PluginCall) throws(Refusal) -> FileAddition {
        func refuse(_ message: String) -> Refusal { Refusal(answer: .error(message)) }
        call.fileCalls += 1
        guard call.fileCalls <= Limits.pluginFileAppendsMax else {
            throw refuse("one call may append \(Limits.pluginFileAppendsMax) times; this is one more")
        }
        var sizeMax: Int?
        var folder: String?
        for (name, value) in want[2].pairs ?? [] {
            switch name {
            case "folder":
                guard let text = value.text else {
                    throw refuse("ctx.file.append: folder can't be a \(value.typeName)")
                }
                folder = text
            case "max_size":
                guard let bytes = value.double ?? value.text.flatMap(ConfigSchema.bytes).map(Double.init),
                    bytes >= Double(Limits.pluginFileSizeMin)
                else {
                    throw refuse(
                        "ctx.file.append: max_size is at least \(Limits.pluginFileSizeMin) bytes, as a number or as "
                            + "text such as \"10MB\"")
                }
                sizeMax = Int(clamping: Int64(min(bytes, 1e18)))
            default:
                let near = name.nearest(of: ["folder", "max_size"]).map { "; did you mean \"\($0)\"?" } ?? ""
                throw refuse("ctx.file.append has no option \"\(name)\"\(near) (its options are folder, max_size)")
            }
        }
        guard let granted = grants.folders.first else {
            throw refuse(refusal("appending to files", allow: "file \"\(folder ?? "FOLDER")\""))
        }
        if let folder, !grants.folders.contains(folder) {
            throw refuse(refusal("appending to files in \(folder)", allow: "file \"\(folder)\""))
        }
        guard folder != nil || grants.folders.count == 1 else {
            throw refuse(
                "ctx.file.append: several folders are granted; say which: folder = \"\(granted)\"")
        }
        guard case .string(var bytes) = want[1], let name = want[0].text else {
            throw refuse("ctx.file.append(name, text or table, options)")
        }
        if bytes.last != UInt8(ascii: "\n") { bytes.append(UInt8(ascii: "\n")) }
        guard bytes.count <= Limits.pluginFileAppendBytesMax else {
            throw refuse(
                "ctx.file.append: \(bytes.count) bytes; the limit is \(Limits.pluginFileAppendBytesMax) in one call")
        }
        do throws(FileFailure) {
            return try FileAddition(folder: folder ?? granted, name: name, bytes: bytes, sizeMax: sizeMax)
        } catch {
            throw Refusal(answer: Self.answer(error))
        }
    }
}
