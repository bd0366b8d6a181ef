//! Debian's LXC as the oracle: it boots what Sampan makes, unchanged.

use sampan_tests::{Lxc, TestEnvironment};

#[test]
fn lxc_start_boots_a_container_of_ours_unchanged() {
    let env = TestEnvironment::new();
    let lxc = Lxc::new(&env);
    env.create_small_guest("shared", &[]);
    lxc.start("shared");
    assert_eq!(lxc.attach("shared", "cat /etc/hostname").trim(), "shared");
    lxc.kill("shared");
}

#[test]
fn lxc_start_boots_every_kind_of_storage_as_far_as_it_can_shift_ids() {
    let env = TestEnvironment::new();
    let lxc = Lxc::new(&env);
    env.create_small_guest("base", &["--privileged"]);
    env.create_small_guest("layered", &["--privileged", "--storage", "overlay"]);
    env.create_small_guest("limited", &["--privileged", "--size", "32M"]);
    env.sampan(&["copy", "base", "shared", "--snapshot"]).ok();
    for name in ["layered", "limited", "shared"] {
        lxc.start(name);
        let script = "echo by lxc >/note; cat /etc/hostname";
        assert_eq!(lxc.attach(name, script).trim(), name);
        lxc.kill(name);
        // What one wrote, the other reads.
        env.sampan(&["start", name]).ok();
        let command = ["exec", name, "--", "/bin/busybox", "cat", "/note"];
        assert_eq!(env.sampan(&command).ok().stdout, "by lxc\n");
        env.sampan(&["stop", "--kill", name]).ok();
    }
}

#[test]
fn lxc_start_boots_a_container_on_btrfs() {
    let env = TestEnvironment::on_disk("btrfs", 512 << 20);
    let lxc = Lxc::new(&env);
    env.create_small_guest("subvolume", &[]);
    lxc.start("subvolume");
    let name = lxc.attach("subvolume", "cat /etc/hostname");
    assert_eq!(name.trim(), "subvolume");
    lxc.kill("subvolume");
}
