//! Unpacking in stages while other things go on: while files still arrive, what is there is
//! unpacked; while the scripts of one stage run, the next stage is decoded into memory.
//!
//! A stage may only be unpacked when the one before works (scripts look for programs), but
//! decoding needs no tree, and one processor is idle while scripts run.

use std::{
    collections::BTreeMap,
    num::NonZero,
    path::PathBuf,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use sampan_core::{Span, rootfs::Rootfs};

use super::{Claims, Contents, One, finish_directories, settle_contests, unpack_one};
use crate::{Error, Result, dpkg_database::Record, packages::Package};

/// How much memory packages that wait for their stage may take. More of them are decoded when
/// their stage comes.
const WAITING_LIMIT: u64 = 96 << 20;

/// How much a .deb grows when it is decoded, as a guess before it is.
const GROWTH: u64 = 5;

/// Unpacks packages as they arrive, each stage when it is its turn.
pub struct Pool<'e, 't> {
    rootfs: &'e Rootfs,
    packages: &'e [Package<'t>],
    stages: &'e [usize],
    state: Mutex<State>,
    changed: Condvar,
    claims: Vec<Claims>,
}

struct State {
    /// The stage that is unpacked now.
    stage: usize,
    slots: Vec<Slot>,
    done: BTreeMap<usize, One>,
    /// Bytes of what is decoded and waits.
    waiting: u64,
    failure: Option<(usize, Error)>,
    spans: Vec<Span>,
    over: bool,
}

enum Slot {
    /// Not there yet.
    Missing,
    /// The .deb is there.
    Arrived(PathBuf),
    /// Some thread decodes it.
    Decoding(PathBuf),
    /// Decoded before its stage.
    Decoded(PathBuf, Contents),
    /// Unpacked, or some thread does that.
    Taken(PathBuf),
}

enum Job {
    Unpack(usize, PathBuf, Option<Contents>),
    Decode(usize, PathBuf),
}

/// Runs `work` with a pool for `packages`; `stages` holds the stage of each, from 0.
pub fn in_stages<'t, T>(
    rootfs: &Rootfs,
    packages: &[Package<'t>],
    stages: &[usize],
    work: impl FnOnce(&Pool<'_, 't>) -> Result<T>,
) -> Result<T> {
    let last = stages.iter().max().map_or(0, |last| last + 1);
    let pool = Pool {
        rootfs,
        packages,
        stages,
        state: Mutex::new(State {
            stage: 0,
            slots: packages.iter().map(|_| Slot::Missing).collect(),
            done: BTreeMap::new(),
            waiting: 0,
            failure: None,
            spans: Vec::new(),
            over: false,
        }),
        changed: Condvar::new(),
        claims: (0..last).map(|_| Claims::default()).collect(),
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        for _ in 0..threads.min(8) {
            scope.spawn(|| pool.serve());
        }
        // Also when `work` panics: the scope waits for the threads.
        let _end = End(&pool);
        work(&pool)
    })
}

