//! A few verbs on a state directory, to try the runtime by hand:
//! `container DIR new NAME ROOTFS | start | stop | kill | destroy | info NAME`, `exec NAME COMMAND…`.
//!
//! `new` shows a ROOTFS that lies elsewhere (it is not copied).

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use sampan_runtime::config::{NewConfig, default_config};
use sampan_runtime::{
    Containers, Directories, ExecRequest, Result, RootPath, StartOptions, StopOptions,
};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Err(error) = run(&arguments) {
        eprintln!("{error:?}");
        std::process::exit(1);
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let [root, verb, name, rest @ ..] = arguments else {
        return Err(sampan_runtime::Error::user("usage: DIR VERB NAME …"));
    };
    let root = PathBuf::from(root);
    let containers = Containers::new(Directories {
        state: root.join("state"),
        run: root.join("run"),
        log: root.join("log"),
    });
    let name = name.parse()?;
    if verb == "new" {
        let new = containers.begin(&name)?;
        let ids = new.ids();
        let rootfs = match rest.first() {
            Some(path) => RootPath::from(Path::new(path)),
            None => new.final_root(),
        };
        let config = default_config(&NewConfig {
            name: name.as_str(),
            rootfs: &rootfs,
            arch: std::env::consts::ARCH,
            ids: (rest.get(1).map(String::as_str) != Some("privileged")).then_some(ids),
            template: "none",
            image: "none",
            guest: &[],
            network: &[],
        })?;
        new.commit(&config)?;
        return Ok(());
    }
    let container = containers.open(&name)?;
    match verb.as_str() {
        "start" => {
            let monitor = std::env::current_exe()
                .ok()
                .and_then(|exe| Some(exe.parent()?.join("monitor")));
            let pid = container.start(&StartOptions {
                monitor_program: monitor.unwrap_or_default(),
            })?;
            println!("running, pid {pid}");
        }
        "stop" => println!("{:?}", container.stop(&StopOptions::default())?),
        "kill" => {
            let options = StopOptions {
                kill: true,
                ..StopOptions::default()
            };
            println!("{:?}", container.stop(&options)?);
        }
        "exec" => {
            let code = container.exec(&ExecRequest {
                argv: rest.iter().map(Into::into).collect(),
                ..ExecRequest::default()
            })?;
            std::process::exit(code);
        }
        "destroy" => container.destroy(true)?,
        _ => println!("{:#?}", container.info()?),
    }
    Ok(())
}
