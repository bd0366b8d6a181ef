//! The smallest worker: prepares `/rootfs` and runs its arguments in there as one command.
//!
//! `tests/sandbox.rs` starts it in a sandbox. It exits with the command's status.

#![forbid(unsafe_code)]

use std::io::Write;
use std::path::Path;

use sampan_runtime::sandbox::in_root::{Command, prepare, run};

fn main() {
    let root = Path::new("/rootfs");
    let result = prepare(root).and_then(|()| {
        let command = Command {
            argv: std::env::args_os().skip(1).collect(),
            environment: vec![("PATH".into(), "/bin".into())],
            stdin: Some(vec![b'x'; 300_000]),
            nosync: true,
            ..Command::default()
        };
        run(root, &command, &mut |_, bytes| {
            // The test sees a short output.
            let _ = std::io::stdout().write_all(bytes);
        })
    });
    match result {
        Ok(ended) => std::process::exit(ended.code()),
        Err(error) => {
            println!("{error:?}");
            std::process::exit(99);
        }
    }
}
