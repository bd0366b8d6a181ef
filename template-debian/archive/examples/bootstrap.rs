//! Builds a tree without Sampan: a developer's tool to look at what this crate makes.
//!
//!     bootstrap MIRROR SUITE VARIANT KEYRING CACHE ROOTFS [INCLUDE,…]
//!
//! Needs root, curl, unshare and chroot. Nothing is isolated: the packages' scripts run as root
//! of this machine. Only for trees that one would also make with debootstrap.

#![forbid(unsafe_code)]

use std::{
    cell::RefCell,
    io::Write,
    path::PathBuf,
    process::{Command as Process, Stdio},
    time::Instant,
};

use sampan_core::{
    Command, Download, ErrorKind, Host, Level, Outcome, Rootfs, TemplateError, Unit, split_list,
};
use sampan_debian_archive::{
    bootstrap::bootstrap,
    openpgp::Keyring,
    selection::{Choice, Variant},
    source::{Archive, Suite, Wanted, hex},
};
use sha2::{Digest, Sha256};

struct DirectHost {
    cache: PathBuf,
    rootfs: PathBuf,
    start: Instant,
    last: RefCell<String>,
}

impl DirectHost {
    fn say(&self, message: &str) {
        eprintln!("[{:7.2}] {message}", self.start.elapsed().as_secs_f64());
    }

    fn curl(&self, url: &str, limit: u64) -> Result<Vec<u8>, TemplateError> {
        let output = Process::new("curl")
            .args(["-fsSL", "--max-filesize", &limit.to_string(), "--", url])
            .output()
            .map_err(|error| TemplateError::failed(error.to_string()))?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let reason = String::from_utf8_lossy(&output.stderr);
        let message = format!("cannot fetch {url}: {}", reason.trim());
        Err(TemplateError::new(ErrorKind::Fetch, message))
    }
}

impl Host for DirectHost {
    fn log(&self, level: Level, message: &str) {
        self.say(&format!("{level:?}: {message}"));
    }

    fn progress(&self, task: &str, done: u64, total: u64, _: Unit) {
        let mut last = self.last.borrow_mut();
        if *last != task || done == total {
            self.say(&format!("{task} {done}/{total}"));
            task.clone_into(&mut last);
        }
    }

    fn fetch(&self, downloads: &[Download]) -> Result<Vec<PathBuf>, TemplateError> {
        let mut paths = Vec::new();
        for download in downloads {
            let path = self.cache.join(&download.sha256);
            let mut result = Ok(());
            for url in download.urls.iter().filter(|_| !path.exists()) {
                result = self.curl(url, download.size).and_then(|bytes| {
                    if hex(&Sha256::digest(&bytes)) != download.sha256 {
                        return Err(TemplateError::untrusted(format!("{url}: wrong SHA-256")));
                    }
                    std::fs::write(&path, bytes)
                        .map_err(|error| TemplateError::failed(error.to_string()))
                });
                if result.is_ok() {
                    break;
                }
            }
            result?;
            paths.push(path);
        }
        self.say(&format!("fetched {}", downloads.len()));
        Ok(paths)
    }

    fn fetch_unverified(&self, url: &str, limit: u64) -> Result<Vec<u8>, TemplateError> {
        self.curl(url, limit)
    }

    fn run(&self, command: &Command) -> Result<Outcome, TemplateError> {
        let start = Instant::now();
        let failed = |error: std::io::Error| TemplateError::failed(error.to_string());
        let script = "mount -t proc proc \"$1/proc\" && mount --rbind /dev \"$1/dev\" && \
                      root=$1 && shift && exec chroot \"$root\" \"$@\" 2>&1";
        let mut child = Process::new("unshare")
            .args(["-m", "-n", "sh", "-c", script, "sh"])
            .arg(&self.rootfs)
            .args(&command.argv)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/root")
            .env("LANG", "C.UTF-8")
            .envs(command.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(&command.stdin).map_err(failed)?;
        }
        let output = child.wait_with_output().map_err(failed)?;
        let outcome = Outcome {
            code: output.status.code().unwrap_or(255),
            output: String::from_utf8_lossy(&output.stdout).into_owned(),
            status: Vec::new(),
        };
        self.say(&format!(
            "{} -> {} in {:.2} s",
            command.argv.join(" "),
            outcome.code,
            start.elapsed().as_secs_f64()
        ));
        if std::env::var_os("VERBOSE").is_some() {
            eprintln!("{}", outcome.output);
        }
        Ok(outcome)
    }

    fn cancelled(&self) -> bool {
        false
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mirror, suite, variant, keyring, cache, rootfs, rest @ ..] = &arguments[..] else {
        return Err("bootstrap MIRROR SUITE VARIANT KEYRING CACHE ROOTFS [INCLUDE,…]".into());
    };
    std::fs::create_dir_all(cache)?;
    std::fs::create_dir_all(rootfs)?;
    let host = DirectHost {
        cache: cache.into(),
        rootfs: rootfs.into(),
        start: Instant::now(),
        last: RefCell::default(),
    };
    let wanted = Wanted {
        mirrors: split_list(mirror).into_iter().map(str::to_owned).collect(),
        suite: suite.clone(),
        arch: "amd64".to_owned(),
        components: vec!["main".to_owned()],
        allow_expired_release: std::env::var_os("ALLOW_EXPIRED").is_some(),
        ..Wanted::default()
    };
    let keyring = Keyring::parse(&std::fs::read(keyring)?, keyring)?;
    let variant = Variant::parse(variant).ok_or("there is no such variant")?;
    let archive = Archive::from(Suite::open(&host, wanted, &keyring)?);
    host.say(&archive.fingerprint());
    let tree = Rootfs::open(rootfs.as_ref())?;
    let include = rest
        .first()
        .map(|list| split_list(list))
        .unwrap_or_default();
    let choice = Choice {
        include: &include,
        ..Choice::default()
    };
    let outcome = bootstrap(&host, &tree, &archive, variant, &choice)?;
    host.say(&format!("{} packages", outcome.packages.len()));
    for package in outcome.packages {
        println!("{} {} {}", package.name, package.version, package.arch);
    }
    Ok(())
}
