//! Containers that are frozen: they stand still, can be ended, and go on.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use sampan_tests::{TestEnvironment, deadline_of};

use crate::lifecycle::{configure, info, init_of, said, with_init};

#[test]
fn a_frozen_guest_stands_still_and_goes_on_when_it_is_thawed() {
    let env = TestEnvironment::new();
    let count = "i=0; while :; do i=$((i+1)); echo $i > /count; done";
    with_init(&env, "clock", count);
    env.sampan(&["start", "clock"]).ok();
    let file = env.state().join("clock/rootfs/count");
    let now = || fs::read_to_string(&file).unwrap_or_default();
    deadline_of("it counts", || (!now().is_empty()).then_some(()));
    let ran = env.sampan(&["freeze", "clock"]).ok();
    assert!(ran.stderr.contains("froze clock"), "{}", ran.stderr);
    assert_eq!(env.state_of("clock"), "frozen");
    assert_eq!(info(&env, "clock")["state"], "frozen");
    let status = format!("/proc/{}/stat", init_of(&env, "clock"));
    let ticks = || {
        let text = fs::read_to_string(&status).unwrap();
        let after = text.rsplit_once(") ").unwrap().1;
        let fields: Vec<&str> = after.split(' ').collect();
        (fields[11].to_owned(), fields[12].to_owned())
    };
    let (before, ticked) = (now(), ticks());
    // Half a second of work on both processors, which this guest would have had a share of.
    let busy = Instant::now();
    while busy.elapsed() < Duration::from_millis(500) {
        std::hint::spin_loop();
    }
    assert_eq!(now(), before);
    assert_eq!(ticks(), ticked);
    let ran = env.sampan(&["exec", "clock", "--", "true"]).failed();
    assert!(ran.stderr.contains("is frozen"), "{}", ran.stderr);
    let ran = env.sampan(&["freeze", "clock"]).ok();
    assert!(ran.stderr.contains("already"), "{}", ran.stderr);
    env.sampan(&["unfreeze", "clock"]).ok();
    deadline_of("it counts on", || (now() != before).then_some(()));
    env.sampan(&["exec", "clock", "--", "true"]).ok();
}

#[test]
fn a_frozen_guest_can_be_stopped_killed_and_destroyed() {
    let env = TestEnvironment::new();
    for (name, ending) in [
        ("a", &["stop", "a"][..]),
        ("b", &["stop", "--kill", "b"]),
        ("c", &["destroy", "--force", "c"]),
        ("d", &["restart", "--kill", "d"]),
    ] {
        env.small_guest(name);
        env.sampan(&["freeze", name]).ok();
        env.sampan(ending).ok();
    }
    let states = ["a", "b", "c", "d"].map(|name| env.state_of(name));
    assert_eq!(states, ["stopped", "stopped", "absent", "running"]);
    env.sampan(&["exec", "d", "--", "true"]).ok();
}

/// A small file system that can be suspended, so that who writes to it waits in the kernel.
struct Suspended {
    mount: PathBuf,
}

impl Suspended {
    fn mount(env: &TestEnvironment) -> Suspended {
        let image = env.scratch().join("image");
        File::create(&image).unwrap().set_len(16 << 20).unwrap();
        let mount = env.scratch().join("mounted");
        fs::create_dir(&mount).unwrap();
        run("mkfs.ext4", &["-q".as_ref(), &image]);
        run("mount", &["-o".as_ref(), "loop".as_ref(), &image, &mount]);
        Suspended { mount }
    }

    fn suspend(&self) {
        run("fsfreeze", &["-f".as_ref(), &self.mount]);
    }

    fn resume(&self) {
        run("fsfreeze", &["-u".as_ref(), &self.mount]);
    }
}

impl Drop for Suspended {
    fn drop(&mut self) {
        // It may not be suspended any more.
        let _ = Command::new("fsfreeze").arg("-u").arg(&self.mount).output();
        let _ = Command::new("umount").arg("-l").arg(&self.mount).output();
    }
}

pub(crate) fn run(program: &str, arguments: &[&Path]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program}: {output:?}");
}

#[test]
fn a_process_that_cannot_be_frozen_is_named_and_the_others_run_on() {
    let env = TestEnvironment::new();
    let disk = Suspended::mount(&env);
    with_init(
        &env,
        "stuck",
        "while :; do echo x > /mnt/file; echo wrote; /bin/sleep 0.01; done",
    );
    let entry = format!(
        "lxc.mount.entry = {} mnt none bind,create=dir 0 0",
        disk.mount.display()
    );
    configure(&env, "stuck", &entry);
    fs::set_permissions(
        &disk.mount,
        std::os::unix::fs::PermissionsExt::from_mode(0o777),
    )
    .unwrap();
    env.sampan(&["start", "stuck"]).ok();
    said(&env, "stuck", "wrote");
    disk.suspend();
    let init = init_of(&env, "stuck");
    deadline_of("init waits for the disk", || {
        let stat = fs::read_to_string(format!("/proc/{init}/stat")).unwrap();
        stat.contains(") D ").then_some(())
    });
    let ran = env.sampan(&["freeze", "--timeout", "1", "stuck"]).failed();
    disk.resume();
    assert!(
        ran.stderr.contains(&format!("process {init} (")),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("hint:"), "{}", ran.stderr);
    assert_eq!(env.state_of("stuck"), "running");
    env.sampan(&["exec", "stuck", "--", "true"]).ok();
    env.sampan(&["freeze", "stuck"]).ok();
    env.sampan(&["destroy", "--force", "stuck"]).ok();
}
