//! `cargo xtask bench network`: Sampan's network beside LXC's.
//!
//! Both have a bridge in one network namespace that plays the host, the same small guest, and run by
//! turns.

mod questions;
mod world;

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command, time::Instant};

use sampan_tests::{
    HostNetwork,
    comparison::{Goal, Row, Unit, report},
    measure::seconds,
};
use world::{Peer, World, sampan};

/// The first argument of this program in the namespaces that play the host.
const INSIDE: &str = "inside";

/// sysfs shows the interfaces of the namespace in which it was mounted, and LXC looks there.
const ENTER: &str = "mount --rbind /sys/fs/cgroup \"$1\" && mount -t sysfs sysfs /sys && \
    mount --move \"$1\" /sys/fs/cgroup && shift && exec \"$@\"";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [word, rest @ ..] if word == questions::WORD => questions::ask(rest),
        [word, scratch, runs] if word == INSIDE => {
            inside(Path::new(scratch), runs.parse().expect("a number of runs"));
        }
        [] => outside("5"),
        [runs] => outside(runs),
        _ => panic!("bench-network [RUNS]"),
    }
}

/// Prepares what needs the machine's own network, and goes inside.
fn outside(runs: &str) {
    let host = HostNetwork::new();
    let scratch = tempfile::Builder::new()
        .prefix("sampan-bench-")
        .tempdir_in("/var/tmp")
        .expect("a scratch directory");
    let scratch = scratch.path();
    fs::set_permissions(scratch, fs::Permissions::from_mode(0o755)).expect("a mode");
    run(sampan(scratch, &["image", "build", "-t", "busybox"]));
    let aside = scratch.join("cgroup");
    fs::create_dir(&aside).expect("a place to mount on");
    let mut command = Command::new("/usr/bin/unshare");
    command
        .args(["--mount", "sh", "-c", ENTER, "sh"])
        .arg(&aside)
        .arg(std::env::current_exe().expect("this program"))
        .arg(INSIDE)
        .arg(scratch)
        .arg(runs);
    let status = host.enter(&command).status().expect("nsenter");
    assert!(status.success(), "{status}");
}

fn inside(scratch: &Path, runs: usize) {
    let begun = Instant::now();
    let world = World::new(scratch);
    eprintln!("prepared in {:.0} s", begun.elapsed().as_secs_f64());
    let mut rows = starts(&world, 2 * runs);
    rows.extend(streams(&world, runs));
    rows.push(names(&world, runs));
    println!("medians of {runs} alternating runs and more\n");
    report("network", serde_json::json!({}), rows, begun);
}

/// From the command until the guest has had an answer from its gateway.
fn starts(world: &World, runs: usize) -> Vec<Row> {
    let name = "start until the guest pings its gateway, vs static address";
    let mut fixed = Row::new(name, Goal::AtMost(0.5), Unit::Milliseconds);
    let name = "start until the guest pings its gateway, vs DHCP";
    let mut leased = Row::new(name, Goal::None, Unit::Milliseconds);
    for _ in 0..runs {
        let ours = world.time_to_ping(Peer::Sampan);
        fixed.ours.push(ours);
        leased.ours.push(ours);
        fixed.peer.push(world.time_to_ping(Peer::Lxc));
        leased.peer.push(world.time_to_ping(Peer::LxcDhcp));
    }
    vec![fixed, leased]
}

/// TCP with iperf3.
fn streams(world: &World, runs: usize) -> Vec<Row> {
    let goal = Goal::AtLeast(0.98);
    let mut between = Row::new("iperf3 between containers", goal, Unit::GigabitsPerSecond);
    let mut outside = Row::new(
        "iperf3 from a container to the host",
        goal,
        Unit::GigabitsPerSecond,
    );
    let ours = world.pair(Peer::Sampan);
    let peer = world.pair(Peer::Lxc);
    for _ in 0..runs {
        between.ours.push(ours.between());
        between.peer.push(peer.between());
        outside.ours.push(ours.to_host());
        outside.peer.push(peer.to_host());
    }
    vec![between, outside]
}

/// Names of the bridge's own containers.
fn names(world: &World, runs: usize) -> Row {
    let name = "names answered, vs dnsmasq";
    let mut row = Row::new(name, Goal::AtLeast(1.0), Unit::ThousandsPerSecond);
    let _running = world.pair(Peer::Sampan);
    for _ in 0..runs {
        row.ours.push(world.names_per_second(Peer::Sampan) / 1000.0);
        row.peer.push(world.names_per_second(Peer::Lxc) / 1000.0);
    }
    row
}

/// Runs a command that is not measured.
fn run(command: Command) {
    seconds(command);
}
