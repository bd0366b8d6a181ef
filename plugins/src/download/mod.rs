//! Fetching for templates: in parallel, resumed, retried, and cached by hash.
//!
//! DIRECTORY/sha256/AB/ABCD… holds finished files under the hash of their contents; whoever uses
//! one hashes it again, so that a damaged disk or a changed file is noticed. DIRECTORY/parts holds
//! unfinished ones, locked while somebody writes them, resumed by whoever wants them next.

mod http;
mod store;

use std::{
    collections::{HashMap, VecDeque},
    path::{Path, PathBuf},
};

use sampan_core::{Download, ErrorKind, Level, Span, TemplateError, Unit};

use crate::{Cancellation, PluginError, Reporter};
use http::Client;
use store::Store;

pub(crate) use store::hex;

/// The most that is fetched into memory, whatever a template asks for: 32 MiB.
const WHOLE_LIMIT: u64 = 32 << 20;

/// How many files are fetched at the same time.
const PARALLEL: usize = 8;

/// Fetches and caches.
#[derive(Debug)]
pub struct Downloader {
    store: Store,
    client: std::cell::OnceCell<Client>,
}

impl Downloader {
    /// A downloader that keeps its files in `directory`, which is made.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn new(directory: &Path) -> Result<Self, PluginError> {
        Ok(Self {
            store: Store::create(directory)?,
            client: std::cell::OnceCell::new(),
        })
    }

    /// Where the files are.
    pub fn directory(&self) -> &Path {
        self.store.directory()
    }

    /// Fetches what is not in the cache and hands on each file as soon as it is there: its place
    /// among `downloads` and its name below [`Downloader::directory`]. They are fetched in the
    /// order in which they are given.
    pub(crate) fn fetch(
        &self,
        downloads: &[Download],
        mirrors: &[String],
        reporter: &dyn Reporter,
        cancellation: &Cancellation,
        ready: &mut dyn FnMut(usize, PathBuf) -> Result<(), TemplateError>,
    ) -> Result<(), TemplateError> {
        // By hash, since nobody fetches the same file twice.
        let mut missing: HashMap<&str, Vec<usize>> = HashMap::new();
        let mut queue: VecDeque<&Download> = VecDeque::new();
        for (index, download) in downloads.iter().enumerate() {
            let name = store::name(&download.sha256)?;
            if let Some(indices) = missing.get_mut(download.sha256.as_str()) {
                indices.push(index);
                continue;
            }
            match self.store.look_up(download)? {
                store::Cached::Sound => {
                    ready(index, name)?;
                    continue;
                }
                store::Cached::Absent => {}
                store::Cached::Damaged { path, reason } => {
                    let path = path.display();
                    reporter.log(
                        Level::Warn,
                        &format!(
                            "the cached download {path} is damaged ({reason}); it is fetched again"
                        ),
                    );
                }
            }
            missing.insert(&download.sha256, vec![index]);
            queue.push_back(download);
        }
        if queue.is_empty() {
            return Ok(());
        }
        let total = queue
            .iter()
            .fold(0, |sum: u64, download| sum.saturating_add(download.size));
        let meter = Meter::new(reporter, total);
        let ready = std::cell::RefCell::new(ready);
        let arrived = |download: &Download| {
            let name = store::name(&download.sha256)?;
            for index in missing.get(download.sha256.as_str()).into_iter().flatten() {
                (ready.borrow_mut())(*index, name.clone())?;
            }
            Ok(())
        };
        self.block_on(
            cancellation,
            self.fetch_all(queue, mirrors, &meter, &arrived),
        )??;
        meter.finish();
        Ok(())
    }

    /// Fetches metadata of at most `limit` bytes. Nothing is cached.
    pub(crate) fn fetch_unverified(
        &self,
        url: &str,
        limit: u64,
        mirrors: &[String],
        cancellation: &Cancellation,
    ) -> Result<Vec<u8>, TemplateError> {
        let limit = limit.min(WHOLE_LIMIT);
        if let Some(path) = local_path(url, mirrors)? {
            return store::read_local(&path, limit);
        }
        self.block_on(cancellation, self.client()?.get_whole(url, limit))?
    }

    async fn fetch_all(
        &self,
        queue: VecDeque<&Download>,
        mirrors: &[String],
        meter: &Meter<'_>,
        arrived: &dyn Fn(&Download) -> Result<(), TemplateError>,
    ) -> Result<(), TemplateError> {
        let queue = std::cell::RefCell::new(queue);
        let lane = || async {
            loop {
                let Some(download) = queue.borrow_mut().pop_front() else {
                    return Ok(());
                };
                self.fetch_one(download, mirrors, meter).await?;
                arrived(download)?;
            }
        };
        join_all((0..PARALLEL).map(|_| lane()).collect()).await
    }

    async fn fetch_one(
        &self,
        download: &Download,
        mirrors: &[String],
        meter: &Meter<'_>,
    ) -> Result<(), TemplateError> {
        let started = Span::now();
        let mut part = self.store.part(download).await?;
        let mut last = None;
        for url in &download.urls {
            let begun = meter.done.get();
            let fetched = match local_path(url, mirrors) {
                Ok(Some(path)) => part.copy_from(&path, download),
                Ok(None) => {
                    self.client()?
                        .get_part(url, &mut part, download, meter)
                        .await
                }
                Err(error) => Err(error),
            };
            match fetched.and_then(|()| part.finish(download, url)) {
                Ok(()) => {
                    meter.fetched(&Span::since(started, "download", &download.label));
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Fetch => {
                    meter.done.set(begun);
                    last = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or_else(|| {
            TemplateError::failed(format!("there is no address for {}", download.label))
        }))
    }

    fn client(&self) -> Result<&Client, TemplateError> {
        if self.client.get().is_none() {
            // Nobody else can have set it meanwhile: the cell belongs to one thread.
            let _ = self.client.set(Client::new()?);
        }
        self.client
            .get()
            .ok_or_else(|| TemplateError::failed("the HTTP client could not be made"))
    }

    fn block_on<T>(
        &self,
        cancellation: &Cancellation,
        work: impl Future<Output = T>,
    ) -> Result<T, TemplateError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| TemplateError::failed(format!("cannot start a download: {error}")))?;
        runtime.block_on(async {
            let mut work = std::pin::pin!(work);
            let mut wish = std::pin::pin!(cancellation.wished());
            std::future::poll_fn(|context| {
                if wish.as_mut().poll(context).is_ready() {
                    return std::task::Poll::Ready(Err(TemplateError::cancelled()));
                }
                work.as_mut().poll(context).map(Ok)
            })
            .await
        })
    }
}

