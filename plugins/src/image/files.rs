//! Files on their way to several threads that write them.
//!
//! They go in batches. What a batch is read into is used again: memory that comes fresh from the
//! kernel costs as much as the copy that goes into it.

use std::{
    io::{self, Read},
    ops::Range,
    path::{Path, PathBuf},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use sampan_core::{
    Rootfs,
    rootfs::{Existing, Kind, Metadata, Placer},
};

use crate::PluginError;

/// How many batches may wait to be written.
const WAITING: usize = 16;
/// Neighbours go to the same thread: it has their directory open, and two threads that make names
/// in one directory wait for each other.
const BATCH_FILES: usize = 32;
const BATCH_BYTES: usize = 512 << 10;
/// Files of a batch are not larger: 1 MiB.
pub(super) const LARGEST: u64 = 1 << 20;

/// Files that one thread makes.
#[derive(Default)]
pub(super) struct Batch {
    files: Vec<(PathBuf, Metadata, Range<usize>)>,
    /// Behind `used` stands what an earlier use left.
    data: Vec<u8>,
    used: usize,
}

impl Batch {
    /// Takes the next `size` bytes of `from` as a file.
    pub(super) fn read(
        &mut self,
        name: PathBuf,
        metadata: Metadata,
        size: usize,
        from: &mut impl Read,
    ) -> io::Result<()> {
        let range = self.used..self.used + size;
        if self.data.len() < range.end {
            self.data.resize(range.end, 0);
        }
        from.read_exact(&mut self.data[range.clone()])?;
        self.used = range.end;
        self.files.push((name, metadata, range));
        Ok(())
    }

    pub(super) fn is_full(&self) -> bool {
        self.files.len() >= BATCH_FILES || self.used >= BATCH_BYTES
    }

    fn clear(&mut self) {
        self.files.clear();
        self.used = 0;
    }
}

/// Files that wait.
pub(super) struct Files {
    queue: Mutex<Queue>,
    changed: Condvar,
}

/// Lets nobody wait for a thread that panicked.
struct Told<'a>(&'a Files);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().failed = true;
            self.0.changed.notify_all();
        }
    }
}

#[derive(Default)]
struct Queue {
    batches: Vec<Batch>,
    /// Written, and to be filled again.
    empty: Vec<Batch>,
    closed: bool,
    failed: bool,
}

impl Files {
    pub(super) fn new() -> Self {
        Self {
            queue: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Hands a batch on, when there is room, and answers with the next to be filled; `None` when no
    /// thread writes any more.
    pub(super) fn hand_on(&self, batch: Batch) -> Option<Batch> {
        let mut queue = self.lock();
        while queue.batches.len() >= WAITING && !queue.failed {
            queue = self.wait(queue);
        }
        if queue.failed {
            return None;
        }
        queue.batches.push(batch);
        self.changed.notify_all();
        Some(queue.empty.pop().unwrap_or_default())
    }

    /// Nothing more comes.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// The work of one thread: writes until nothing more comes.
    pub(super) fn write_all(&self, rootfs: &Rootfs, target: &Path) -> Result<(), PluginError> {
        let _told = Told(self);
        let mut placer = Placer::new(rootfs, Existing::Refuse);
        while let Some(mut batch) = self.take() {
            for (name, metadata, range) in &batch.files {
                let kind = Kind::Bytes(&batch.data[range.clone()]);
                if let Err(error) = placer.place(name, kind, metadata) {
                    self.lock().failed = true;
                    self.changed.notify_all();
                    return Err(PluginError::rootfs(target)(error));
                }
            }
            batch.clear();
            self.lock().empty.push(batch);
        }
        Ok(())
    }

    fn take(&self) -> Option<Batch> {
        let mut queue = self.lock();
        loop {
            if queue.failed {
                return None;
            }
            if let Some(batch) = queue.batches.pop() {
                self.changed.notify_all();
                return Some(batch);
            }
            if queue.closed {
                return None;
            }
            queue = self.wait(queue);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // A thread that panicked is told by its end; the queue is whole all the same.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, queue: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
        self.changed
            .wait(queue)
            .unwrap_or_else(PoisonError::into_inner)
    }
}
