//! What commands are given: arguments, directories, and the ways to images and containers.

use std::{cell::Cell, path::PathBuf, sync::Arc};

use sampan_plugins::{
    Cancellation, Descriptions, Downloader, ImageStore, Memory, Session, Template, Templates,
};

use sampan_runtime::{Container, Containers, Networks};

use crate::{
    arguments::Global,
    directories::Directories,
    failure::{Failure, Outcome},
    reporter::Console,
    signals::{self, Waiting},
};

/// One invocation.
pub struct Context {
    /// What all commands share.
    pub global: Global,
    /// Where everything is.
    pub directories: Directories,
    /// Tells a person what goes on.
    pub console: Console,
}

impl Context {
    /// From what was typed.
    pub fn new(global: Global) -> Self {
        Self {
            directories: Directories::of(&global),
            console: Console::new(&global),
            global,
        }
    }

    /// The images.
    pub fn images(&self) -> ImageStore {
        ImageStore::new(&self.directories.cache)
    }

    /// The containers.
    pub fn containers(&self) -> Containers {
        Containers::new(sampan_runtime::Directories {
            state: self.directories.state.clone(),
            run: self.directories.run.clone(),
            log: self.directories.log.clone(),
        })
        .reserving_ids_in(&self.directories.etc)
    }

    /// The networks.
    pub fn networks(&self) -> Networks {
        self.containers().networks()
    }

    /// The container of this name.
    pub fn container(&self, name: &str) -> Outcome<Container> {
        Ok(self.containers().open(&name.parse()?)?)
    }

    /// Fails unless the process may do what `doing` needs root for.
    pub fn need_root(&self, doing: &str) -> Outcome {
        if nix::unistd::geteuid().is_root() {
            return Ok(());
        }
        let words: Vec<String> = std::env::args().skip(1).collect();
        Err(Failure::new(format!("{doing} needs root"))
            .hint(format!("run: sudo sampan {}", words.join(" "))))
    }

    /// What is needed to call templates.
    pub fn workshop(&self) -> Outcome<Workshop<'_>> {
        let program = std::env::current_exe().map_err(|error| {
            Failure::new(format!("cannot find the running program itself: {error}"))
        })?;
        let (cancellation, waiting) = signals::cancel_on_signals()?;
        Ok(Workshop {
            program,
            downloader: Downloader::new(&self.directories.cache.join("downloads/v1"))?,
            memory: Memory::new(self.directories.cache.join("memory/v1")),
            descriptions: Descriptions::new(self.directories.cache.join("descriptions/v1")),
            cancellation,
            waiting: Cell::new(Some(waiting)),
            console: &self.console,
        })
    }
}

/// What is needed to call templates.
pub struct Workshop<'a> {
    program: PathBuf,
    downloader: Downloader,
    memory: Memory,
    descriptions: Descriptions,
    /// Whether the person asked to stop.
    pub cancellation: Arc<Cancellation>,
    waiting: Cell<Option<Waiting>>,
    console: &'a Console,
}

impl Workshop<'_> {
    /// No template is called any more: signals are no longer a wish to cancel, but wait for whoever
    /// asks for them next.
    pub fn release_signals(&self) {
        if let Some(waiting) = self.waiting.take() {
            waiting.end();
        }
    }

    /// A session with the templates.
    pub fn session(&self) -> Session<'_> {
        Session {
            program: self.program.clone(),
            arguments: vec!["worker".to_owned()],
            downloader: &self.downloader,
            memory: &self.memory,
            descriptions: &self.descriptions,
            reporter: self.console,
            cancellation: &self.cancellation,
        }
    }

    /// Finds a template and asks it what it is.
    pub fn template(&self, name: &str) -> Outcome<Template> {
        let found = Templates::from_environment().find(name)?;
        Ok(self.session().describe(&found)?)
    }
}
