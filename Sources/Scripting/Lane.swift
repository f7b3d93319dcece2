// SPDX-License-Identifier: Apache-2.0

#if canImport(Glibc)
    import Glibc
#endif
import Events

/// A thread of our own that runs Lua: jobs in the order they came, and jobs at a time. What a job touches beyond its
/// own values belongs to the lane.
///
/// Lua never runs on Swift's cooperative pool, which a busy script would starve.
final class Lane: @unchecked Sendable {
    // `jobs`, `timers` and `closed` are guarded by `mutex`.
    private let name: String
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let wake = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var jobs: [@Sendable () -> Void] = []
    private var timers = TimerHeap()
    private var closed = false

    /// `name` is what `top -H` shows for its thread.
    init(name: String = "lua") {
        self.name = name
        pthread_mutex_init(mutex, nil)
        var conditions = pthread_condattr_t()
        pthread_condattr_init(&conditions)
        pthread_condattr_setclock(&conditions, CLOCK_MONOTONIC)
        pthread_cond_init(wake, &conditions)
        pthread_condattr_destroy(&conditions)
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        pthread_attr_setstacksize(&attributes, Limits.laneStackBytes)
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        var thread = pthread_t()
        // The thread holds the lane until it is closed.
        let context = Unmanaged.passRetained(self).toOpaque()
        let result = pthread_create(
            &thread, &attributes,
            { context in
                let lane = Unmanaged<Lane>.fromOpaque(context!).takeRetainedValue()
                WorkerThread.nameThis(lane.name)
                lane.run()
                return nil
            }, context)
        precondition(result == 0, "the system can give a thread")
        pthread_attr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(wake)
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
        wake.deallocate()
    }

    func submit(_ job: @escaping @Sendable () -> Void) {
        pthread_mutex_lock(mutex)
        jobs.append(job)
        pthread_cond_signal(wake)
        pthread_mutex_unlock(mutex)
    }

    /// Runs `job` at `nanoseconds` of the monotonic clock.
    func submit(at nanoseconds: UInt64, _ job: @escaping @Sendable () -> Void) {
        pthread_mutex_lock(mutex)
        timers.insert(at: nanoseconds, job)
        pthread_cond_signal(wake)
        pthread_mutex_unlock(mutex)
    }

    /// Ends the thread once the jobs that are there have run.
    func close() {
        pthread_mutex_lock(mutex)
        closed = true
        pthread_cond_signal(wake)
        pthread_mutex_unlock(mutex)
    }

    private func run() {
        while true {
            pthread_mutex_lock(mutex)
            while jobs.isEmpty {
                let now = Lane.now()
                if let job = timers.removeFirst(until: now) {
                    jobs.append(job)
                } else if closed {
                    pthread_mutex_unlock(mutex)
                    return
                } else if let next = timers.first {
                    var until = timespec(tv_sec: Int(next / 1_000_000_000), tv_nsec: Int(next % 1_000_000_000))
                    pthread_cond_timedwait(wake, mutex, &until)
                } else {
                    pthread_cond_wait(wake, mutex)
                }
            }
            // Timers that are due go in with the jobs, so that a stream of jobs can't hold them up.
            let now = Lane.now()
            while let job = timers.removeFirst(until: now) { jobs.append(job) }
            let taken = jobs
            jobs = []
            pthread_mutex_unlock(mutex)
            for job in taken { job() }
        }
    }

    /// Nanoseconds of the monotonic clock.
    static func now() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}

/// A binary heap of jobs by time, those of equal time in the order they came.
private struct TimerHeap {
    private struct Entry {
        var time: UInt64
        var order: UInt64
        var job: @Sendable () -> Void

        static func < (a: Entry, b: Entry) -> Bool { (a.time, a.order) < (b.time, b.order) }
    }

    private var entries: [Entry] = []
    private var count: UInt64 = 0

    var first: UInt64? { entries.first?.time }

    mutating func insert(at time: UInt64, _ job: @escaping @Sendable () -> Void) {
        count += 1
        entries.append(Entry(time: time, order: count, job: job))
        var child = entries.count - 1
        while child > 0, entries[child] < entries[(child - 1) / 2] {
            entries.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    mutating func removeFirst(until time: UInt64) -> (@Sendable () -> Void)? {
        guard let first = entries.first, first.time <= time else { return nil }
        let last = entries.removeLast()
        guard !entries.isEmpty else { return first.job }
        entries[0] = last
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < entries.count && entries[child] < entries[least]
            {
                least = child
            }
            if least == parent { return first.job }
            entries.swapAt(parent, least)
            parent = least
        }
    }
}
