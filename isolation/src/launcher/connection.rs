//! One connection of a node: a buffer in, a buffer out, neither of them without a bound.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use super::protocol::{FRAME_BYTES_MAX, Message, Request, decode, encode};

/// How much is read at a time.
const READ_BYTES: usize = 64 * 1024;
/// How much may wait to be read by the node. One that lets more pile up is cut off; it learns what it missed when it
/// connects again.
const OUT_BYTES_MAX: usize = 2 * FRAME_BYTES_MAX;

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) number: u64,
    stream: UnixStream,
    input: Vec<u8>,
    output: Vec<u8>,
    written: usize,
    /// It has said hello and was welcomed.
    pub(super) welcomed: bool,
    /// It is to be closed once its output is written.
    pub(super) closing: bool,
    /// It is to be dropped.
    pub(super) closed: bool,
}

impl Connection {
    pub(super) fn new(number: u64, stream: UnixStream) -> Self {
        Self {
            number,
            stream,
            input: Vec::new(),
            output: Vec::new(),
            written: 0,
            welcomed: false,
            closing: false,
            closed: false,
        }
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Whether something waits to be written.
    pub(super) fn has_output(&self) -> bool {
        self.written < self.output.len()
    }

    /// Reads what is there and takes the requests out of it. A connection that ends or sends something else than
    /// requests is closed; requests before that are still returned.
    pub(super) fn receive(&mut self) -> Vec<Request> {
        let mut chunk = [0; READ_BYTES];
        let mut requests = Vec::new();
        while !self.closed {
            match self.stream.read(&mut chunk) {
                Ok(0) => self.closed = true,
                Ok(length) => {
                    self.input.extend_from_slice(&chunk[..length]);
                    self.take_requests(&mut requests);
                    // Fewer than asked for: the socket is empty, and poll tells when it is not.
                    if length < chunk.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.closed = true,
            }
        }
        requests
    }

    fn take_requests(&mut self, requests: &mut Vec<Request>) {
        let mut used = 0;
        loop {
            match decode::<Request>(&self.input[used..]) {
                Ok(Some((request, length))) => {
                    used += length;
                    requests.push(request);
                }
                Ok(None) => break,
                Err(_) => {
                    self.closed = true;
                    break;
                }
            }
        }
        self.input.drain(..used);
    }

    /// Writes a message, or as much of it as the socket takes now.
    pub(super) fn send(&mut self, message: &Message) {
        if self.closed {
            return;
        }
        if encode(message, &mut self.output).is_err() || self.output.len() > OUT_BYTES_MAX {
            self.closed = true;
            return;
        }
        self.flush();
    }

    /// Writes what waits, as much as the socket takes now.
    pub(super) fn flush(&mut self) {
        while self.has_output() && !self.closed {
            match self.stream.write(&self.output[self.written..]) {
                Ok(0) => self.closed = true,
                Ok(length) => self.written += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.closed = true,
            }
        }
        self.output.clear();
        self.written = 0;
        self.closed |= self.closing;
    }

    /// Takes a stream on: not blocking, and only from our own user or root.
    pub(super) fn accept(number: u64, stream: UnixStream) -> io::Result<Self> {
        use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
        let peer = getsockopt(&stream, PeerCredentials)?.uid();
        if peer != 0 && peer != nix::unistd::geteuid().as_raw() {
            return Err(ErrorKind::PermissionDenied.into());
        }
        stream.set_nonblocking(true)?;
        Ok(Self::new(number, stream))
    }
}
