//! What a guest does to its cgroups, or a person to the files of a container, must neither hang nor
//! break the commands of the host. Needs root, and Debian's `busybox-static`.

#![forbid(unsafe_code)]

mod place;

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use place::{Place, kill, options, ready, text};
use sampan_runtime::{State, Stopped};

/// Mounts the guest's cgroups at /tmp, and leaves the cgroup that commands are started in.
const CGROUPS: &str = "mount -t cgroup2 none /tmp && mkdir /tmp/mine && \
    echo $$ > /tmp/mine/cgroup.procs && cd /tmp && ";

#[test]
fn a_guest_that_takes_and_freezes_the_cgroup_of_commands_does_not_stop_them() {
    let place = Place::new();
    let web = place.make("web", &[]);
    web.start(&options()).unwrap();
    ready(&web);
    let freeze = "rmdir sampan-exec && mkdir sampan-exec && \
        echo 1 > sampan-exec/cgroup.freeze && echo frozen";
    let begun = Instant::now();
    let first = place.exec("web", &["sh", "-c", &format!("{CGROUPS}{{ {freeze}; }}")]);
    assert_eq!(text(&first.stdout), "frozen\n", "{first:?}");
    let second = place.exec("web", &["echo", "fine"]);
    assert_eq!(text(&second.stdout), "fine\n", "{second:?}");

    // Now with a process in it, so that the name cannot be taken back.
    let occupy = "rmdir sampan-exec; rmdir sampan-exec-*; mkdir sampan-exec && \
        { sleep 1000 < /dev/null > /dev/null 2>&1 & } && \
        until [ \"$(cat /proc/$!/comm)\" = sleep ]; do :; done && \
        echo $! > sampan-exec/cgroup.procs && \
        echo 1 > sampan-exec/cgroup.freeze && echo frozen";
    let script = format!(
        "mkdir /tmp/other && echo $$ > /tmp/other/cgroup.procs && cd /tmp && {{ {occupy}; }}"
    );
    let third = place.exec("web", &["sh", "-c", &script]);
    assert_eq!(text(&third.stdout), "frozen\n", "{third:?}");
    let fourth = place.exec("web", &["echo", "fine"]);
    assert_eq!(text(&fourth.stdout), "fine\n", "{fourth:?}");
    assert!(
        begun.elapsed() < Duration::from_secs(9),
        "it was waited for"
    );
    assert_eq!(web.stop(&kill()).unwrap(), Stopped::Killed);
    assert_eq!(place.leftovers(), Vec::<String>::new());
}

#[test]
fn a_guest_cannot_nest_or_multiply_cgroups_without_end() {
    let place = Place::new();
    let web = place.make("web", &[]);
    web.start(&options()).unwrap();
    ready(&web);
    let nest = "n=0; while mkdir d 2>/dev/null && cd d; do n=$((n+1)); done; echo $n; \
        cd /tmp; n=0; while mkdir x$n 2>/dev/null; do n=$((n+1)); done; echo $n";
    let output = place.exec("web", &["sh", "-c", &format!("{CGROUPS}{{ {nest}; }}")]);
    let counts: Vec<u32> = text(&output.stdout)
        .lines()
        .map(|line| line.parse().unwrap())
        .collect();
    assert_eq!(counts.len(), 2, "{output:?}");
    assert_eq!(counts[0], 32);
    assert!(counts[1] < 4096, "{counts:?}");
    assert_eq!(place.containers.list().unwrap().len(), 1);
    assert_eq!(web.stop(&kill()).unwrap(), Stopped::Killed);
    assert_eq!(place.leftovers(), Vec::<String>::new());
    web.start(&options()).unwrap();
    web.destroy(true).unwrap();
}

#[test]
fn leftovers_that_cannot_be_removed_hide_no_container() {
    let place = Place::new();
    place.make("other", &[]);
    let web = place.make("web", &[]);
    // A mount point cannot be removed.
    let stuck = place.dir.path().join("run/web/stuck");
    fs::create_dir_all(&stuck).unwrap();
    let mount = |command: &str, arguments: &[&str]| {
        let status = Command::new(command).args(arguments).arg(&stuck).status();
        assert!(status.unwrap().success());
    };
    mount("mount", &["-t", "tmpfs", "none"]);
    let listed = place.containers.list();
    let started = web.start(&options());
    mount("umount", &[]);
    assert_eq!(listed.unwrap().len(), 2);
    assert!(started.unwrap_err().chain().contains("run/web"));
    assert_eq!(web.state().unwrap(), State::Stopped);
    web.start(&options()).unwrap();
}

#[test]
fn a_running_container_does_not_care_about_its_config_on_disk() {
    let place = Place::new();
    let web = place.make("web", &[]);
    web.start(&options()).unwrap();
    ready(&web);
    let before = web.info().unwrap();
    fs::write(web.config_path(), "lxc.idmap = nonsense\n").unwrap();
    let output = place.exec("web", &["echo", "fine"]);
    assert_eq!(text(&output.stdout), "fine\n", "{output:?}");
    let after = web.info().unwrap();
    assert_eq!(
        (after.host_uid, after.privileged),
        (before.host_uid, before.privileged)
    );
    assert_eq!(web.stop(&kill()).unwrap(), Stopped::Killed);
}

#[test]
fn a_privileged_guest_opens_the_usual_devices_only() {
    // With cgroup version 2 alone this needs a BPF program, which Sampan does not have.
    let controllers = fs::read_to_string("/proc/self/cgroup").unwrap();
    if !controllers.contains(":devices:") {
        return;
    }
    let place = Place::new();
    let web = place.make("web", &[]);
    let kept: Vec<String> = fs::read_to_string(web.config_path())
        .unwrap()
        .lines()
        .filter(|line| !line.starts_with("lxc.idmap"))
        .map(|line| match line.strip_prefix("lxc.rootfs.options") {
            Some(_) => String::new(),
            None => line.to_owned(),
        })
        .collect();
    fs::write(web.config_path(), kept.join("\n") + "\n").unwrap();
    web.start(&options()).unwrap();
    ready(&web);
    // 1:11 is the kernel log, 1:3 is null. /dev is the one place where nodes work.
    let script = "mount -t tmpfs none /tmp && cd /tmp && mknod log c 1 11 && mknod null c 1 3 && \
        echo x > null && echo null works; head -c 1 < log";
    let output = place.exec("web", &["sh", "-c", script]);
    assert_eq!(text(&output.stdout), "null works\n", "{output:?}");
    assert!(text(&output.stderr).contains("not permitted"), "{output:?}");
}
