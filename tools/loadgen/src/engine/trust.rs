//! Whose certificate devices accept at `wss://`, and what is told when they do not.

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Whom devices believe.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// The authorities that browsers believe.
    #[default]
    Public,
    /// Those in a PEM file, and no others.
    Authorities(PathBuf),
    /// Anybody: a certificate that signed itself, one for another name, one that is out of date.
    Anybody,
}

/// TLS to one server.
#[derive(Clone, Debug)]
pub struct Tls {
    /// What all devices have in common.
    config: Arc<ClientConfig>,
    /// Who the certificate must be for.
    pub name: ServerName<'static>,
}

/// Sessions that a device keeps: rustls keeps them in eights.
const SESSIONS: usize = 8;

/// The server hung up in the middle of a handshake.
pub const HUNG_UP: &str = "the server hung up during the TLS handshake: it may speak no TLS, then use ws://";

/// It said nothing in it.
pub const SILENT: &str = "no answer to the TLS handshake: the server may speak no TLS, then use ws://";

impl Tls {
    /// To a server of this name (an address is one, too).
    pub fn new(name: &str, trust: &Trust) -> Result<Tls, String> {
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(bare.to_owned()).map_err(|_| format!("no certificate can be for {name}"))?;
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone());
        let builder = builder.with_safe_default_protocol_versions().map_err(|e| e.to_string())?;
        let config = match trust {
            Trust::Public => builder
                .with_root_certificates(webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect::<RootCertStore>()),
            Trust::Authorities(file) => builder.with_root_certificates(authorities(file)?),
            Trust::Anybody => builder.dangerous().with_custom_certificate_verifier(Arc::new(Credulous(provider))),
        };
        Ok(Tls { config: Arc::new(config.with_no_client_auth()), name })
    }

    /// For one device: what it resumes must be its own session, never that of another who came before.
    pub fn of_device(&self) -> Arc<ClientConfig> {
        let mut config = ClientConfig::clone(&self.config);
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        Arc::new(config)
    }
}

fn authorities(file: &Path) -> Result<RootCertStore, String> {
    let fault = |what: String| format!("{}: {what}", file.display());
    let all = CertificateDer::pem_file_iter(file).and_then(|all| all.collect::<Result<Vec<_>, _>>());
    let all = all.map_err(|e| fault(format!("no certificate can be read: {e}")))?;
    if all.is_empty() {
        return Err(fault("holds no certificate".to_owned()));
    }
    let mut store = RootCertStore::empty();
    for certificate in all {
        store.add(certificate).map_err(|e| fault(format!("not the certificate of an authority: {e}")))?;
    }
    Ok(store)
}

/// Why TLS failed, and what to do.
pub fn told(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(why) => format!(
            "the certificate is not accepted: {}; --ca FILE names its authority, --insecure accepts any",
            fault(why)
        ),
        Error::InvalidMessage(_) => "what the server sent is no TLS: if it speaks none, use ws://".to_owned(),
        error => format!("TLS: {error}"),
    }
}

/// What is wrong with a certificate, where rustls has but a name for it.
fn fault(why: &CertificateError) -> String {
    match why {
        CertificateError::UnknownIssuer => "nobody who is believed has signed it".to_owned(),
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "it is an authority's, or signed itself".to_owned()
        }
        why => why.to_string(),
    }
}

/// Believes any certificate; that the server has its key is checked all the same, as that costs what it costs devices.
#[derive(Debug)]
struct Credulous(Arc<CryptoProvider>);

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_authorities_is_named() {
        let trust = |file: &str| Trust::Authorities(Path::new(env!("CARGO_MANIFEST_DIR")).join(file));
        for wrong in ["nowhere.pem", "Cargo.toml", "../../tests/data/tls/server-key.pem"] {
            assert!(Tls::new("localhost", &trust(wrong)).unwrap_err().contains(wrong), "{wrong}");
        }
        assert!(Tls::new("localhost", &trust("../../tests/data/tls/authority.pem")).is_ok());
    }

    #[test]
    fn a_certificate_that_is_not_accepted_is_told_in_words() {
        let told = |why| told(&Error::InvalidCertificate(why));
        assert!(told(CertificateError::UnknownIssuer).contains("nobody who is believed has signed it; --ca FILE"));
        assert!(told(CertificateError::Expired).contains("--insecure accepts any"));
        assert!(super::told(&Error::InvalidMessage(rustls::InvalidMessage::InvalidCcs)).contains("use ws://"));
    }

    #[test]
    fn names_and_addresses_can_be_certified() {
        for name in ["example.org", "127.0.0.1", "[::1]"] {
            assert!(Tls::new(name, &Trust::Public).is_ok(), "{name}");
        }
        assert!(Tls::new("a b", &Trust::Public).unwrap_err().contains("a b"));
    }
}
