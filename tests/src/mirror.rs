//! A mirror on loopback that keeps what it has served: nginx in front of the machine's own mirror.
//!
//! What was asked for once is the same for as long as it lives, so that two programs see one state
//! of the archive, and the second sees it as fast as the first.

use std::{
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::process::wait_until;

/// Serves until dropped.
pub struct CachingMirror {
    port: u16,
    nginx: Child,
    _directory: tempfile::TempDir,
}

impl CachingMirror {
    /// A mirror of what this machine's apt uses.
    ///
    /// # Panics
    /// When the machine has no Debian mirror among its apt sources, or nginx does not start.
    pub fn start() -> Self {
        let upstream = apt_mirror().expect("a Debian mirror among this machine's apt sources");
        let directory = tempfile::Builder::new()
            .prefix("sampan-mirror-")
            .tempdir_in("/var/tmp")
            .expect("a scratch directory");
        // Free now; should somebody take it meanwhile, nginx says so.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .expect("a port on loopback")
            .port();
        let config = directory.path().join("nginx.conf");
        std::fs::write(&config, configuration(directory.path(), port, &upstream))
            .expect("a file in it");
        let nginx = Command::new("/usr/sbin/nginx")
            .arg("-c")
            .arg(&config)
            .arg("-e")
            .arg(directory.path().join("error.log"))
            .stdin(Stdio::null())
            .spawn()
            .expect("nginx, which `cargo xtask test` installs");
        let mirror = Self {
            port,
            nginx,
            _directory: directory,
        };
        let listening = wait_until(Duration::from_secs(20), || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()
        });
        assert!(listening.is_some(), "nginx does not listen on port {port}");
        mirror
    }

    /// The address of `debian` on it.
    pub fn debian(&self) -> String {
        format!("http://127.0.0.1:{}/debian", self.port)
    }
}

impl Drop for CachingMirror {
    fn drop(&mut self) {
        // It runs in the foreground: its workers end with it.
        let pid = nix::unistd::Pid::from_raw(self.nginx.id() as i32);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.nginx.wait();
    }
}

/// The Debian mirror of this machine's apt, without a `/` at the end.
pub fn apt_mirror() -> Option<String> {
    sampan_plugins::apt_mirror(Path::new("/etc/apt"), "debian")
}

fn configuration(directory: &Path, port: u16, upstream: &str) -> String {
    let path = |name: &str| -> PathBuf { directory.join(name) };
    let mut temporary = String::new();
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        let path = path(kind);
        temporary.push_str(&format!("  {kind}_temp_path {};\n", path.display()));
    }
    let base = upstream.strip_suffix("/debian").unwrap_or(upstream);
    let host = base.split("://").nth(1).unwrap_or(base);
    let host = host.split('/').next().unwrap_or(host);
    format!(
        "daemon off;\nuser root;\nworker_processes 2;\npid {pid};\nevents {{}}\nhttp {{\n{temporary}  \
         access_log off;\n  sendfile on;\n  \
         proxy_cache_path {cache} levels=1:2 keys_zone=mirror:16m max_size=8g inactive=7d;\n  \
         server {{\n    listen 127.0.0.1:{port};\n    location / {{\n      \
         proxy_pass {base};\n      proxy_set_header Host {host};\n      \
         proxy_ssl_server_name on;\n      proxy_http_version 1.1;\n      proxy_cache mirror;\n      \
         proxy_cache_valid 200 301 302 404 7d;\n      proxy_cache_lock on;\n      \
         proxy_ignore_headers Cache-Control Expires Set-Cookie Vary;\n    }}\n  }}\n}}\n",
        pid = path("pid").display(),
        cache = path("cache").display(),
    )
}
