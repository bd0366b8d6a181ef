//! `cargo xtask bench runtime`: Sampan beside Debian's LXC.
//!
//! Both run the same root file systems with the same config, in alternating runs. The machine's
//! noise is the same for both: what counts are the ratios of the medians.

mod world;

use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};

use sampan_tests::{
    comparison::{Goal, Row, Unit, report},
    measure::{proportional, seconds},
    processes, wait_until,
};
use world::{MANY, SUITE, World, is_of, small};

/// A guest that does not get there in this time has failed.
const BOOT: Duration = Duration::from_secs(60);

fn main() {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let only_create = words.last().is_some_and(|word| word == "create");
    words.truncate(words.len() - usize::from(only_create));
    let runs = words.first().map(String::as_str).unwrap_or("5");
    let runs: usize = runs.parse().expect("a number of runs");
    let begun = Instant::now();
    let world = World::new();
    eprintln!("prepared in {:.0} s", begun.elapsed().as_secs_f64());
    let mut rows = Vec::new();
    if !only_create {
        rows.extend([starts(&world, 4 * runs), boots(&world, runs)]);
        rows.push(execs(&world, 6 * runs));
        rows.extend(hundreds(&world, runs));
    }
    rows.extend(creates(
        &world,
        if only_create { runs } else { runs.min(3) },
    ));
    let overlay = overlays(&world, 2 * runs);
    if overlay.is_none() {
        println!("create from cache, overlay: this build has no overlay");
    }
    rows.extend(overlay);
    println!(
        "medians of {runs} alternating runs and more, LXC {}\n",
        version()
    );
    report(
        "runtime",
        serde_json::json!({ "suite": SUITE }),
        rows,
        begun,
    );
}

/// `sampan start` and `lxc-start` both return when init has been executed.
fn starts(world: &World, runs: usize) -> Row {
    let name = "start of a busybox container until its init runs";
    let mut row = Row::new(name, Goal::AtMost(0.5), Unit::Milliseconds);
    for _ in 0..runs {
        row.ours.push(seconds(world.sampan(&["start", "small0"])));
        seconds(world.sampan(&["stop", "--kill", "small0"]));
        row.peer.push(seconds(world.lxc_start("small0")));
        seconds(world.lxc("lxc-stop", "small0", &["-k"]));
    }
    row
}

fn boots(world: &World, runs: usize) -> Row {
    let name = "start of trixie until systemd says running";
    let mut row = Row::new(name, Goal::AtMost(0.9), Unit::Seconds);
    // The first boot of a tree makes what later ones find.
    for run in 0..=runs {
        let ours = boot(world.sampan(&["start", "debian"]), || {
            world.sampan(&["exec", "debian", "--"])
        });
        seconds(world.sampan(&["stop", "--kill", "debian"]));
        let peer = boot(world.lxc_start("debian"), || {
            world.lxc("lxc-attach", "debian", &["--"])
        });
        seconds(world.lxc("lxc-stop", "debian", &["-k"]));
        if run > 0 {
            row.ours.push(ours);
            row.peer.push(peer);
        }
    }
    row
}

fn boot(start: Command, enter: impl Fn() -> Command) -> f64 {
    let begun = Instant::now();
    seconds(start);
    let mut said = String::new();
    let up = wait_until(BOOT, || {
        // Until systemd listens this fails at once; from then on it waits.
        let output = enter()
            .args(["systemctl", "is-system-running", "--wait"])
            .output()
            .expect("a command in the guest");
        said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        matches!(said.as_str(), "running" | "degraded").then_some(())
    });
    let taken = begun.elapsed().as_secs_f64();
    assert!(up.is_some() && said == "running", "systemd says \"{said}\"");
    taken
}

fn execs(world: &World, runs: usize) -> Row {
    let mut row = Row::new("exec of true", Goal::AtMost(0.5), Unit::Milliseconds);
    seconds(world.sampan(&["start", "small0"]));
    seconds(world.lxc_start("small0"));
    for _ in 0..runs {
        let ours = seconds(world.sampan(&["exec", "small0", "--", "true"]));
        row.ours.push(ours);
        let peer = seconds(world.lxc("lxc-attach", "small0", &["--", "true"]));
        row.peer.push(peer);
    }
    seconds(world.sampan(&["stop", "--kill", "small0"]));
    seconds(world.lxc("lxc-stop", "small0", &["-k"]));
    row
}

