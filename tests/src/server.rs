//! A small HTTP server on loopback whose files a test can change.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

/// Serves until the test ends.
pub struct Server {
    port: u16,
    files: Files,
    asked: Arc<Mutex<Vec<String>>>,
}

type Files = Arc<Mutex<HashMap<String, Vec<u8>>>>;

impl Server {
    /// A server of these files, by path without the leading `/`.
    pub fn of(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port on loopback");
        let port = listener.local_addr().expect("its number").port();
        let files: Files = Arc::new(Mutex::new(files.into_iter().collect()));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (served, log) = (Arc::clone(&files), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (served, log) = (Arc::clone(&served), Arc::clone(&log));
                std::thread::spawn(move || drop(serve(stream, &served, &log)));
            }
        });
        Self { port, files, asked }
    }

    /// Its address, without a `/` at the end.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Puts a file, or another in its place.
    pub fn put(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.files
            .lock()
            .expect("no panic while locked")
            .insert(path.to_owned(), bytes.into());
    }

    /// The file of this path.
    pub fn get(&self, path: &str) -> Option<Vec<u8>> {
        self.files
            .lock()
            .expect("no panic while locked")
            .get(path)
            .cloned()
    }

    /// The paths that were asked for, in order.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no panic while locked").clone()
    }
}

fn serve(stream: TcpStream, files: &Files, asked: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
        let mut from = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
                break;
            }
            if let Some(range) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
                from = range.trim().trim_end_matches('-').parse().unwrap_or(0);
            }
        }
        let path = request
            .split(' ')
            .nth(1)
            .unwrap_or("/")
            .trim_start_matches('/')
            .to_owned();
        if let Ok(mut asked) = asked.lock() {
            asked.push(path.clone());
        }
        let file = files
            .lock()
            .ok()
            .and_then(|files| files.get(&path).cloned());
        let (status, body) = match &file {
            Some(bytes) if from > 0 && from < bytes.len() => {
                ("206 Partial Content", &bytes[from..])
            }
            Some(bytes) => ("200 OK", bytes.as_slice()),
            None => ("404 Not Found", b"".as_slice()),
        };
        write!(
            writer,
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )?;
        writer.write_all(body)?;
    }
}
