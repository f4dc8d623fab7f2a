use super::*;
use crate::audio::block::Speech;
use crate::format::Lang;
use crate::job::Recognise;
use crate::limits;
use crate::providers::Recogniser;
use crate::providers::openai::asr::{AsrConfig, OpenAiAsr};
use crate::resilience::fault::{Cause, Fault};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

const AUTHORITY: &[u8] = include_bytes!("../../../../tests/data/tls/authority.pem");
const CERTIFICATE: &[u8] = include_bytes!("../../../../tests/data/tls/server.pem");
const KEY: &[u8] = include_bytes!("../../../../tests/data/tls/server-key.pem");

/// A server that answers each request on its first connection with the next text, over TLS.
fn serve(texts: Vec<&'static str>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let chain = vec![CertificateDer::from_pem_slice(CERTIFICATE).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let config = Arc::new(builder.with_single_cert(chain, key).unwrap());
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut line = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
        for text in texts {
            // The form's last line is its closing boundary.
            let mut got = Vec::new();
            let mut piece = [0; 4_096];
            while !got.ends_with(b"--\r\n") {
                match line.read(&mut piece) {
                    Ok(n) if n > 0 => got.extend_from_slice(&piece[..n]),
                    _ => return,
                }
            }
            let body = format!("{{\"text\":\"{text}\"}}");
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            if line.write_all([head, body].concat().as_bytes()).and_then(|()| line.flush()).is_err() {
                return;
            }
        }
    });
    port
}

fn asr(authorities: Option<&[u8]>, base_url: String) -> OpenAiAsr {
    let authorities = authorities.map(<[u8]>::to_vec);
    let client = HttpClient::new(&HttpConfig { authorities, ..HttpConfig::default() }).unwrap();
    let service = Service { client, base_url, model: "m-1".to_owned(), api_key: None };
    OpenAiAsr::new(AsrConfig { service, language: None, language_unknown: None, verbose: false }).unwrap()
}

fn hear(asr: &mut OpenAiAsr, call: &Call) -> Result<String, Fault> {
    asr.recognise(Speech::Samples(&[100; 4_800]), &Recognise { language: None, hint: Lang::EN }, call).map(|t| t.text)
}

#[test]
fn a_service_of_ones_own_is_trusted_by_its_authority_on_a_small_stack() {
    let port = serve(vec!["one", "two"]);
    let mut asr = asr(Some(AUTHORITY), format!("https://localhost:{port}/v1"));
    // A handshake needs the most stack of all that a pool thread does.
    let worker = std::thread::Builder::new().stack_size(limits::POOL_STACK_BYTES);
    let worker = worker.spawn(move || [hear(&mut asr, &call(LONG)), hear(&mut asr, &call(LONG))]).unwrap();
    assert_eq!(worker.join().unwrap(), [Ok("one".to_owned()), Ok("two".to_owned())]);
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_refused_for_good() {
    let port = serve(vec!["one"]);
    let mut asr = asr(None, format!("https://127.0.0.1:{port}/v1"));
    assert_eq!(hear(&mut asr, &call(LONG)), Err(Fault::new(Cause::Refused, "certificate not accepted")));
}

#[test]
fn a_handshake_that_hangs_ends_at_the_deadline_or_by_a_cancel() {
    // The stub does not speak TLS: it takes the greeting for the beginning of a request and waits for the rest.
    let stub = Stub::new(vec![]);
    let url = stub.url().replace("http:", "https:");
    let mut asr = asr(None, url);
    assert_eq!(hear(&mut asr, &call(SHORT)).map_err(|f| f.cause), Err(Cause::Timeout));
    let call = call(LONG);
    let cancel = call.cancel.clone();
    let worker = std::thread::spawn(move || hear(&mut asr, &call));
    while stub.connections() < 2 {
        std::thread::yield_now();
    }
    cancel.cancel();
    assert_eq!(worker.join().unwrap(), Err(Fault::cancelled()));
}

#[test]
fn what_is_no_tls_is_no_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        let _ = stream.read(&mut [0; 512]);
    });
    let mut asr = asr(None, format!("https://127.0.0.1:{port}/v1"));
    assert_eq!(hear(&mut asr, &call(LONG)).map_err(|f| f.cause), Err(Cause::Unavailable));
}

#[test]
fn a_damaged_authority_is_refused_at_start() {
    for pem in [b"".as_slice(), b"no pem", &AUTHORITY[..200], KEY] {
        let config = HttpConfig { authorities: Some(pem.to_vec()), ..HttpConfig::default() };
        assert_eq!(HttpClient::new(&config).map_err(|f| f.cause).err(), Some(Cause::Refused));
    }
}
