// SPDX-License-Identifier: Apache-2.0

package import Events
import Hummingbird
import HummingbirdCore
import HummingbirdTLS
import NIOSSL

/// The server's certificate and key, read and matched at start.
package struct TLSCredentials: Sendable {
    private let configuration: TLSConfiguration

    /// Reads PEM files; the certificate's may hold its whole chain, the server's own first.
    ///
    /// - Throws: `.malformed` where a file can't be read, or the two don't belong together.
    package init(certificate: String, key: String) throws(Failure) {
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
        configuration = .makeServerConfiguration(
            certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(privateKey))
        do {
            _ = try NIOSSLContext(configuration: configuration)
        } catch {
            throw Failure(.malformed, "the key \(key) isn't that of the certificate \(certificate): \(error)")
        }
    }

    func server(around plain: HTTPServerBuilder) -> HTTPServerBuilder {
        do {
            return try .tls(plain, tlsConfiguration: configuration)
        } catch {
            // A context was made of this configuration before.
            preconditionFailure("TLS credentials went bad: \(error)")
        }
    }
}
