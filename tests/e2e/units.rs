//! The units of systemd that come with Sampan.

use std::{fs, path::Path, process::Command};

use sampan_tests::{Internet, TestEnvironment, internet::PEER_4};

/// The units by their name, with the program under test.
fn units() -> Vec<(String, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cli/systemd");
    // systemd looks whether the program exists.
    let binary = TestEnvironment::binary().display().to_string();
    let mut units: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .flatten()
        .map(|entry| {
            let text = fs::read_to_string(entry.path()).unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, text.replace("/usr/bin/sampan", &binary))
        })
        .collect();
    units.sort();
    units
}

#[test]
fn systemd_understands_the_units_and_the_docs_name_them() {
    let env = TestEnvironment::new();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/systemd.md");
    let page = fs::read_to_string(page).unwrap();
    let units = units();
    assert_eq!(units.len(), 3, "{units:?}");
    for (name, text) in &units {
        assert!(page.contains(&format!("`{name}`")), "{name}");
        fs::write(env.scratch().join(name), text).unwrap();
    }
    for (name, _) in &units {
        let name = name.replace("@.", "@web.");
        let ran = Command::new("systemd-analyze")
            .args(["verify", "--man=no"])
            .arg(env.scratch().join(name))
            .output()
            .unwrap();
        let words = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(ran.status.success() && !words.contains("sampan"), "{words}");
    }
}

/// Runs the command of a unit's key as systemd would.
fn run(world: &Internet, unit: &str, key: &str) -> i32 {
    let (_, text) = units().into_iter().find(|(name, _)| name == unit).unwrap();
    let prefix = format!("{key}=");
    let line = text.lines().find_map(|line| line.strip_prefix(&prefix));
    let words = line.unwrap().trim_start_matches('-').split(' ');
    let words: Vec<&str> = words.skip(1).collect();
    world.sampan(&words).code
}

#[test]
fn the_unit_of_networks_brings_all_up_and_takes_down_those_without_a_container() {
    let world = Internet::new();
    let before = world.rules();
    for name in ["lab", "dark"] {
        world.sampan(&["network", "create", name]).ok();
    }
    world.create("web", &["lab"]);
    assert_eq!(world.host.interfaces(), ["wan0"]);
    assert_eq!(run(&world, "sampan-networks.service", "ExecStart"), 0);
    assert_eq!(world.host.interfaces(), ["wan0", "dark", "lab"]);
    world.sampan(&["start", "web"]).ok();
    run(&world, "sampan-networks.service", "ExecStop");
    let interfaces = world.host.interfaces();
    assert!(!interfaces.contains(&"dark".to_owned()), "{interfaces:?}");
    assert!(world.running("web").pings(PEER_4, None));
    world.sampan(&["stop", "--kill", "web"]).ok();
    assert_eq!(run(&world, "sampan-networks.service", "ExecStop"), 0);
    assert_eq!(world.host.interfaces(), ["wan0"]);
    assert_eq!(world.rules(), before);
}
