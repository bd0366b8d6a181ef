//! How many questions a resolver answers: this program once more, in the namespace of the bench.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

/// The first argument of this program as the one who asks.
pub const WORD: &str = "ask";

/// How many questions wait for their answer at a time.
const WINDOW: u16 = 32;

/// How long it asks.
const TIME: Duration = Duration::from_secs(1);

/// Asks ADDRESS for the address of NAME, and prints how many answers came per second.
///
/// # Panics
/// Without an answer for a second, or with one that is not ADDRESS_OF_NAME.
pub fn ask(arguments: &[String]) {
    let [server, name, expected] = arguments else {
        panic!("ask ADDRESS NAME ADDRESS_OF_NAME");
    };
    let server: Ipv4Addr = server.parse().expect("an address");
    let expected: Ipv4Addr = expected.parse().expect("an address");
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    socket
        .connect(SocketAddr::from((server, 53)))
        .expect("the server's address");
    socket
        .set_read_timeout(Some(Duration::from_secs(1)))
        .expect("a timeout");
    let mut question = question(name);
    let mut send = |id: u16| {
        question[..2].copy_from_slice(&id.to_be_bytes());
        socket.send(&question).expect("a question sent");
    };
    (0..WINDOW).for_each(&mut send);
    let mut answer = [0; 512];
    let mut answered = 0_u32;
    let begun = Instant::now();
    while begun.elapsed() < TIME {
        let length = socket.recv(&mut answer).expect("an answer");
        let answer = &answer[..length];
        assert!(
            answer.len() > 12 && answer[3] & 0xf == 0 && answer.ends_with_address(expected),
            "not {expected}: {answer:?}"
        );
        answered += 1;
        send(u16::from_be_bytes([answer[0], answer[1]]).wrapping_add(WINDOW));
    }
    println!("{}", f64::from(answered) / begun.elapsed().as_secs_f64());
}

/// A question for an A record (RFC 1035, 4.1), its id still to be set.
fn question(name: &str) -> Vec<u8> {
    let mut bytes = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).expect("a label"));
        bytes.extend(label.as_bytes());
    }
    bytes.extend([0, 0, 1, 0, 1]);
    bytes
}

/// The answer's last record, where no other follows.
trait Address {
    fn ends_with_address(&self, address: Ipv4Addr) -> bool;
}

impl Address for [u8] {
    fn ends_with_address(&self, address: Ipv4Addr) -> bool {
        self.windows(6)
            .any(|bytes| bytes[..2] == [0, 4] && bytes[2..] == address.octets())
    }
}
