//! One question to one other resolver.
//!
//! Each has a socket of its own, whose port the kernel chooses at random, and which takes messages
//! from that resolver only: who wants to forge an answer has to guess the port and the id.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, SockaddrStorage, connect, send, socket,
};

use super::poll::Interest;

/// The largest message there is.
const LARGEST: usize = 65_535;

pub(super) enum Exchange {
    Datagram(UdpSocket),
    Stream {
        stream: TcpStream,
        /// With its length in front.
        question: Vec<u8>,
        sent: usize,
        answer: Vec<u8>,
    },
}

impl Exchange {
    /// Asks in a datagram.
    pub(super) fn datagram(resolver: SocketAddr, question: &[u8]) -> io::Result<Exchange> {
        let socket = open(resolver, SockType::Datagram)?;
        connect(socket.as_raw_fd(), &SockaddrStorage::from(resolver))?;
        send(socket.as_raw_fd(), question, MsgFlags::empty())?;
        Ok(Exchange::Datagram(socket.into()))
    }

    /// Begins to ask over a connection.
    pub(super) fn stream(resolver: SocketAddr, question: &[u8]) -> io::Result<Exchange> {
        let socket = open(resolver, SockType::Stream)?;
        match connect(socket.as_raw_fd(), &SockaddrStorage::from(resolver)) {
            Ok(()) | Err(Errno::EINPROGRESS) => {}
            Err(e) => return Err(e.into()),
        }
        Ok(Exchange::Stream {
            stream: socket.into(),
            question: framed(question),
            sent: 0,
            answer: Vec::new(),
        })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Exchange::Datagram(socket) => socket.as_fd(),
            Exchange::Stream { stream, .. } => stream.as_fd(),
        }
    }

    pub(super) fn interest(&self) -> Interest {
        match self {
            Exchange::Stream { sent, question, .. } if *sent < question.len() => Interest::Write,
            _ => Interest::Read,
        }
    }

    /// Goes on; returns whether a message has come, which is in the buffer then. `WouldBlock`:
    /// nothing more for now.
    pub(super) fn advance(&mut self, buffer: &mut Vec<u8>) -> io::Result<()> {
        buffer.clear();
        match self {
            Exchange::Datagram(socket) => {
                buffer.resize(LARGEST, 0);
                let length = socket.recv(buffer)?;
                buffer.truncate(length);
                Ok(())
            }
            Exchange::Stream {
                stream,
                question,
                sent,
                answer,
            } => {
                while *sent < question.len() {
                    *sent += stream.write(&question[*sent..])?;
                }
                while missing(answer) > 0 {
                    let before = answer.len();
                    answer.resize(before + missing(answer), 0);
                    let read = stream.read(&mut answer[before..]);
                    answer.truncate(before + read.as_ref().map_or(0, |count| *count));
                    if read? == 0 {
                        return Err(ErrorKind::UnexpectedEof.into());
                    }
                }
                buffer.extend(&answer[2..]);
                Ok(())
            }
        }
    }
}

/// How many bytes a message in a stream lacks at least; 0 for a whole one.
pub(super) fn missing(framed: &[u8]) -> usize {
    match framed {
        [high, low, rest @ ..] => {
            usize::from(u16::from_be_bytes([*high, *low])).saturating_sub(rest.len())
        }
        short => 2 - short.len(),
    }
}

/// A message as it stands in a stream.
pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    // Longer ones are not made, nor received.
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend(&message[..usize::from(length)]);
    framed
}

fn open(resolver: SocketAddr, kind: SockType) -> io::Result<std::os::fd::OwnedFd> {
    let family = match resolver {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(socket(family, kind, flags, None)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_in_a_stream_is_whole_when_nothing_is_missing() {
        let whole = framed(b"abc");
        assert_eq!(missing(&[]), 2);
        assert_eq!(missing(&whole[..1]), 1);
        assert_eq!(missing(&whole[..2]), 3);
        assert_eq!(missing(&whole[..4]), 1);
        assert_eq!(missing(&whole), 0);
    }
}
