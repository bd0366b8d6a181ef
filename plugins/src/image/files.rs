//! Files on their way to several threads that write them.

use std::{
    path::{Path, PathBuf},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use sampan_core::{
    Rootfs,
    rootfs::{Existing, Kind, Metadata, Placer},
};

use crate::PluginError;

/// How many bytes may wait to be written.
const WAITING: usize = 8 << 20;
/// Neighbours go to the same thread: it has their directory open, and two threads that make names
/// in one directory wait for each other.
const BATCH_FILES: usize = 32;
const BATCH_BYTES: usize = 512 << 10;

/// A file that is to be made.
pub(super) struct NewFile {
    pub(super) name: PathBuf,
    pub(super) metadata: Metadata,
    pub(super) data: Vec<u8>,
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
    /// Being filled.
    batch: Batch,
    batches: Vec<Batch>,
    bytes: usize,
    closed: bool,
    failed: bool,
}

#[derive(Default)]
struct Batch {
    files: Vec<NewFile>,
    bytes: usize,
}

impl Files {
    pub(super) fn new() -> Self {
        Self {
            queue: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Hands a file on, when there is room; `false` when no thread writes any more.
    pub(super) fn add(&self, file: NewFile) -> bool {
        let mut queue = self.lock();
        while queue.bytes > WAITING && !queue.failed {
            queue = self.wait(queue);
        }
        let bytes = file.data.len();
        queue.bytes += bytes;
        queue.batch.bytes += bytes;
        queue.batch.files.push(file);
        let full = queue.batch.files.len() >= BATCH_FILES || queue.batch.bytes >= BATCH_BYTES;
        // What waits longer than the limit would never be taken.
        if full || queue.bytes > WAITING {
            let batch = std::mem::take(&mut queue.batch);
            queue.batches.push(batch);
            self.changed.notify_all();
        }
        !queue.failed
    }

    /// Nothing more comes.
    pub(super) fn close(&self) {
        let mut queue = self.lock();
        let batch = std::mem::take(&mut queue.batch);
        queue.batches.push(batch);
        queue.closed = true;
        self.changed.notify_all();
    }

    /// The work of one thread: writes until nothing more comes.
    pub(super) fn write_all(&self, rootfs: &Rootfs, target: &Path) -> Result<(), PluginError> {
        let _told = Told(self);
        let mut placer = Placer::new(rootfs, Existing::Refuse);
        while let Some(batch) = self.take() {
            for file in &batch.files {
                let kind = Kind::File {
                    size: file.data.len() as u64,
                    data: &mut file.data.as_slice(),
                };
                if let Err(error) = placer.place(&file.name, kind, &file.metadata) {
                    self.lock().failed = true;
                    self.changed.notify_all();
                    return Err(PluginError::rootfs(target)(error));
                }
            }
            self.lock().bytes -= batch.bytes;
            self.changed.notify_all();
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
