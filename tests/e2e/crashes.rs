//! kill -9 at any moment: an image is whole or absent, a container too, and nothing stays.

use std::{
    fs,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use sampan_tests::{TestEnvironment, wait_until};

const CREATE: [&str; 8] = [
    "create",
    "c",
    "-t",
    "naughty",
    "-o",
    "size=6000000",
    "-o",
    "program=/bin/busybox",
];

#[test]
fn a_create_killed_at_many_moments_leaves_all_or_nothing_and_the_next_one_works() {
    let env = TestEnvironment::new();
    let begun = Instant::now();
    env.sampan(&CREATE).ok();
    let whole = begun.elapsed();
    env.sampan(&["destroy", "c"]).ok();
    env.sampan(&["image", "rm", "naughty"]).ok();

    const KILLS: u32 = 30;
    for number in 0..KILLS {
        let running = env.background(&CREATE);
        // Spread over a whole create, and a little over its end.
        let moment = whole * number * 11 / (KILLS * 10);
        let id = running.id();
        let ended = wait_until(moment, || {
            (!std::path::Path::new(&format!("/proc/{id}")).exists()).then_some(())
        });
        if ended.is_none() {
            running.signal(Signal::SIGKILL);
        }
        drop(running);
        env.sampan(&["image", "verify"]).ok();
        match env.state_of("c").as_str() {
            "absent" => {}
            "stopped" => {
                env.sampan(&["start", "c"]).ok();
                env.sampan(&["destroy", "--force", "c"]).ok();
                env.sampan(&["image", "rm", "naughty"]).ok();
            }
            other => panic!("after a killed create the container is {other}"),
        }
    }
    env.sampan(&CREATE).ok();
    env.sampan(&["start", "c"]).ok();
    let staging = env.cache().join("staging/v1");
    assert_eq!(
        staging.read_dir().unwrap().count(),
        0,
        "staging directories are left"
    );
    let hidden: Vec<_> = env
        .state()
        .read_dir()
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .filter(|name| name.to_string_lossy().starts_with(".new-"))
        .collect();
    assert!(hidden.is_empty(), "{hidden:?}");
    let mut images: Vec<_> = fs::read_dir(env.cache().join("images/v1/naughty"))
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter_map(|name| name.split_once('.').map(|(_, end)| end.to_owned()))
        .collect();
    images.sort();
    // The record, when it was last compared with the mirror, the archive.
    assert_eq!(images, ["json", "looked", "tar.zst"]);
}

#[test]
fn a_worker_dies_with_the_command_that_started_it() {
    let env = TestEnvironment::new();
    let running = env.background(&["image", "build", "-t", "naughty", "-o", "act=loop"]);
    let parent = running.id();
    let worker = wait_until(Duration::from_secs(20), || {
        let path = format!("/proc/{parent}/task");
        fs::read_dir(path).ok()?.flatten().find_map(|task| {
            let children = fs::read_to_string(task.path().join("children")).ok()?;
            children.split_whitespace().next().map(str::to_owned)
        })
    })
    .expect("a worker was started");
    running.signal(Signal::SIGKILL);
    drop(running);
    let gone = wait_until(Duration::from_secs(20), || {
        (!std::path::Path::new(&format!("/proc/{worker}")).exists()).then_some(())
    });
    assert!(gone.is_some(), "the worker outlived its parent");
}
