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
