//! The libraries that the end-to-end tests load: a template that misbehaves on demand, a library
//! that is no template, and one template built against several versions of `core`; also a whole
//! `sampan` built against a newer `core`, to which today's templates are older ones, and a library
//! that sets the clock of a single program.
//!
//! Each version of `core` is a copy of today's with one edit. All builds share cargo's build
//! directory with the workspace, so dependencies are compiled once.

use std::{
    fs,
    path::{Path, PathBuf},
};

use xshell::{Shell, cmd};

use crate::{Result, workspace};

/// A library: its source in tests/fixtures, and the copy of `core` that it is built against, with
/// what is replaced by what in which file.
struct Library {
    name: &'static str,
    source: &'static str,
    edits: &'static [(&'static str, &'static str, &'static str)],
}

/// What a release of the next minor version might append: a host service and a template function.
const NEXT_MINOR: &[(&str, &str, &str)] = &[
    ("Cargo.toml", "version = \"1.1.0\"", "version = \"1.2.0\""),
    (
        "src/abi/host.rs",
        "        RResult::ROk(value)\n    }\n}",
        "        RResult::ROk(value)\n    }\n    fn newer(&self) -> u32 { u32::default() }\n}",
    ),
    (
        "src/abi/plugin.rs",
        "    pub check: extern \"C\" fn(RStr<'_>) -> Answer<RSlice<'static, RStr<'static>>>,\n}",
        "    pub check: extern \"C\" fn(RStr<'_>) -> Answer<RSlice<'static, RStr<'static>>>,\n    pub newer: extern \"C\" fn() -> u32,\n}\nextern \"C\" fn newer() -> u32 { 1 }",
    ),
    (
        "src/abi/plugin.rs",
        "        check: check::<T>,",
        "        check: check::<T>,\n        newer,",
    ),
    (
        "src/abi/wire.rs",
        "    cannot_run_hint: Text,\n}",
        "    cannot_run_hint: Text,\n    newer: u64,\n}",
    ),
    (
        "src/abi/wire.rs",
        "error.and_then(TemplateError::hint).unwrap_or_default()),\n        }",
        "error.and_then(TemplateError::hint).unwrap_or_default()),\n            newer: 7,\n        }",
    ),
];

const LIBRARIES: [Library; 5] = [
    Library {
        name: "naughty",
        source: "naughty",
        edits: &[],
    },
    Library {
        name: "stranger",
        source: "not-a-template",
        edits: &[],
    },
    Library {
        name: "major",
        source: "variant",
        edits: &[("Cargo.toml", "version = \"1.1.0\"", "version = \"2.0.0\"")],
    },
    Library {
        name: "layout",
        source: "variant",
        edits: &[
            (
                "src/abi/wire.rs",
                "    fingerprint: Text,\n    source_date_epoch: i64,",
                "    fingerprint: Text,\n    source_date_epoch: u32,",
            ),
            (
                "src/abi/wire.rs",
                "            source_date_epoch: plain.source_date_epoch,",
                "            source_date_epoch: plain.source_date_epoch as u32,",
            ),
            (
                "src/abi/wire.rs",
                "            source_date_epoch: self.source_date_epoch(),",
                "            source_date_epoch: self.source_date_epoch().into(),",
            ),
        ],
    },
    Library {
        name: "minor",
        source: "variant",
        edits: NEXT_MINOR,
    },
];

/// Builds all of them into target/fixtures: lib, newer-host, and libclock.so.
pub fn run(shell: &Shell) -> Result {
    let base = workspace().join("target/fixtures");
    let kept = base.join("lib");
    fs::create_dir_all(&kept)?;
    for library in &LIBRARIES {
        // Cargo tells packages of one name and version apart by their path below the workspace
        // only, so that copies that share a build directory must not share this path.
        let name = library.name;
        let copy = base.join("source").join(name);
        let core = copy.join(format!("core-{name}"));
        mirror(&workspace().join("core"), &core)?;
        edit(&core, library.edits)?;
        let template = copy.join(format!("template-{name}"));
        mirror(
            &workspace().join("tests/fixtures").join(library.source),
            &template,
        )?;
        let core = format!("../core-{name}");
        let edits = match library.source {
            "variant" => vec![
                ("Cargo.toml", "NAME", name),
                ("Cargo.toml", "../core", core.as_str()),
                ("src/lib.rs", "NAME", name),
            ],
            "naughty" => vec![("Cargo.toml", "../core", core.as_str())],
            _ => Vec::new(),
        };
        edit(&template, &edits)?;
        write_workspace(&copy, name)?;
        build(shell, &template, &base.join("out"))?;
        let file = format!("libsampan_template_{}.so", library.name);
        fs::copy(base.join("out/debug").join(&file), kept.join(&file))?;
    }
    newer_host(shell, &base)?;
    clock(shell, &base)
}

