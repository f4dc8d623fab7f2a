//! What a device's bytes travel on: a socket, or TLS over one. Never waits.

use super::trust;
use mio::net::TcpStream;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind};
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

/// A device's connection.
#[derive(Debug)]
pub enum Line {
    /// A socket.
    Plain(TcpStream),
    /// A socket with TLS over it; boxed, so that plain devices stay small.
    Tls(Box<Secure>),
}

/// A socket and the TLS state over it.
#[derive(Debug)]
pub struct Secure {
    socket: TcpStream,
    tls: ClientConnection,
}

/// How far a handshake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// The server has still to say something.
    Going,
    /// Keys are agreed on.
    Done,
}

impl Line {
    /// TLS over a socket that is connected; [`Line::shake_hands`] begins it.
    pub fn secure(self, config: Arc<ClientConfig>, name: ServerName<'static>) -> io::Result<Line> {
        let Line::Plain(socket) = self else { return Ok(self) };
        let tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
        Ok(Line::Tls(Box::new(Secure { socket, tls })))
    }

    /// The socket, to be asked.
    pub fn socket(&self) -> &TcpStream {
        match self {
            Line::Plain(socket) => socket,
            Line::Tls(secure) => &secure.socket,
        }
    }

    /// Goes on with the handshake as far as the socket allows. An error tells the person what to do.
    pub fn shake_hands(&mut self) -> io::Result<Handshake> {
        match self {
            Line::Plain(_) => Ok(Handshake::Done),
            Line::Tls(secure) => secure.shake_hands(),
        }
    }

    /// Whether it went on with the keys of an earlier one.
    pub fn is_resumed(&self) -> bool {
        match self {
            Line::Plain(_) => false,
            Line::Tls(secure) => secure.tls.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }

    /// Reads what is there. Fewer bytes than `into` holds mean that no more are there now; 0 is the end.
    pub fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Line::Plain(socket) => socket.read(into),
            Line::Tls(secure) => secure.read(into),
        }
    }

    /// Writes once, as much as goes now.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Line::Plain(socket) => socket.write(bytes),
            Line::Tls(secure) => secure.write(bytes),
        }
    }

    /// The socket takes bytes again: what TLS holds back goes out. `WouldBlock` if some remains.
    pub fn push_out(&mut self) -> io::Result<()> {
        match self {
            Line::Plain(_) => Ok(()),
            Line::Tls(secure) => secure.push_out(),
        }
    }
}

impl Secure {
    fn shake_hands(&mut self) -> io::Result<Handshake> {
        self.go_on().map_err(|e| match e.kind() {
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
                io::Error::new(e.kind(), trust::HUNG_UP)
            }
            _ => e,
        })
    }

    fn go_on(&mut self) -> io::Result<Handshake> {
        loop {
            self.push_what_goes()?;
            if !self.tls.is_handshaking() {
                return Ok(Handshake::Done);
            }
            match self.take_in() {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(Handshake::Going),
                Err(e) => return Err(e),
            }
        }
    }

    /// Reads from the socket once, and answers what is to be answered.
    fn take_in(&mut self) -> io::Result<usize> {
        let Secure { socket, tls } = self;
        let n = uninterrupted(|| tls.read_tls(&mut *socket))?;
        let state = tls.process_new_packets();
        // Answers and alerts leave at once; an alert that cannot leave matters less than why it was to.
        let sent = self.push_what_goes();
        state.map_err(|e| io::Error::new(ErrorKind::InvalidData, trust::told(&e)))?;
        sent.map(|()| n)
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut got = 0;
        loop {
            match self.tls.reader().read(&mut into[got..]) {
                Ok(0) => return Ok(got),
                Ok(n) => got += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                // Cut without TLS's own goodbye.
                Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(got),
                Err(e) => return Err(e),
            }
            if got == into.len() {
                return Ok(got);
            }
            match self.take_in() {
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock && got > 0 => return Ok(got),
                Err(e) => return Err(e),
            }
        }
    }

    /// Encrypts and writes; `WouldBlock` while an earlier record has not left, so that at most one write waits inside.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push_out()?;
        let n = self.tls.writer().write(bytes)?;
        self.push_what_goes().map(|()| n)
    }

    fn push_out(&mut self) -> io::Result<()> {
        let Secure { socket, tls } = self;
        while tls.wants_write() {
            uninterrupted(|| tls.write_tls(&mut *socket))?;
        }
        Ok(())
    }

    /// What does not go waits for the next time that the socket is writable.
    fn push_what_goes(&mut self) -> io::Result<()> {
        match self.push_out() {
            Err(e) if e.kind() != ErrorKind::WouldBlock => Err(e),
            _ => Ok(()),
        }
    }
}

/// Again while a signal came between.
fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}
