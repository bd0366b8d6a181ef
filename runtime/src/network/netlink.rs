//! rtnetlink(7): links, addresses and routes of one network namespace.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sched::{CloneFlags, setns};
use nix::sys::time::TimeSpec;

/// A socket in one network namespace, for as long as it is open.
pub(crate) struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    /// In the namespace of this thread.
    pub(crate) fn here() -> io::Result<Netlink> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Netlink {
            socket,
            sequence: 0,
        })
    }

    /// In another namespace (a descriptor of `/proc/PID/ns/net`). This thread goes there and comes
    /// back.
    pub(crate) fn inside(namespace: BorrowedFd<'_>) -> io::Result<Netlink> {
        let home = std::fs::File::open("/proc/thread-self/ns/net")?;
        setns(namespace, CloneFlags::CLONE_NEWNET)?;
        let opened = Netlink::here();
        setns(home.as_fd(), CloneFlags::CLONE_NEWNET)?;
        opened
    }

    /// Makes something that must not exist yet.
    pub(crate) fn create(&mut self, message: RouteNetlinkMessage) -> io::Result<()> {
        self.acknowledged(message, NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Changes or removes something.
    pub(crate) fn change(&mut self, message: RouteNetlinkMessage) -> io::Result<()> {
        self.acknowledged(message, 0)
    }

    /// The answers to a question about one thing.
    pub(crate) fn get(
        &mut self,
        message: RouteNetlinkMessage,
    ) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.send(message, NLM_F_ACK)?;
        self.receive()
    }

    /// All things of one sort.
    pub(crate) fn dump(
        &mut self,
        message: RouteNetlinkMessage,
    ) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.send(message, NLM_F_DUMP)?;
        self.receive()
    }

    fn acknowledged(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.send(message, flags | NLM_F_ACK)?;
        self.receive().map(drop)
    }

    fn send(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0).map(drop)
    }

    /// What comes until the acknowledgement or the end of a list.
    fn receive(&mut self) -> io::Result<Vec<RouteNetlinkMessage>> {
        let mut answers = Vec::new();
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            let mut rest = &datagram[..];
            while !rest.is_empty() {
                let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                    .map_err(|error| io::Error::other(error.to_string()))?;
                // Every message begins at a multiple of four bytes (NLMSG_ALIGN).
                let length = (message.header.length as usize).next_multiple_of(4);
                rest = rest.get(length..).unwrap_or_default();
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                match message.payload {
                    NetlinkPayload::Error(error) if error.code.is_none() => return Ok(answers),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    NetlinkPayload::Done(_) => return Ok(answers),
                    NetlinkPayload::InnerMessage(inner) => answers.push(inner),
                    _ => {}
                }
            }
        }
    }
}

/// What the kernel tells of some of its things, from now on.
pub(crate) struct News(Socket);

/// linux/rtnetlink.h.
const RTMGRP_LINK: u32 = 1;
const RTMGRP_NEIGH: u32 = 4;

impl News {
    /// Of links, in the namespace of this thread.
    pub(crate) fn of_links() -> io::Result<News> {
        News::of(RTMGRP_LINK)
    }

    /// The same of neighbours.
    pub(crate) fn of_neighbours() -> io::Result<News> {
        News::of(RTMGRP_NEIGH)
    }

    fn of(groups: u32) -> io::Result<News> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, groups))?;
        socket.set_non_blocking(true)?;
        Ok(News(socket))
    }

    /// Waits until something is told, or until `end`. What it is can be asked.
    pub(crate) fn wait(&mut self, end: Instant) -> io::Result<()> {
        let left = TimeSpec::from(end.saturating_duration_since(Instant::now()));
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        match ppoll(&mut fds, Some(left), None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
        // Also an error says that something was told: more than there was room for.
        while self.0.recv_from_full().is_ok() {}
        Ok(())
    }
}
