//! TLS on a device's socket, without a thread: rustls works on bytes, we carry them.

use super::stream::uninterrupted;
use crate::metrics::calls::{Call, made};
use mio::net::TcpStream;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};
use std::fmt;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Plain text per write: one TLS record, so that at most one waits inside rustls and the send queue keeps its meaning.
const RECORD_BYTES: usize = 16 * 1024;

/// A socket and the TLS state over it.
pub struct TlsStream {
    socket: TcpStream,
    tls: ServerConnection,
}

impl TlsStream {
    /// TLS over a fresh socket; the handshake happens as bytes come.
    pub fn new(socket: TcpStream, config: Arc<ServerConfig>) -> Result<TlsStream, rustls::Error> {
        Ok(TlsStream { socket, tls: ServerConnection::new(config)? })
    }

    /// For the reactor.
    pub fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// The socket, to be asked only.
    pub fn get_ref(&self) -> &TcpStream {
        &self.socket
    }

    /// Reads plain text. As a socket's read, with the promise of [`super::Stream::read`]: a short read has emptied the socket.
    pub fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut got = 0;
        loop {
            match self.tls.reader().read(&mut into[got..]) {
                Ok(0) => return Ok(got),
                Ok(n) => got += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                // The peer cut the connection without TLS's own goodbye; devices do.
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(got),
                Err(e) => return Err(e),
            }
            if got == into.len() {
                return Ok(got);
            }
            match uninterrupted(|| {
                made(Call::Read);
                self.tls.read_tls(&mut self.socket)
            }) {
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock && got > 0 => return Ok(got),
                Err(e) => return Err(e),
            }
            let state = self.tls.process_new_packets();
            // Handshake answers and alerts leave at once; what does not fit waits for the next writable.
            let sent = self.push_out();
            state.map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
            match sent {
                Err(e) if e.kind() != io::ErrorKind::WouldBlock => return Err(e),
                _ => {}
            }
        }
    }

    /// Encrypts and writes at most one record; `WouldBlock` while an earlier one has not left.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push_out()?;
        let n = self.tls.writer().write(&bytes[..bytes.len().min(RECORD_BYTES)])?;
        match self.push_out() {
            Err(e) if e.kind() != io::ErrorKind::WouldBlock => Err(e),
            _ => Ok(n),
        }
    }

    /// Writes what rustls holds; `WouldBlock` if some remains.
    pub fn push_out(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            let TlsStream { socket, tls } = self;
            uninterrupted(|| {
                made(Call::Write);
                tls.write_tls(&mut *socket)
            })?;
        }
        Ok(())
    }

    /// Says goodbye in TLS, then in TCP.
    pub fn shutdown(&mut self) {
        self.tls.send_close_notify();
        let _ = self.push_out();
        let _ = self.socket.shutdown(Shutdown::Write);
    }
}

/// Reads certificate chain and key in PEM and makes a server configuration; every failure names its file.
pub fn server_config(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsFault> {
    let fault = |file: &Path, what: String| TlsFault { file: file.to_owned(), what };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(|all| all.collect())
        .map_err(|e| fault(certificate, format!("no certificate can be read: {e}")))?;
    if chain.is_empty() {
        return Err(fault(certificate, "holds no certificate".into()));
    }
    let key_der =
        PrivateKeyDer::from_pem_file(key).map_err(|e| fault(key, format!("no private key can be read: {e}")))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| fault(certificate, e.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key_der)
        .map_err(|e| fault(key, format!("does not fit the certificate: {e}")))?;
    // Tickets that the device keeps, sealed with a key of ours that changes: the usual store here remembers 256 sessions, so that
    // in a storm of reconnects nobody would find his own.
    config.ticketer = rustls::crypto::ring::Ticketer::new().map_err(|e| fault(key, format!("no ticket key: {e}")))?;
    Ok(Arc::new(config))
}

/// Why TLS cannot be offered.
#[derive(Debug)]
pub struct TlsFault {
    /// The file at fault.
    pub file: PathBuf,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.what)
    }
}

impl std::error::Error for TlsFault {}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore};

    #[test]
    fn a_missing_or_foreign_file_is_named() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let missing = server_config(Path::new("no-such.pem"), Path::new("no-such.key")).unwrap_err();
        assert!(missing.to_string().starts_with("no-such.pem: "), "{missing}");
        let foreign = server_config(&here.join("Cargo.toml"), Path::new("no-such.key")).unwrap_err();
        assert!(foreign.to_string().contains("Cargo.toml: "), "{foreign}");
    }

    /// A handshake in memory, with the session's tickets at its end; says whether it was resumed.
    fn handshake(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> bool {
        let mut device = ClientConnection::new(client.clone(), "localhost".try_into().unwrap()).unwrap();
        let mut here = ServerConnection::new(server.clone()).unwrap();
        let mut wire = Vec::new();
        while device.is_handshaking() || here.is_handshaking() || device.wants_write() || here.wants_write() {
            while device.wants_write() {
                device.write_tls(&mut wire).unwrap();
            }
            here.read_tls(&mut wire.as_slice()).unwrap();
            here.process_new_packets().unwrap();
            wire.clear();
            while here.wants_write() {
                here.write_tls(&mut wire).unwrap();
            }
            let mut rest = wire.as_slice();
            while !rest.is_empty() {
                device.read_tls(&mut rest).unwrap();
                device.process_new_packets().unwrap();
            }
            wire.clear();
        }
        here.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    #[test]
    fn a_device_resumes_its_session_however_many_others_came_in_between() {
        let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls");
        let server = server_config(&keys.join("server.pem"), &keys.join("server-key.pem")).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(keys.join("authority.pem")).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let client = || {
            let config = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
            Arc::new(config.unwrap().with_root_certificates(roots.clone()).with_no_client_auth())
        };
        let first = client();
        assert!(!handshake(&first, &server));
        (0..300).for_each(|_| assert!(!handshake(&client(), &server)));
        assert!(handshake(&first, &server));
    }
}
