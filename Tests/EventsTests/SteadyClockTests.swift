// SPDX-License-Identifier: Apache-2.0

import Events
import Synchronization
import Testing

struct SteadyClockTests {
    /// Both clocks in seconds, and what was reported.
    private final class World: Sendable {
        let wall = Mutex<Int64>(1_000_000)
        let machine = Mutex<Int64>(50)
        let reports = Mutex<[Duration]>([])

        func clock() -> SteadyClock {
            SteadyClock(
                wall: { self.wall.withLock { $0 } * 1_000_000_000 },
                machine: { self.machine.withLock { $0 } * 1_000_000_000 },
                onSetBack: { behind in self.reports.withLock { $0.append(behind) } })
        }

        func pass(_ seconds: Int64) {
            wall.withLock { $0 += seconds }
            machine.withLock { $0 += seconds }
        }

        func set(_ seconds: Int64) { wall.withLock { $0 += seconds } }
    }

    private func seconds(_ clock: SteadyClock) -> Int64 { clock.now().milliseconds / 1_000 }

    @Test func itIsTheWallClockUntilThatIsSetBackAndGoesOnFromThere() {
        let world = World()
        let clock = world.clock()
        #expect(seconds(clock) == 1_000_000)
        world.pass(10)
        #expect(seconds(clock) == 1_000_010)
        world.set(-3_600)
        #expect(seconds(clock) == 1_000_010)
        world.pass(5)
        #expect(seconds(clock) == 1_000_015)
        // It caught up, and more.
        world.set(3_700)
        #expect(seconds(clock) == 1_000_115)
        world.pass(1)
        #expect(seconds(clock) == 1_000_116)
    }

    @Test func eachSettingBackIsReportedOnce() {
        let world = World()
        let clock = world.clock()
        for step: Int64 in [0, -1, -100, 0, -100, 300, -50] {
            world.set(step)
            for _ in 0..<3 {
                _ = clock.now()
                world.pass(1)
            }
        }
        #expect(world.reports.withLock { $0 } == [.seconds(101), .seconds(201), .seconds(50)])
    }
}
