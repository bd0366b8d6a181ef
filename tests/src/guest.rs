//! Guests whose init is a script.

use std::{fs, os::unix::fs::PermissionsExt};

use crate::TestEnvironment;

impl TestEnvironment {
    /// A stopped guest of the host's static busybox, whose init is this script of the shell and
    /// whose config has these further lines.
    #[track_caller]
    pub fn scripted_guest(&self, name: &str, script: &str, config: &str) {
        self.create_small_guest(name, &[]);
        let init = self.state().join(name).join("rootfs/sbin/init");
        fs::remove_file(&init).expect("busybox's init");
        fs::write(&init, format!("#!/bin/sh\n{script}\n")).expect("an init");
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&init, executable).expect("an executable init");
        let path = self.state().join(name).join("config");
        let text = fs::read_to_string(&path).expect("a config");
        fs::write(&path, format!("{text}{config}\n")).expect("a longer config");
    }
}
