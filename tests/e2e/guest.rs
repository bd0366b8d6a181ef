//! What the template `debian` gives a guest of its own, seen from inside.

use std::time::Duration;

use sampan_tests::{Background, TestEnvironment, wait_until};

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGuestTestKeyThatOpensNothing0000000000000 me\n";

fn inside(env: &TestEnvironment, name: &str, script: &str) -> String {
    let ran = env.sampan(&["exec", name, "--", "sh", "-c", script]).ok();
    ran.stdout.trim().to_owned()
}

#[test]
fn a_guest_gets_keys_password_locale_zone_and_an_identity_that_no_other_has() {
    let env = TestEnvironment::new();
    env.share_downloads();
    let file = |name: &str, text: &str| {
        let path = env.scratch().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    // Of the right form; nobody knows its password.
    let hash = format!("$6$sampansalt${}\n", "a/B9.".repeat(18).split_at(86).0);
    let options = [
        "variant=minbase".to_owned(),
        "include=systemd-sysv,openssh-server,locales".to_owned(),
        format!("authorized-keys={}", file("keys", KEY)),
        format!("root-password-hash={}", file("hash", &hash)),
        "locale=de_DE.UTF-8".to_owned(),
        "timezone=Europe/Paris".to_owned(),
        "hostname=guest.example".to_owned(),
    ];
    for name in ["one", "two"] {
        let mut command = env.command(&["create", name, "-t", "debian"]);
        for option in &options {
            command.args(["-o", option]);
        }
        let ran = Background::start(command, b"").wait().ok();
        assert!(
            !ran.stderr.contains(hash.trim()),
            "the hash was told: {}",
            ran.stderr
        );
        env.sampan(&["start", name]).ok();
    }

    let expected = [
        ("cat /etc/hostname", "guest.example"),
        (
            "getent hosts guest | tr -s ' '",
            "127.0.1.1 guest.example guest",
        ),
        ("cat /root/.ssh/authorized_keys", KEY.trim()),
        (
            "stat -c %a:%U /root/.ssh /root/.ssh/authorized_keys",
            "700:root\n600:root",
        ),
        ("grep ^root: /etc/shadow | cut -d: -f2", hash.trim()),
        ("stat -c %a:%G /etc/shadow", "640:shadow"),
        (". /etc/default/locale; echo $LANG", "de_DE.UTF-8"),
        ("LC_ALL=de_DE.UTF-8 locale charmap", "UTF-8"),
        (
            "readlink /etc/localtime",
            "/usr/share/zoneinfo/Europe/Paris",
        ),
        ("sshd -t && echo sound", "sound"),
        // apt works at once: it needs no more than its lists, and knows where they are.
        ("apt-get check -qq && echo sound", "sound"),
        ("find /var/lib/apt/lists -type f | wc -l", "0"),
        ("ls /usr/sbin/policy-rc.d 2>/dev/null | wc -l", "0"),
    ];
    for (script, answer) in expected {
        assert_eq!(inside(&env, "one", script), answer, "{script}");
    }
    let lists = inside(
        &env,
        "one",
        "apt-get --print-uris update | cut -d' ' -f1 | tr -d \"'\"",
    );
    for suite in ["stable", "stable-updates", "stable-security"] {
        let codename = inside(&env, "one", ". /etc/os-release; echo $VERSION_CODENAME");
        let suite = suite.replace("stable", &codename);
        let wanted = format!("/dists/{suite}/InRelease");
        assert!(lists.contains(&wanted), "{wanted} is not among {lists}");
    }

    let booted = wait_until(Duration::from_secs(120), || {
        let state = env.sampan(&["exec", "one", "--", "systemctl", "is-active", "ssh"]);
        matches!(state.stdout.trim(), "active" | "failed").then_some(state.stdout)
    });
    assert_eq!(
        booted.as_deref().map(str::trim),
        Some("active"),
        "the SSH server"
    );
    for file in ["/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key.pub"] {
        let read = |name: &str| inside(&env, name, &format!("cat {file}"));
        let (one, two) = (read("one"), read("two"));
        assert!(!one.is_empty() && one != two, "{file} is shared: {one}");
    }
}