/// 100 containers of each at once: starting, listing, their monitors' memory, killing.
fn hundreds(world: &World, runs: usize) -> [Row; 4] {
    let mut started = Row::new("100 starts, two clients", Goal::AtMost(0.5), Unit::Seconds);
    let mut killed = Row::new("100 kills, two clients", Goal::AtMost(0.5), Unit::Seconds);
    let name = "ls of 100 running, with addresses, vs lxc-ls -f";
    let mut listed = Row::new(name, Goal::AtMost(0.3), Unit::Milliseconds);
    let name = "memory of one monitor (Pss), 100 running";
    let mut memory = Row::new(name, Goal::AtMost(1.0), Unit::Kibibytes);
    for _ in 0..runs {
        started
            .ours
            .push(by_two(|name| world.sampan(&["start", name])));
        started.peer.push(by_two(|name| world.lxc_start(name)));
        for _ in 0..2 {
            listed.ours.push(seconds(world.sampan(&["ls"])));
            listed.peer.push(seconds(world.lxc_ls()));
        }
        let of = |path: &std::path::Path, word: &str| {
            let all = processes();
            let monitors = all
                .iter()
                .filter(|(_, command)| command.contains(word) && is_of(command, path));
            let shares: Vec<u64> = monitors.map(|(pid, _)| proportional(*pid)).collect();
            assert_eq!(shares.len(), MANY, "monitors of {}", path.display());
            shares.iter().sum::<u64>() as f64 / MANY as f64
        };
        memory.ours.push(of(&world.root(), "monitor"));
        memory.peer.push(of(&world.lxc_path(), "[lxc monitor]"));
        let ours = by_two(|name| world.sampan(&["stop", "--kill", name]));
        killed.ours.push(ours);
        let peer = by_two(|name| world.lxc("lxc-stop", name, &["-k"]));
        killed.peer.push(peer);
    }
    [started, killed, listed, memory]
}

/// One command for each of the many, by two clients at a time.
fn by_two(command: impl Fn(&str) -> Command + Sync) -> f64 {
    let begun = Instant::now();
    thread::scope(|scope| {
        for client in 0..2 {
            let command = &command;
            scope.spawn(move || {
                for number in (client..MANY).step_by(2) {
                    seconds(command(&small(number)));
                }
            });
        }
    });
    begun.elapsed().as_secs_f64()
}

fn creates(world: &World, runs: usize) -> [Row; 2] {
    let name = "create from cache, dir, vs lxc-create from its cache";
    let mut lxc = Row::new(name, Goal::AtMost(0.1), Unit::Seconds);
    let name = "create from cache, dir, vs tar -I zstd -x of the image";
    let mut tar = Row::new(name, Goal::AtMost(0.6), Unit::Seconds);
    // Fills the cache if that is missing.
    seconds(world.lxc_create_debian("lxc-debian"));
    let timed = |command| {
        // Whoever writes next should not have to wait for what was written before.
        nix::unistd::sync();
        seconds(command)
    };
    for run in 0..runs {
        let ours = timed(world.create_debian(&format!("created{run}"), &[]));
        lxc.ours.push(ours);
        tar.ours.push(ours);
        lxc.peer
            .push(timed(world.lxc_create_debian(&format!("created{run}"))));
        tar.peer.push(timed(world.untar(&format!("unpacked{run}"))));
    }
    [lxc, tar]
}

/// A container that shares its files: an overlay on the image, and on another container.
fn overlays(world: &World, runs: usize) -> Option<Row> {
    if !world.has_overlay() {
        return None;
    }
    let name = "create from cache, overlay, vs lxc-copy -s -B overlay";
    let mut row = Row::new(name, Goal::AtMost(0.1), Unit::Milliseconds);
    // The first one unpacks the image that all share.
    seconds(world.create_debian("shared", &["--storage", "overlay"]));
    for run in 0..runs {
        let name = format!("overlay{run}");
        let ours = seconds(world.create_debian(&name, &["--storage", "overlay"]));
        row.ours.push(ours);
        let arguments = ["-N", &name, "-s", "-B", "overlay"];
        row.peer
            .push(seconds(world.lxc("lxc-copy", "lxc-debian", &arguments)));
    }
    Some(row)
}

fn version() -> String {
    let output = Command::new("lxc-start").arg("--version").output();
    let output = output.expect("lxc-start").stdout;
    String::from_utf8_lossy(&output).trim().to_owned()
}
