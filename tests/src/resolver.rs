//! A resolver that answers as a test says, or does not.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::HostNetwork;

const PORT: u16 = 53;

/// Answers on port 53 of an address in a namespace until it is dropped.
pub struct FakeResolver {
    ended: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
}

impl FakeResolver {
    /// `answer` gets a question and whether it came over a connection, and says what is sent.
    #[track_caller]
    pub fn start(
        network: &HostNetwork,
        ip: &str,
        answer: impl Fn(&[u8], bool) -> Vec<Vec<u8>> + Send + Sync + 'static,
    ) -> FakeResolver {
        let ip: IpAddr = ip.parse().expect("an address");
        let at = SocketAddr::new(ip, PORT);
        let bound = network.within(|| Ok((UdpSocket::bind(at)?, TcpListener::bind(at)?)));
        let (datagrams, listener): (UdpSocket, TcpListener) =
            bound.unwrap_or_else(|e: std::io::Error| panic!("a socket at {at}: {e}"));
        let ended = Arc::new(AtomicBool::new(false));
        let asked = Arc::new(AtomicUsize::new(0));
        let answer = Arc::new(answer);
        let poll = Some(Duration::from_millis(20));
        datagrams.set_read_timeout(poll).expect("a timeout");
        listener.set_nonblocking(true).expect("a listener");
        let by_datagram = {
            let (ended, asked, answer) = (ended.clone(), asked.clone(), answer.clone());
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while !ended.load(Ordering::Relaxed) {
                    let Ok((length, from)) = datagrams.recv_from(&mut buffer) else {
                        continue;
                    };
                    asked.fetch_add(1, Ordering::Relaxed);
                    for message in answer(&buffer[..length], false) {
                        let _ = datagrams.send_to(&message, from);
                    }
                }
            })
        };
        let by_connection = {
            let ended = ended.clone();
            std::thread::spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    match listener.accept() {
                        Ok((stream, _)) => {
                            let _ = stream.set_nonblocking(false);
                            let _ = answer_one(stream, answer.as_ref());
                        }
                        Err(_) => std::thread::park_timeout(Duration::from_millis(5)),
                    }
                }
            })
        };
        FakeResolver {
            ended,
            asked,
            threads: vec![by_datagram, by_connection],
        }
    }

    /// How many datagrams have come.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Drop for FakeResolver {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn answer_one(
    mut stream: std::net::TcpStream,
    answer: &impl Fn(&[u8], bool) -> Vec<Vec<u8>>,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut question)?;
    for message in answer(&question, true) {
        let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
        stream.write_all(&length.to_be_bytes())?;
        stream.write_all(&message)?;
    }
    Ok(())
}

/// An answer to a question: a code, and these addresses.
pub fn reply(question: &[u8], rcode: u8, addresses: &[Ipv4Addr]) -> Vec<u8> {
    let mut end = 12;
    while question[end] != 0 {
        end += 1 + usize::from(question[end]);
    }
    let mut message = question[..end + 5].to_vec();
    message[2..4].copy_from_slice(&[0x81, 0x80 | rcode]);
    let count = u16::try_from(addresses.len()).unwrap_or(0);
    message[4..12].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
    message[6..8].copy_from_slice(&count.to_be_bytes());
    for address in addresses {
        message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        message.extend(address.octets());
    }
    message
}
