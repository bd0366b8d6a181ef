//! HTTP: capped, retried, resumed.

use std::time::Duration;

use reqwest::{Response, StatusCode, header};
use sampan_core::{Download, ErrorKind, TemplateError};

use super::{Meter, store::Part};

/// A server that does not answer is given up after this long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection on which nothing comes is given up after this long.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// How long to wait before each further try.
const PAUSES: [Duration; 2] = [Duration::from_millis(300), Duration::from_secs(2)];

#[derive(Debug)]
pub(super) struct Client(reqwest::Client);

/// Whether another try may help.
enum Trouble {
    Passing(TemplateError),
    Lasting(TemplateError),
}

impl Client {
    pub(super) fn new() -> Result<Self, TemplateError> {
        reqwest::Client::builder()
            .user_agent(concat!("sampan/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .build()
            .map(Self)
            .map_err(|error| {
                TemplateError::new(
                    ErrorKind::Fetch,
                    format!("cannot prepare HTTP: {}", chain(&error)),
                )
            })
    }

    /// The whole of a small file.
    pub(super) async fn get_whole(&self, url: &str, limit: u64) -> Result<Vec<u8>, TemplateError> {
        retry(async || {
            let mut response = self.get(url, 0).await?;
            let mut bytes = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(|e| broken(url, &e))? {
                if (bytes.len() + chunk.len()) as u64 > limit {
                    return Err(Trouble::Lasting(fetch_error(
                        url,
                        &format!("it is larger than {limit} bytes"),
                    )));
                }
                bytes.extend_from_slice(&chunk);
            }
            Ok(bytes)
        })
        .await
    }

    /// The rest of a file of which some may be there.
    pub(super) async fn get_part(
        &self,
        url: &str,
        part: &mut Part,
        download: &Download,
        meter: &Meter<'_>,
    ) -> Result<(), TemplateError> {
        if part.length() > download.size {
            part.restart()?;
        }
        let mut counted = 0;
        let part = tokio::sync::Mutex::new((part, &mut counted));
        retry(async || {
            let mut held = part.lock().await;
            let (part, counted) = &mut *held;
            let there = part.length();
            if there == download.size && there > 0 {
                return Ok(());
            }
            let mut response = self.get(url, there).await?;
            if response.status() == StatusCode::PARTIAL_CONTENT {
                part.resume().map_err(Trouble::Lasting)?;
            } else {
                part.restart().map_err(Trouble::Lasting)?;
            }
            let mut length = part.length();
            if length > **counted {
                meter.add(length - **counted);
                **counted = length;
            }
            while let Some(chunk) = response.chunk().await.map_err(|e| broken(url, &e))? {
                length += chunk.len() as u64;
                if length > download.size {
                    part.restart().map_err(Trouble::Lasting)?;
                    let reason = format!("it is larger than the {} bytes promised", download.size);
                    return Err(Trouble::Lasting(fetch_error(url, &reason)));
                }
                part.write(&chunk).map_err(Trouble::Lasting)?;
                if length > **counted {
                    meter.add(length - **counted);
                    **counted = length;
                }
            }
            Ok(())
        })
        .await
    }

    async fn get(&self, url: &str, from: u64) -> Result<Response, Trouble> {
        let mut request = self.0.get(url);
        if from > 0 {
            request = request.header(header::RANGE, format!("bytes={from}-"));
        }
        let response = request.send().await.map_err(|error| broken(url, &error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let error = fetch_error(url, &format!("the server answered {status}"));
        Err(
            if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
                Trouble::Passing(error)
            } else {
                Trouble::Lasting(error)
            },
        )
    }
}

async fn retry<T>(attempt: impl AsyncFn() -> Result<T, Trouble>) -> Result<T, TemplateError> {
    for pause in PAUSES {
        match attempt().await {
            Err(Trouble::Passing(_)) => tokio::time::sleep(pause).await,
            Err(Trouble::Lasting(error)) => return Err(error),
            Ok(value) => return Ok(value),
        }
    }
    attempt().await.map_err(|trouble| match trouble {
        Trouble::Passing(error) | Trouble::Lasting(error) => error,
    })
}

fn broken(url: &str, error: &reqwest::Error) -> Trouble {
    let plain = fetch_error(url, &chain(error));
    if error.is_builder() || error.is_redirect() {
        return Trouble::Lasting(plain);
    }
    Trouble::Passing(
        plain.with_hint("check the network, or choose another mirror with -o mirror=URL"),
    )
}

fn fetch_error(url: &str, reason: &str) -> TemplateError {
    TemplateError::new(ErrorKind::Fetch, format!("cannot fetch {url}: {reason}"))
}

/// The innermost cause: what is around it repeats the address and says "error".
fn chain(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
