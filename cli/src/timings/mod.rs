//! `--timings FILE.html`: a page that shows what took the time.

mod lanes;
mod page;

use std::path::{Path, PathBuf};

pub use page::Subject;

use crate::{context::Context, failure::Outcome, file};

/// The option, shared by `create` and `image build`.
#[derive(Debug, clap::Args)]
pub struct TimingsArg {
    /// Write a page that shows what took the time: downloads, packages, scripts, stages
    #[arg(long = "timings", value_name = "FILE.html")]
    file: Option<PathBuf>,
}

impl TimingsArg {
    /// Fails early where the page could not be written.
    pub fn check(&self) -> Outcome {
        self.file.as_deref().map_or(Ok(()), file::check)
    }

    /// Writes the page, if one was asked for.
    pub fn write(&self, context: &Context, subject: &Subject<'_>) -> Outcome {
        let Some(path) = &self.file else {
            return Ok(());
        };
        self.write_to(path, context, subject)
    }

    fn write_to(&self, path: &Path, context: &Context, subject: &Subject<'_>) -> Outcome {
        let page = page::render(&context.console.spans(), subject);
        file::replace(path, page.as_bytes())?;
        context.console.say(&format!("timings: {}", path.display()));
        Ok(())
    }
}
