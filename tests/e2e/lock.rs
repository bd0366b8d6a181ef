//! Images built again from their lock, against the real mirror.

use sampan_tests::TestEnvironment;

fn world() -> TestEnvironment {
    let env = TestEnvironment::new();
    env.share_downloads();
    env
}

const BUILD: [&str; 6] = ["image", "build", "-t", "debian", "--format", "json"];

#[test]
fn a_lock_gives_the_same_bytes_in_another_place_or_says_what_is_gone() {
    let first = world();
    let lock = first.scratch().join("lock");
    let path = lock.to_str().unwrap();
    let asked = [
        "-o",
        "variant=minbase",
        "-o",
        "include=nano",
        "--lock",
        path,
    ];
    let built = first.sampan(&[&BUILD[..], &asked].concat()).ok().json();
    let text = std::fs::read_to_string(&lock).unwrap();
    assert!(text.contains("\nPackage: nano\n"), "{text}");

    let second = world();
    let option = format!("lock={path}");
    let again = second.sampan(&[&BUILD[..], &["-o", &option]].concat());
    let again = again.ok().json();
    assert!(built["sha256"].is_string(), "{built}");
    assert_eq!(built["sha256"], again["sha256"]);

    let other = ["-o", &option, "-o", "include=less"];
    let ran = second.sampan(&[&BUILD[..], &other].concat()).failed();
    assert!(ran.stderr.contains("made with `nano`"), "{}", ran.stderr);

    let nano = text.find("\nPackage: nano\n").unwrap();
    let (before, stanza) = text.split_at(nano);
    let tampered = stanza.replacen("Filename: pool", "Filename: ../pool", 1);
    std::fs::write(&lock, format!("{before}{tampered}")).unwrap();
    let ran = second.sampan(&[&BUILD[..], &["-o", &option]].concat());
    let ran = ran.failed();
    assert!(
        ran.stderr
            .contains("package nano in the file of -o lock=FILE"),
        "{}",
        ran.stderr
    );

    let start = stanza.find("SHA256: ").unwrap() + "SHA256: ".len();
    let gone = format!(
        "{before}{}{}{}",
        &stanza[..start],
        "0".repeat(64),
        &stanza[start + 64..]
    );
    std::fs::write(&lock, gone).unwrap();
    let ran = second.sampan(&[&BUILD[..], &["-o", &option]].concat());
    let ran = ran.failed();
    assert!(
        ran.stderr.contains("on a mirror: nano") && ran.stderr.contains("snapshot"),
        "{}",
        ran.stderr
    );
}
