// SPDX-License-Identifier: Apache-2.0

package import Broker
package import Events

/// What the gateway asks of the broker; what each does is told at ``Broker``.
///
/// `pull` and `tail` are expected back soon after their task is cancelled: that is how long polls end at shutdown.
package protocol BrokerSurface: Sendable {
    func publishing(to topic: String) -> PublishTarget?
    func publish(_ batch: RecordBatch) async throws(Failure) -> Published
    /// The same without a task; `then` is called from any thread.
    func publish(_ batch: RecordBatch, then: @escaping @Sendable (Result<Published, Failure>) -> Void)
    func pull(_ subscriber: String, max: Int, wait: Duration) async throws(Failure) -> [Lease]
    func settle(_ subscriber: String, _ requests: [LeaseSettlement]) async throws(Failure) -> [LeaseResult]
    func status() async -> BrokerStatus
    func pause(_ subscriber: String, reason: String) async throws(Failure)
    func resume(_ subscriber: String) async throws(Failure)
    func forget(_ subscriber: String) async throws(Failure)
    func stateEntries(
        of subscriber: String, prefix: String, after: String?, limit: Int
    ) async throws(Failure) -> [StateEntry]
    func stateValue(of subscriber: String, key: String) async throws(Failure) -> [UInt8]?
    func writeState(of subscriber: String, _ write: StateWrite) async throws(Failure)
    func deadLetters(_ filter: DeadLetterFilter, before: Int64?, limit: Int) async throws(Failure) -> [DeadLetter]
    func deadLetterGroups(_ filter: DeadLetterFilter, limit: Int) async throws(Failure) -> [DeadLetterSummary]
    func deadLetter(_ id: Int64) async throws(Failure) -> DeadLetter?
    func attempts(of subscriber: String, _ id: DeliveryID) async throws(Failure) -> [Attempt]
    func failures(of subscriber: String, limit: Int) async throws(Failure) -> [Attempt]
    func mend(_ id: Int64, with event: Event) async throws(Failure) -> DeadLetter
    func redrive(_ ids: [Int64], _ options: RedriveRun.Options) async throws(Failure) -> RedriveRun.Progress
    func redrive(
        _ filter: DeadLetterFilter, _ options: RedriveRun.Options
    ) async throws(Failure) -> RedriveRun.Progress
    func redriveProgress(_ id: Int) async throws(Failure) -> RedriveRun.Progress
    func cancelRedrive(_ id: Int) async throws(Failure) -> RedriveRun.Progress
    func discard(_ ids: [Int64], reason: String) async throws(Failure) -> Int
    func discard(_ filter: DeadLetterFilter, reason: String) async throws(Failure) -> Int
    func replay(_ subscriber: String, _ request: ReplayRequest) async throws(Failure) -> HistoryProgress
    func histories(of subscriber: String) async throws(Failure) -> [HistoryProgress]
    func history(of subscriber: String, _ id: Int64) async throws(Failure) -> HistoryProgress
    func cancelHistory(of subscriber: String, _ id: Int64) async throws(Failure) -> HistoryProgress
    func beginImport(
        _ subscriber: String, topic: String, file: String, expected: Int?, isFirst: Bool
    ) async throws(Failure) -> HistoryProgress
    func importTarget(_ subscriber: String, _ id: Int64) async throws(Failure) -> PublishTarget
    func importEvents(
        _ subscriber: String, _ id: Int64, at: Int, _ batch: RecordBatch
    ) async throws(Failure) -> Int
    func completeImport(
        _ subscriber: String, _ id: Int64, events: Int
    ) async throws(Failure) -> HistoryProgress
    func tail(_ topic: String, from offset: Offset?, max: Int, wait: Duration) async throws(Failure) -> [Record]
}

extension Broker: BrokerSurface {}