/// Drives all futures at once; the first error ends the others.
async fn join_all<F: Future<Output = Result<(), TemplateError>>>(
    futures: Vec<F>,
) -> Result<(), TemplateError> {
    let mut running: Vec<_> = futures.into_iter().map(Box::pin).collect();
    std::future::poll_fn(|context| {
        let mut index = 0;
        while index < running.len() {
            match running[index].as_mut().poll(context) {
                std::task::Poll::Ready(Ok(())) => drop(running.swap_remove(index)),
                std::task::Poll::Ready(Err(error)) => {
                    return std::task::Poll::Ready(Err(error));
                }
                std::task::Poll::Pending => index += 1,
            }
        }
        if running.is_empty() {
            std::task::Poll::Ready(Ok(()))
        } else {
            std::task::Poll::Pending
        }
    })
    .await
}

/// The path of a file: address, allowed only below a mirror that was chosen as one: a template
/// must not read the host's files.
fn local_path(url: &str, mirrors: &[String]) -> Result<Option<PathBuf>, TemplateError> {
    let Some(path) = url.strip_prefix("file://") else {
        if url.starts_with("http://") || url.starts_with("https://") {
            return Ok(None);
        }
        return Err(TemplateError::new(
            ErrorKind::Fetch,
            format!("cannot fetch {url}: only http:, https: and file: addresses are supported"),
        ));
    };
    let below = mirrors.iter().any(|mirror| {
        mirror
            .strip_prefix("file://")
            .is_some_and(|mirror| mirror.starts_with('/') && Path::new(path).starts_with(mirror))
    });
    if !below || path.split('/').any(|part| part == "..") {
        return Err(TemplateError::new(
            ErrorKind::Untrusted,
            format!("the template asked for {url}, which is not below its mirror"),
        ));
    }
    Ok(Some(path.into()))
}

/// Adds up what all lanes have fetched.
struct Meter<'a> {
    reporter: &'a dyn Reporter,
    total: u64,
    done: std::cell::Cell<u64>,
}

impl<'a> Meter<'a> {
    fn new(reporter: &'a dyn Reporter, total: u64) -> Self {
        let meter = Self {
            reporter,
            total,
            done: std::cell::Cell::new(0),
        };
        meter.add(0);
        meter
    }

    fn add(&self, bytes: u64) {
        self.done.set(self.done.get().saturating_add(bytes));
        // The end is told by `finish`: the last file is not verified before.
        let shown = self.done.get().min(self.total.saturating_sub(1));
        self.reporter
            .progress("downloading", shown, self.total, Unit::Bytes);
    }

    fn fetched(&self, span: &Span) {
        self.reporter.span(span);
    }

