//! A run of tests in the middle of one, for the test that kills it.

#![forbid(unsafe_code)]

use std::io::Read;

use sampan_tests::{HostNetwork, TestEnvironment};

fn main() {
    let _network = HostNetwork::new();
    let env = TestEnvironment::on_disk("ext4", 64 << 20);
    let name = std::env::args().nth(1).expect("a container's name");
    env.small_guest(&name);
    let _events = env.background(&["events"]);
    println!("{}", env.scratch().display());
    // Until it is killed, or the test that wants to do so has ended.
    let _ = std::io::stdin().read(&mut [0]);
}
