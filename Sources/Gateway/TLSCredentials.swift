// SPDX-License-Identifier: Apache-2.0

package import Events
import NIOSSL
import Synchronization

/// The server's certificate and key. A reload reads them anew: connections that begin from then on get the new ones, and
/// those that are open go on with the old.
package final class TLSCredentials: Sendable {
    /// A pair that was read and matched.
    package struct Pair: Sendable {
        fileprivate let context: NIOSSLContext
        fileprivate let chain: [NIOSSLCertificate]
    }

    private let certificate: String
    private let key: String
    private let current: Mutex<Pair>

    /// Reads PEM files; the certificate's may hold its whole chain, the server's own first.
    ///
    /// - Throws: `.malformed` where a file can't be read, or the two don't belong together.
    package init(certificate: String, key: String) throws(Failure) {
        self.certificate = certificate
        self.key = key
        current = Mutex(try Self.read(certificate, key))
    }

    var context: NIOSSLContext { current.withLock { $0.context } }

    /// The files as they are now, for ``use(_:)``. Reads from disk.
    package func read() throws(Failure) -> Pair { try Self.read(certificate, key) }

    /// - Returns: whether the certificates are others than before.
    package func use(_ pair: Pair) -> Bool {
        current.withLock { current in
            defer { current = pair }
            return current.chain != pair.chain
        }
    }

    private static func read(_ certificate: String, _ key: String) throws(Failure) -> Pair {
        let chain: [NIOSSLCertificate]
        do {
            chain = try NIOSSLCertificate.fromPEMFile(certificate)
        } catch {
            throw Failure(.malformed, "the certificate \(certificate) can't be read as PEM: \(error)")
        }
        guard !chain.isEmpty else { throw Failure(.malformed, "there is no certificate in \(certificate)") }
        let privateKey: NIOSSLPrivateKey
        do {
            privateKey = try NIOSSLPrivateKey(file: key, format: .pem)
        } catch {
            throw Failure(.malformed, "the key \(key) can't be read as PEM: \(error)")
        }
        let configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(privateKey))
        do {
            return Pair(context: try NIOSSLContext(configuration: configuration), chain: chain)
        } catch {
            throw Failure(.malformed, "the key \(key) isn't that of the certificate \(certificate): \(error)")
        }
    }
}
