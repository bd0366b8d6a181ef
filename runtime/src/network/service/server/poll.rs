//! What the server waits for.

use std::io;
use std::os::fd::AsFd;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::slots::Key;

/// Whose event it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The supervisor.
    Supervisor,
    /// A socket for questions in datagrams, by its number.
    Datagrams(u32),
    /// A socket for connections.
    Listener(u32),
    Dhcp,
    /// A client's connection.
    Connection(Key),
    /// A question to another resolver.
    Exchange(Key),
}

impl Source {
    fn to_data(self) -> u64 {
        let (kind, low, high) = match self {
            Source::Supervisor => (0, 0, 0),
            Source::Datagrams(number) => (1, number, 0),
            Source::Listener(number) => (2, number, 0),
            Source::Dhcp => (3, 0, 0),
            Source::Connection(key) => (4, key.place, key.generation),
            Source::Exchange(key) => (5, key.place, key.generation),
        };
        u64::from(low) | u64::from(high & 0x00ff_ffff) << 32 | kind << 56
    }

    fn of_data(data: u64) -> Source {
        let number = data as u32;
        let key = Key {
            place: number,
            generation: (data >> 32) as u32 & 0x00ff_ffff,
        };
        match data >> 56 {
            0 => Source::Supervisor,
            1 => Source::Datagrams(number),
            2 => Source::Listener(number),
            3 => Source::Dhcp,
            4 => Source::Connection(key),
            _ => Source::Exchange(key),
        }
    }
}

/// What a source is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interest {
    Read,
    Write,
    /// Only its end.
    End,
}

impl Interest {
    fn flags(self) -> EpollFlags {
        match self {
            Interest::Read => EpollFlags::EPOLLIN,
            Interest::Write => EpollFlags::EPOLLOUT,
            // Errors and hang-ups are always told.
            Interest::End => EpollFlags::empty(),
        }
    }
}

pub(super) struct Poll {
    epoll: Epoll,
}

impl Poll {
    pub(super) fn new() -> io::Result<Poll> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Poll { epoll })
    }

    pub(super) fn add(&self, fd: impl AsFd, source: Source, interest: Interest) -> io::Result<()> {
        let event = EpollEvent::new(interest.flags(), source.to_data());
        Ok(self.epoll.add(fd, event)?)
    }

    pub(super) fn change(
        &self,
        fd: impl AsFd,
        source: Source,
        interest: Interest,
    ) -> io::Result<()> {
        let mut event = EpollEvent::new(interest.flags(), source.to_data());
        Ok(self.epoll.modify(fd, &mut event)?)
    }

    /// Waits for at most this long, in milliseconds; for ever without.
    pub(super) fn wait(&self, limit: Option<u32>, into: &mut Vec<Source>) -> io::Result<()> {
        into.clear();
        let timeout = match limit {
            None => EpollTimeout::NONE,
            Some(limit) => EpollTimeout::try_from(limit).unwrap_or(EpollTimeout::MAX),
        };
        let mut events = [EpollEvent::empty(); 64];
        let count = match self.epoll.wait(&mut events, timeout) {
            Ok(count) => count,
            Err(nix::errno::Errno::EINTR) => 0,
            Err(e) => return Err(e.into()),
        };
        into.extend(events[..count].iter().map(|e| Source::of_data(e.data())));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_tells_its_source() {
        let key = Key {
            place: 0xffff_fffe,
            generation: 0x00ab_cdef,
        };
        for source in [
            Source::Supervisor,
            Source::Datagrams(3),
            Source::Listener(2),
            Source::Dhcp,
            Source::Connection(key),
            Source::Exchange(key),
        ] {
            assert_eq!(Source::of_data(source.to_data()), source);
        }
    }
}