    fn finish(&self) {
        self.reporter
            .progress("downloading", self.total, self.total, Unit::Bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Silent;

    fn download(bytes: &[u8], url: String) -> Download {
        use sha2::Digest as _;
        Download {
            urls: vec![url],
            sha256: hex(&sha2::Sha256::digest(bytes)),
            size: bytes.len() as u64,
            label: "thing".to_owned(),
        }
    }

    struct Scene {
        _dir: tempfile::TempDir,
        mirror: PathBuf,
        downloader: Downloader,
        cancellation: Cancellation,
    }

    fn scene() -> Scene {
        let dir = tempfile::tempdir().unwrap();
        let mirror = dir.path().join("mirror");
        std::fs::create_dir(&mirror).unwrap();
        std::fs::write(mirror.join("thing"), "contents").unwrap();
        Scene {
            downloader: Downloader::new(&dir.path().join("cache")).unwrap(),
            mirror,
            _dir: dir,
            cancellation: Cancellation::new().unwrap(),
        }
    }

    impl Scene {
        fn fetch(&self, download: Download) -> Result<Vec<PathBuf>, TemplateError> {
            let mirrors = [format!("file://{}", self.mirror.display())];
            let mut names = Vec::new();
            self.downloader.fetch(
                &[download],
                &mirrors,
                &Silent,
                &self.cancellation,
                &mut |_, name| {
                    names.push(name);
                    Ok(())
                },
            )?;
            Ok(names)
        }

        fn url(&self) -> String {
            format!("file://{}/thing", self.mirror.display())
        }
    }

    #[test]
    fn a_file_is_kept_under_its_hash_and_not_fetched_twice() {
        let scene = scene();
        let wanted = download(b"contents", scene.url());
        let names = scene.fetch(wanted.clone()).unwrap();
        let kept = scene.downloader.directory().join(&names[0]);
        assert_eq!(std::fs::read(kept).unwrap(), b"contents");
        std::fs::remove_file(scene.mirror.join("thing")).unwrap();
        scene.fetch(wanted).unwrap();
    }

    #[test]
    fn a_flipped_byte_in_the_cache_is_noticed_and_mended() {
        let scene = scene();
        let wanted = download(b"contents", scene.url());
        let names = scene.fetch(wanted.clone()).unwrap();
        let kept = scene.downloader.directory().join(&names[0]);
        std::fs::write(&kept, "cOntents").unwrap();
        scene.fetch(wanted).unwrap();
        assert_eq!(std::fs::read(kept).unwrap(), b"contents");
    }

    #[test]
    fn other_bytes_than_asked_for_are_refused_and_not_kept() {
        let scene = scene();
        let wanted = download(b"cOntents", scene.url());
        let error = scene.fetch(wanted.clone()).unwrap_err();
        assert!(error.message().contains("SHA-256"), "{error}");
        let mut short = download(b"contents", scene.url());
        short.size = 3;
        assert!(scene.fetch(short).is_err());
        let parts = scene.downloader.directory().join("parts");
        assert_eq!(parts.read_dir().unwrap().count(), 0);
    }

    #[test]
    fn a_template_cannot_read_files_that_are_not_of_its_mirror() {
        let scene = scene();
        for url in [
            "file:///etc/shadow".to_owned(),
            format!("file://{}/../x", scene.mirror.display()),
        ] {
            let error = scene.fetch(download(b"x", url)).unwrap_err();
            assert!(error.message().contains("not below its mirror"), "{error}");
        }
    }

    #[test]
    fn what_is_no_file_in_a_mirror_on_this_machine_is_not_waited_for() {
        let scene = scene();
        let pipe = scene.mirror.join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mirrors = [format!("file://{}", scene.mirror.display())];
        for name in ["pipe", ""] {
            let url = format!("file://{}/{name}", scene.mirror.display());
            let wish = &scene.cancellation;
            let whole = scene.downloader.fetch_unverified(&url, 9, &mirrors, wish);
            let error = whole.unwrap_err();
            assert!(error.message().contains("it is not a file"), "{error}");
            let error = scene.fetch(download(b"x", url)).unwrap_err();
            assert!(error.message().contains("it is not a file"), "{error}");
        }
    }

    #[test]
    fn absurd_sizes_and_limits_are_errors_and_not_more() {
        let scene = scene();
        let mut wanted = download(b"contents", scene.url());
        wanted.size = u64::MAX;
        let mut other = download(b"other", scene.url());
        other.size = u64::MAX;
        let mirrors = [format!("file://{}", scene.mirror.display())];
        let downloader = &scene.downloader;
        let fetched = downloader.fetch(
            &[wanted, other],
            &mirrors,
            &Silent,
            &scene.cancellation,
            &mut |_, _| Ok(()),
        );
        assert!(fetched.is_err());
        let wish = &scene.cancellation;
        let whole = downloader.fetch_unverified(&scene.url(), u64::MAX, &mirrors, wish);
        assert_eq!(whole.unwrap(), b"contents");
    }

    #[test]
    fn a_hash_that_is_a_path_is_refused() {
        let scene = scene();
        let mut wanted = download(b"contents", scene.url());
        wanted.sha256 = "../../../../etc/passwd".to_owned();
        assert!(scene.fetch(wanted).is_err());
    }
}