/// A library that needs no more than the standard one.
fn clock(shell: &Shell, base: &Path) -> Result {
    let source = workspace().join("tests/fixtures/clock/clock.rs");
    let library = base.join("libclock.so");
    let time = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified());
    if time(&library).is_ok_and(|built| time(&source).is_ok_and(|written| written < built)) {
        return Ok(());
    }
    cmd!(
        shell,
        "rustc --edition 2024 --crate-type cdylib -O -C panic=abort -o {library} {source}"
    )
    .run()?;
    Ok(())
}

/// The whole product against the next minor version of `core`.
fn newer_host(shell: &Shell, base: &Path) -> Result {
    let copy = base.join("source/host");
    for name in ["core", "plugins", "runtime", "cli"] {
        mirror(&workspace().join(name), &copy.join(name))?;
    }
    edit(&copy.join("core"), NEXT_MINOR)?;
    let manifest = fs::read_to_string(workspace().join("Cargo.toml"))?;
    let (head, rest) = manifest
        .split_once("members = [")
        .ok_or("no members in Cargo.toml")?;
    let (_, tail) = rest
        .split_once("[workspace.package]")
        .ok_or("no package table")?;
    let members = "members = [\"core\", \"plugins\", \"runtime\", \"cli\"]\n\n[workspace.package]";
    write_if_new(&copy.join("Cargo.toml"), &format!("{head}{members}{tail}"))?;
    fs::copy(workspace().join("Cargo.lock"), copy.join("Cargo.lock"))?;
    build(shell, &copy.join("cli"), &base.join("newer-host"))
}

fn build(shell: &Shell, source: &Path, target: &Path) -> Result {
    let _directory = shell.push_dir(source);
    let shared = workspace().join("target/build-fixtures");
    let _build = shell.push_env("CARGO_BUILD_BUILD_DIR", &shared);
    cmd!(shell, "cargo build --quiet --target-dir {target}").run()?;
    Ok(())
}

/// A workspace of its own, so that cargo does not look further up.
fn write_workspace(copy: &Path, name: &str) -> Result {
    let manifest = format!(
        "[workspace]\nresolver = \"3\"\nmembers = [\"core-{name}\", \"template-{name}\"]\n\n\
         [workspace.package]\nedition = \"2024\"\nrust-version = \"1.90\"\nlicense = \"MIT\"\n\n\
         [workspace.lints.rust]\nunsafe_code = \"deny\"\n"
    );
    write_if_new(&copy.join("Cargo.toml"), &manifest)?;

    fs::copy(workspace().join("Cargo.lock"), copy.join("Cargo.lock"))?;
    Ok(())
}

/// Makes `to` a copy of `from`. Files that are the same are left alone, or cargo would build them
/// anew every time.
fn mirror(from: &Path, to: &Path) -> Result {
    fs::create_dir_all(to)?;
    let mut wanted: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            mirror(&entry.path(), &target)?;
        } else {
            let pristine = target.with_extension("pristine");
            let contents = fs::read_to_string(entry.path())?;
            if fs::read_to_string(&pristine).ok().as_deref() != Some(contents.as_str()) {
                fs::write(&pristine, &contents)?;
                fs::write(&target, &contents)?;
            }
            wanted.push(pristine);
        }
        wanted.push(target);
    }
    for entry in fs::read_dir(to)? {
        let path = entry?.path();
        if path.is_file() && !wanted.contains(&path) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn edit(copy: &Path, edits: &[(&str, &str, &str)]) -> Result {
    let mut texts: Vec<(PathBuf, String)> = Vec::new();
    for (file, from, to) in edits {
        let path = copy.join(file);
        let index = match texts.iter().position(|(other, _)| *other == path) {
            Some(index) => index,
            None => {
                let pristine = fs::read_to_string(path.with_extension("pristine"))?;
                texts.push((path.clone(), pristine));
                texts.len() - 1
            }
        };
        let text = &mut texts[index].1;
        if !text.contains(from) {
            return Err(format!("{} no longer contains {from:?}", path.display()).into());
        }
        *text = text.replace(from, to);
    }
    for (path, text) in texts {
        write_if_new(&path, &text)?;
    }
    Ok(())
}

fn write_if_new(path: &Path, text: &str) -> Result {
    if fs::read_to_string(path).ok().as_deref() != Some(text) {
        fs::write(path, text)?;
    }
    Ok(())
}
