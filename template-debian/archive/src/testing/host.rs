//! A host whose network is a made-up mirror in memory.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    path::PathBuf,
};

use sampan_core::{Command, Download, ErrorKind, Host, Level, Outcome, TemplateError, Unit};
use sha2::{Digest, Sha256};

use super::BuiltMirror;
use crate::source::hex;

/// The address under which the mirror is found.
pub(crate) const ADDRESS: &str = "http://mirror.invalid/debian";

/// Keeps the contract of [`Host`] and remembers what was asked.
pub(crate) struct MemoryHost {
    pub(crate) mirror: BuiltMirror,
    files: tempfile::TempDir,
    next: Cell<usize>,
    pub(crate) log: RefCell<Vec<String>>,
    pub(crate) commands: RefCell<Vec<String>>,
    highest: RefCell<BTreeMap<String, i64>>,
}

impl MemoryHost {
    pub(crate) fn new(mirror: BuiltMirror) -> Self {
        Self {
            mirror,
            files: tempfile::tempdir().expect("a scratch directory"),
            next: Cell::new(0),
            log: RefCell::default(),
            commands: RefCell::default(),
            highest: RefCell::default(),
        }
    }

    fn get(&self, url: &str) -> Result<&[u8], TemplateError> {
        let path = url
            .strip_prefix(ADDRESS)
            .and_then(|rest| rest.strip_prefix('/'));
        let found = path.and_then(|path| self.mirror.files.get(path));
        found.map(|bytes| &bytes[..]).ok_or_else(|| {
            TemplateError::new(
                ErrorKind::Fetch,
                format!("cannot fetch {url}: 404 Not Found"),
            )
        })
    }
}

impl Host for MemoryHost {
    fn log(&self, _: Level, message: &str) {
        self.log.borrow_mut().push(message.to_owned());
    }

    fn progress(&self, _: &str, _: u64, _: u64, _: Unit) {}

    fn fetch(&self, downloads: &[Download]) -> Result<Vec<PathBuf>, TemplateError> {
        downloads
            .iter()
            .map(|download| {
                let mut last = TemplateError::failed("no address");
                for url in &download.urls {
                    match self.get(url) {
                        Ok(bytes)
                            if bytes.len() as u64 == download.size
                                && hex(&Sha256::digest(bytes)) == download.sha256 =>
                        {
                            let path = self.files.path().join(self.next.get().to_string());
                            self.next.set(self.next.get() + 1);
                            std::fs::write(&path, bytes).expect("a scratch file");
                            return Ok(path);
                        }
                        Ok(_) => {
                            last = TemplateError::untrusted(format!(
                                "{url} is not what the archive signed"
                            ));
                        }
                        Err(error) => last = error,
                    }
                }
                Err(last)
            })
            .collect()
    }

    fn fetch_unverified(&self, url: &str, limit: u64) -> Result<Vec<u8>, TemplateError> {
        let bytes = self.get(url)?;
        if bytes.len() as u64 > limit {
            return Err(TemplateError::untrusted(format!("{url} is too large")));
        }
        Ok(bytes.to_vec())
    }

    fn run(&self, command: &Command) -> Result<Outcome, TemplateError> {
        self.commands.borrow_mut().push(command.argv.join(" "));
        Ok(Outcome::default())
    }

    fn remember_highest(&self, name: &str, value: i64) -> Result<i64, TemplateError> {
        let mut all = self.highest.borrow_mut();
        let highest = all.entry(name.to_owned()).or_insert(value);
        *highest = value.max(*highest);
        Ok(*highest)
    }

    fn cancelled(&self) -> bool {
        false
    }
}
