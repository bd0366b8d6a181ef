//! What a `create` does not ask twice: the template what it is, and the mirror what is new.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use sampan_tests::{Background, Ran, Server, TestEnvironment, wait_until};

/// Until a library is old enough to be remembered.
const SETTLED: Duration = Duration::from_secs(30);

/// A world whose mirror tells the fingerprint.
struct Mirrored {
    env: TestEnvironment,
    server: Server,
}

impl Mirrored {
    fn new() -> Self {
        let server = Server::of([("release".to_owned(), b"monday".to_vec())]);
        let env = TestEnvironment::new();
        Self { env, server }
    }

    /// Creates a container, and tells how often the mirror was asked.
    #[track_caller]
    fn create(&self, name: &str, more: &[&str]) -> (Ran, usize) {
        let address = format!("address={}/release", self.server.url());
        let template = ["-t", "naughty", "-o", "act=fingerprint", "-o", &address];
        let before = self.server.asked().len();
        let ran = self
            .env
            .sampan(&[&["create", name][..], &template, more].concat())
            .ok();
        (ran, self.server.asked().len() - before)
    }

    fn looked(&self) -> PathBuf {
        let images = self.env.cache().join("images/v1/naughty");
        let found = fs::read_dir(images).unwrap().flatten();
        let mut notes = found.map(|entry| entry.path()).filter(|path| {
            let name = path.to_string_lossy();
            name.ends_with(".looked")
        });
        notes.next().expect("a note of when the mirror was asked")
    }
}

#[test]
fn a_create_soon_after_another_is_only_a_copy() {
    let world = Mirrored::new();
    assert!(world.create("first", &[]).1 > 0);
    world.server.put("release", "tuesday");
    let (ran, asked) = world.create("second", &[]);
    assert_eq!(asked, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("from the cache"), "{}", ran.stderr);
}

#[test]
fn a_look_at_the_mirror_lasts_ten_minutes_and_no_longer() {
    let world = Mirrored::new();
    world.create("first", &[]);
    world.server.put("release", "tuesday");
    let path = world.looked();
    let mut note: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let at = note["at"].as_u64().unwrap();
    let put = |note: &serde_json::Value| fs::write(&path, note.to_string()).unwrap();
    note["at"] = (at - 500).into();
    put(&note);
    assert_eq!(world.create("second", &[]).1, 0);
    note["at"] = (at - 601).into();
    put(&note);
    let (ran, asked) = world.create("third", &[]);
    assert!(asked > 0 && ran.stderr.contains("news"), "{}", ran.stderr);
    // From the future: the clock was set back.
    world.server.put("release", "wednesday");
    note["at"] = (at + 3600).into();
    put(&note);
    let (ran, asked) = world.create("fourth", &[]);
    assert!(asked > 0 && ran.stderr.contains("news"), "{}", ran.stderr);
}

#[test]
fn who_wants_to_know_what_is_new_asks_at_once() {
    let world = Mirrored::new();
    world.create("first", &[]);
    world.server.put("release", "tuesday");
    let address = format!("address={}/release", world.server.url());
    let build = ["image", "build", "-t", "naughty", "-o", "act=fingerprint"];
    let ran = world.env.sampan(&[&build[..], &["-o", &address]].concat());
    assert!(ran.ok().stderr.contains("news"));
    assert_eq!(world.create("second", &[]).1, 0, "it was just asked");
    assert!(world.create("third", &["--refresh"]).1 > 0);
}

#[test]
fn a_note_that_others_could_have_written_is_not_believed() {
    let world = Mirrored::new();
    world.create("first", &[]);
    for mode in [0o644, 0o660] {
        fs::set_permissions(world.looked(), PermissionsExt::from_mode(mode)).unwrap();
        let (ran, asked) = world.create(&format!("c{mode}"), &[]);
        assert!(asked > 0, "{}", ran.stderr);
    }
    std::os::unix::fs::chown(world.looked(), Some(4711), None).unwrap();
    assert!(world.create("second", &[]).1 > 0);
    assert_eq!(world.create("third", &[]).1, 0, "the note was not replaced");
}

/// A template library of the test's own.
struct Described {
    env: TestEnvironment,
    library: PathBuf,
}

impl Described {
    /// One that has been remembered.
    fn new() -> Self {
        let env = TestEnvironment::new();
        let directory = env.scratch().join("templates");
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(&directory, PermissionsExt::from_mode(0o755)).unwrap();
        let library = directory.join("libsampan_template_naughty.so");
        let lib = "../target/fixtures/lib/libsampan_template_naughty.so";
        fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join(lib), &library).unwrap();
        let described = Self { env, library };
        let kept = wait_until(SETTLED, || {
            assert_eq!(described.summary(), "Misbehaves on demand");
            described.note().exists().then_some(())
        });
        kept.expect("what the template said was never kept");
        described
    }

    fn note(&self) -> PathBuf {
        self.env.cache().join("descriptions/v1/naughty.json")
    }

    #[track_caller]
    fn summary(&self) -> String {
        let show = ["template", "show", "naughty", "--format", "json"];
        let mut command = self.env.command(&show);
        command.env("SAMPAN_TEMPLATE_PATH", self.library.parent().unwrap());
        let shown = Background::start(command, b"").wait().ok().json();
        shown["summary"].as_str().unwrap().to_owned()
    }

    /// Has the note say something else, as only its owner could.
    fn change_note(&self) {
        let bytes = fs::read(self.note()).unwrap();
        let mut note: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        note["description"]["summary"] = "from the note".into();
        fs::write(self.note(), note.to_string()).unwrap();
        assert_eq!(self.summary(), "from the note", "a worker was asked");
    }
}

#[test]
fn a_library_that_was_changed_or_replaced_is_asked_anew() {
    let world = Described::new();
    world.change_note();
    let bytes = fs::read(&world.library).unwrap();
    fs::write(&world.library, &bytes).unwrap();
    assert_eq!(world.summary(), "Misbehaves on demand");

    let world = Described::new();
    world.change_note();
    let new = world.library.with_extension("new");
    fs::copy(&world.library, &new).unwrap();
    fs::rename(&new, &world.library).unwrap();
    assert_eq!(world.summary(), "Misbehaves on demand");
}

#[test]
fn a_description_that_others_could_have_written_is_not_believed() {
    let world = Described::new();
    let poison = |change: &dyn Fn(&Path)| {
        world.change_note();
        change(&world.note());
        assert_eq!(world.summary(), "Misbehaves on demand");
    };
    poison(&|note| fs::set_permissions(note, PermissionsExt::from_mode(0o644)).unwrap());
    poison(&|note| std::os::unix::fs::chown(note, Some(4711), None).unwrap());
    poison(&|note| {
        fs::rename(note, note.with_extension("moved")).unwrap();
        std::os::unix::fs::symlink(note.with_extension("moved"), note).unwrap();
    });
}

#[test]
fn a_library_that_became_unsafe_is_refused_however_well_it_is_known() {
    let world = Described::new();
    fs::set_permissions(&world.library, PermissionsExt::from_mode(0o666)).unwrap();
    let mut command = world.env.command(&["template", "show", "naughty"]);
    command.env("SAMPAN_TEMPLATE_PATH", world.library.parent().unwrap());
    let ran = Background::start(command, b"").wait().failed();
    assert!(ran.stderr.contains("written by others"), "{}", ran.stderr);
}
