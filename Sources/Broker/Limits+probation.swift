// SPDX-License-Identifier: Apache-2.0

package import Events

extension Limits {
    /// Failed attempts after which a changed subscriber is taken back: one or two may be an unlucky event or a moment's
    /// fault of what it calls.
    package static let probationFailures = 3

    /// Attempts that succeeded after which a change has proved itself.
    package static let probationSuccesses = 20

    /// How long a change is on probation from its first delivery on: several attempts at a usual backoff, and no so long
    /// that what fails much later for another reason is laid at its door.
    package static let probationTime: Duration = .seconds(900)

    /// Deliveries in flight while on probation, so that few are put at risk; a batch is as large as it is.
    package static let probationInFlight = 8
}