impl<'t> Pool<'_, 't> {
    /// The .deb of a package is there.
    pub fn arrived(&self, index: usize, path: PathBuf) {
        let mut state = self.lock();
        if let Some(slot) = state.slots.get_mut(index) {
            *slot = Slot::Arrived(path);
        }
        self.changed.notify_all();
    }

    /// Lets a stage be unpacked and waits for it. `progress` is told how many of all packages are
    /// done and answers whether to go on.
    pub fn finish_stage(
        &self,
        stage: usize,
        archive_fields: bool,
        progress: &mut dyn FnMut(usize) -> Result<()>,
    ) -> Result<Vec<Record<'t>>> {
        let mine = |index: &usize| self.stages.get(*index) == Some(&stage);
        let wanted = self.stages.iter().filter(|of| **of == stage).count();
        let mut told = None;
        let mut state = self.lock();
        state.stage = stage;
        self.changed.notify_all();
        loop {
            if state.failure.is_some() {
                // What is under way ends first, so that of several failures the same one is told
                // every time.
                state.over = true;
                self.changed.notify_all();
                let failure = state.failure.take();
                if let Some((_, error)) = failure {
                    return Err(error);
                }
            }
            let done = state.done.len();
            if told != Some(done) {
                told = Some(done);
                drop(state);
                progress(done)?;
                state = self.lock();
                continue;
            }
            if state.done.keys().filter(|index| mine(index)).count() == wanted {
                break;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let mut unpacked: BTreeMap<usize, One> = BTreeMap::new();
        for index in (0..self.packages.len()).filter(mine) {
            if let Some(one) = state.done.get_mut(&index) {
                unpacked.insert(index, std::mem::take(one));
            }
        }
        let paths: Vec<PathBuf> = state.slots.iter().map(Slot::path).collect();
        drop(state);
        let of = |index: usize| (&self.packages[index], paths[index].as_path());
        if let Some(claims) = self.claims.get(stage) {
            settle_contests(self.rootfs, &of, &mut unpacked, claims)?;
        }
        finish_directories(self.rootfs, &unpacked)?;
        Ok(unpacked
            .into_iter()
            .map(|(index, one)| Record {
                package: self.packages[index],
                archive_fields,
                control: one.control,
                list: one.list,
                conffiles: one.conffiles,
            })
            .collect())
    }

    /// What was done since the last time, and how long it took.
    pub fn spans(&self) -> Vec<Span> {
        std::mem::take(&mut self.lock().spans)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A thread that panicked left a state that is whole: every change is one assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self) {
        let _fall = Fall(self);
        while let Some(job) = self.next() {
            let begun = Span::now();
            match job {
                Job::Unpack(index, path, contents) => {
                    let (stage, package) = (self.stages[index], &self.packages[index]);
                    let result = match contents {
                        Some(contents) => Ok(contents),
                        None => Contents::open(package, &path),
                    }
                    .and_then(|contents| {
                        unpack_one(self.rootfs, package, contents, index, &self.claims[stage])
                    });
                    let span = Span::since(begun, "unpack", package.name);
                    let mut state = self.lock();
                    state.spans.push(span);
                    match result {
                        Ok(one) => drop(state.done.insert(index, one)),
                        Err(error) => state.fail(index, error),
                    }
                }
                Job::Decode(index, path) => {
                    let package = &self.packages[index];
                    let result =
                        Contents::open(package, &path).and_then(|c| c.decode(WAITING_LIMIT));
                    let span = Span::since(begun, "decode", package.name);
                    let mut state = self.lock();
                    state.spans.push(span);
                    match result {
                        Ok(contents) => {
                            state.waiting = state.waiting - guess(package) + contents.size();
                            state.slots[index] = Slot::Decoded(path, contents);
                        }
                        Err(error) => state.fail(index, error),
                    }
                }
            }
            self.changed.notify_all();
        }
    }

    /// What to do next: of the present stage the largest package that is there, else the largest
    /// of a later one as long as there is room for it.
    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if state.over || state.failure.is_some() {
                return None;
            }
            let now = state.stage;
            let largest = |state: &State, fits: &dyn Fn(usize, &Slot) -> bool| {
                let slots = state.slots.iter().enumerate();
                slots
                    .filter(|(index, slot)| fits(*index, slot))
                    .max_by_key(|(index, _)| self.packages[*index].size)
                    .map(|(index, _)| index)
            };
            let ready = |index: usize, slot: &Slot| {
                self.stages[index] == now && matches!(slot, Slot::Arrived(_) | Slot::Decoded(..))
            };
            if let Some(index) = largest(&state, &ready) {
                let path = state.slots[index].path();
                let taken = std::mem::replace(&mut state.slots[index], Slot::Taken(path.clone()));
                let contents = match taken {
                    Slot::Decoded(_, contents) => {
                        state.waiting = state.waiting.saturating_sub(contents.size());
                        Some(contents)
                    }
                    _ => None,
                };
                return Some(Job::Unpack(index, path, contents));
            }
            let room = WAITING_LIMIT.saturating_sub(state.waiting);
            let later = |index: usize, slot: &Slot| {
                self.stages[index] > now
                    && matches!(slot, Slot::Arrived(_))
                    && guess(&self.packages[index]) <= room
            };
            if let Some(index) = largest(&state, &later) {
                let path = state.slots[index].path();
                state.slots[index] = Slot::Decoding(path.clone());
                state.waiting += guess(&self.packages[index]);
                return Some(Job::Decode(index, path));
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl State {
    fn fail(&mut self, index: usize, error: Error) {
        // Of several failures the same one is told every time, if all of them happened.
        if self.failure.as_ref().is_none_or(|(at, _)| index < *at) {
            self.failure = Some((index, error));
        }
    }
}

impl Slot {
    fn path(&self) -> PathBuf {
        match self {
            Self::Missing => PathBuf::new(),
            Self::Arrived(path)
            | Self::Decoding(path)
            | Self::Decoded(path, _)
            | Self::Taken(path) => path.clone(),
        }
    }
}

fn guess(package: &Package<'_>) -> u64 {
    package.size.saturating_mul(GROWTH)
}

/// A thread that panics must not leave the others waiting for what it had begun.
struct Fall<'p, 'e, 't>(&'p Pool<'e, 't>);

impl Drop for Fall<'_, '_, '_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let error = Error::malformed("a package", "the thread that unpacked it panicked");
            self.0.lock().fail(usize::MAX, error);
            self.0.changed.notify_all();
        }
    }
}

/// Ends the pool's threads.
struct End<'p, 'e, 't>(&'p Pool<'e, 't>);

impl Drop for End<'_, '_, '_> {
    fn drop(&mut self) {
        self.0.lock().over = true;
        self.0.changed.notify_all();
    }
}
