// SPDX-License-Identifier: Apache-2.0

#if canImport(Glibc)
    import Glibc
#endif

/// A thread of our own, for work that blocks: fsync, SQLite, Lua.
package final class WorkerThread: @unchecked Sendable {
    // Checked by hand: set once in `init`.
    private var thread = pthread_t()

    private final class Start {
        let name: String
        let body: @Sendable () -> Void

        init(name: String, body: @escaping @Sendable () -> Void) {
            self.name = name
            self.body = body
        }
    }

    /// `name` is what `top -H` shows; Linux keeps 15 bytes of it.
    package init(name: String, _ body: @escaping @Sendable () -> Void) {
        let start = Unmanaged.passRetained(Start(name: name, body: body))
        let failure = pthread_create(
            &thread, nil,
            { argument in
                let start = Unmanaged<Start>.fromOpaque(argument!).takeRetainedValue()
                WorkerThread.nameThis(start.name)
                start.body()
                return nil
            }, start.toOpaque())
        precondition(failure == 0, "a thread can be started (\(String(cString: strerror(failure))))")
    }

    /// Waits until the body has returned; at most once.
    package func join() {
        pthread_join(thread, nil)
    }

    /// What `top -H` shows for the thread that calls this; without a name of its own it has its creator's.
    package static func nameThis(_ name: String) {
        let file = open("/proc/thread-self/comm", O_WRONLY | O_CLOEXEC)
        guard file >= 0 else { return }
        _ = Array(name.utf8.prefix(15)).withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
        close(file)
    }
}
