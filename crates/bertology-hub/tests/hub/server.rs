//! A tiny hub on the loopback interface: enough of the two addresses that a client asks.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use sha2::{Digest, Sha256};

pub(crate) const SHA: &str = "0123456789abcdef0123456789abcdef01234567";

/// How the content of a file is sent, where it is not sent as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Its first byte, and then nothing more.
    Stall,
    /// A byte every few milliseconds, without an end.
    Trickle,
    /// Without an end, of a length that is told (then it is far too long) or not.
    Endless { told: bool },
}

/// One repository and how the hub behaves about it.
#[derive(Default)]
pub(crate) struct Hub {
    /// The one repository that exists.
    pub(crate) id: String,
    /// Revisions other than [`SHA`] itself, and their commits.
    pub(crate) revisions: HashMap<String, String>,
    /// File names and contents, the same in all commits.
    pub(crate) files: HashMap<String, Vec<u8>>,
    /// Answer for the list of files instead of the list: status and `X-Error-Code`.
    pub(crate) refuse_list: Option<(u16, &'static str)>,
    /// Leave out `X-Error-Code` for an unknown revision.
    pub(crate) silent: bool,
    /// Status for every file instead of its content.
    pub(crate) refuse_files: Option<u16>,
    /// Answer the list with this text.
    pub(crate) list: Option<String>,
    /// Close the connection after so many bytes of this file, once.
    pub(crate) cut: Option<(String, usize)>,
    /// Send whole files whatever range is asked for, without saying how long they are.
    pub(crate) careless: bool,
    /// Send weights from another address, as the hub does with large files.
    pub(crate) redirect: bool,
    /// The address that weights are sent from, if not this one.
    pub(crate) cdn: Option<String>,
    /// Where every file redirects to, whatever address it is asked at.
    pub(crate) detour: Option<String>,
    /// Tag files with their SHA-256, as the hub does with large files.
    pub(crate) hashes: bool,
    /// Send this in the place of a file's content.
    pub(crate) altered: Option<(String, Vec<u8>)>,
    /// How a file is sent.
    pub(crate) manner: Option<(String, Manner)>,
    /// Say of every file that it has so many bytes.
    pub(crate) announce: Option<u64>,
    /// Answer so many requests whose path holds a text with 429 and this `Retry-After`.
    pub(crate) later: Option<(&'static str, usize, &'static str)>,
    /// Every request: the path, the `Authorization` and the `Range` header.
    pub(crate) seen: Vec<(String, Option<String>, Option<String>)>,
}

impl Hub {
    pub(crate) fn with(files: &[(&str, &[u8])]) -> Self {
        Self {
            id: "org/model".to_owned(),
            revisions: HashMap::from([("main".to_owned(), SHA.to_owned())]),
            files: files
                .iter()
                .map(|(name, text)| ((*name).to_owned(), text.to_vec()))
                .collect(),
            ..Self::default()
        }
    }
}

pub(crate) struct Server {
    hub: Arc<Mutex<Hub>>,
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(hub: Hub) -> Self {
        Self::start_at("127.0.0.1", hub)
    }

    pub(crate) fn start_at(host: &str, hub: Hub) -> Self {
        let listener = TcpListener::bind((host, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let hub = Arc::new(Mutex::new(hub));
        let shared = Arc::clone(&hub);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                // A request without a path ends the server.
                if !serve(stream.unwrap(), address, &shared) {
                    break;
                }
            }
        });
        Self {
            hub,
            address,
            thread: Some(thread),
        }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn hub(&self) -> MutexGuard<'_, Hub> {
        self.hub.lock().unwrap()
    }

    /// Paths asked for since the last call.
    pub(crate) fn take_paths(&self) -> Vec<String> {
        std::mem::take(&mut self.hub().seen)
            .into_iter()
            .map(|(path, ..)| path)
            .collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(mut stream) = TcpStream::connect(self.address) {
            let _ = stream.write_all(b"\r\n\r\n");
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(mut stream: TcpStream, address: SocketAddr, hub: &Mutex<Hub>) -> bool {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let first = lines.next().and_then(Result::ok).unwrap_or_default();
    let Some(path) = first.split(' ').nth(1).map(str::to_owned) else {
        return false;
    };
    let mut headers = HashMap::new();
    for line in lines
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
    {
        if let Some((name, value)) = line.split_once(':') {
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    let mut hub = hub.lock().unwrap();
    let range = headers.get("range").cloned();
    hub.seen.push((
        path.clone(),
        headers.get("authorization").cloned(),
        range.clone(),
    ));
    let (head, body) = hub.answer(&path, range.as_deref(), address);
    let body = hub.cut_short(&path, range.as_deref(), body);
    let manner = hub.manner(&path, range.as_deref());
    drop(hub);
    // The client may have gone away; that is its business.
    let _ = stream.write_all(format!("HTTP/1.1 {head}Connection: close\r\n\r\n").as_bytes());
    match manner {
        None => drop(stream.write_all(&body)),
        Some(Manner::Stall) => {
            let _ = stream.write_all(&body[..1]);
            // Until the client has enough of it.
            let _ = stream.read(&mut [0]);
        }
        Some(Manner::Trickle) => trickle(&mut stream),
        Some(Manner::Endless { .. }) => while stream.write_all(&[b't'; 4096]).is_ok() {},
    }
    true
}

/// Until the client has enough of it, which ends the wait for the next byte.
fn trickle(stream: &mut TcpStream) {
    let wait = Duration::from_millis(5);
    stream.set_read_timeout(Some(wait)).unwrap();
    let nothing =
        |error: std::io::Error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
    while stream.write_all(b"t").is_ok() && stream.read(&mut [0]).is_err_and(nothing) {}
}

fn status(status: u16, code: &str) -> (String, Vec<u8>) {
    let code = if code.is_empty() {
        String::new()
    } else {
        format!("X-Error-Code: {code}\r\n")
    };
    (
        format!("{status} Status\r\n{code}Content-Length: 0\r\n"),
        Vec::new(),
    )
}

impl Hub {
    fn answer(&mut self, path: &str, range: Option<&str>, at: SocketAddr) -> (String, Vec<u8>) {
        let later = self.later.as_mut();
        if let Some((_, left, after)) =
            later.filter(|(text, left, _)| *left > 0 && path.contains(*text))
        {
            *left -= 1;
            let head = format!("429 Later\r\nRetry-After: {after}\r\nContent-Length: 0\r\n");
            return (head, Vec::new());
        }
        if let Some(rest) = path.strip_prefix(&format!("/api/models/{}/revision/", self.id)) {
            return self.list(&rest.replace("%2F", "/"));
        }
        let file = |prefix: &str| {
            path.strip_prefix(prefix)
                .and_then(|rest| rest.split_once('/'))
        };
        if let Some((sha, name)) = file(&format!("/{}/resolve/", self.id)) {
            if let Some(code) = self.refuse_files {
                return status(code, "GatedRepo");
            }
            if self.detour.is_some() {
                return self.redirected();
            }
            if self.redirect && self.files.contains_key(name) && name.contains("model") {
                let here = format!("http://{at}");
                let cdn = self.cdn.as_ref().unwrap_or(&here);
                let head = format!(
                    "302 Found\r\nLocation: {cdn}/cdn/{sha}/{name}\r\nX-Repo-Commit: {sha}\r\n\
                     X-Linked-Etag: \"{}\"\r\nContent-Length: 0\r\n",
                    self.tag(name)
                );
                return (head, Vec::new());
            }
            return self.file(sha, name, range);
        }
        match file("/cdn/") {
            Some(_) if self.detour.is_some() => self.redirected(),
            Some((sha, name)) => self.file(sha, name, range),
            None => status(404, "RepoNotFound"),
        }
    }

    fn redirected(&self) -> (String, Vec<u8>) {
        let detour = self.detour.as_deref().unwrap_or_default();
        let head = format!("302 Found\r\nLocation: {detour}\r\nContent-Length: 0\r\n");
        (head, Vec::new())
    }

    fn list(&self, revision: &str) -> (String, Vec<u8>) {
        if let Some((code, name)) = self.refuse_list {
            return status(code, name);
        }
        let known = self.revisions.get(revision).cloned();
        let Some(sha) = known.or_else(|| (revision == SHA).then(|| SHA.to_owned())) else {
            return status(404, if self.silent { "" } else { "RevisionNotFound" });
        };
        let names: Vec<String> = self
            .files
            .keys()
            .map(|name| format!("{{\"rfilename\": \"{name}\"}}"))
            .collect();
        let text = self.list.clone().unwrap_or_else(|| {
            format!(
                "{{\"sha\": \"{sha}\", \"siblings\": [{}]}}",
                names.join(", ")
            )
        });
        (
            format!("200 OK\r\nContent-Length: {}\r\n", text.len()),
            text.into_bytes(),
        )
    }

    fn file(&self, sha: &str, name: &str, range: Option<&str>) -> (String, Vec<u8>) {
        let Some(mut content) = self.files.get(name) else {
            return status(404, "EntryNotFound");
        };
        if let Some((_, altered)) = self.altered.as_ref().filter(|(of, _)| of == name) {
            content = altered;
        }
        let total = content.len();
        let said = self.announce.unwrap_or(total as u64);
        let range = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
        let (from, to) = match range {
            Some((from, "")) => (from.parse().unwrap(), total),
            Some((from, to)) => (from.parse().unwrap(), to.parse::<usize>().unwrap() + 1),
            None => (0, total),
        };
        let manner = self.manner.as_ref().filter(|(of, _)| of == name);
        let endless = manner.map(|(_, manner)| *manner == Manner::Endless { told: false });
        if (self.careless || endless == Some(true)) && to != 1 {
            return ("200 OK\r\n".to_owned(), content.clone());
        }
        if from >= total {
            return status(416, "");
        }
        let body = content[from..to].to_vec();
        let comes = match manner {
            Some((_, Manner::Endless { told: true })) if to != 1 => 1 << 40,
            _ => body.len(),
        };
        let head = format!(
            "206 Partial Content\r\nX-Repo-Commit: {sha}\r\nETag: \"{}\"\r\n\
             Content-Range: bytes {from}-{}/{said}\r\nContent-Length: {comes}\r\n",
            self.tag(name),
            to - 1,
        );
        (head, body)
    }

    /// The tag of a file: of what the repository has, whatever is sent.
    pub(crate) fn tag(&self, name: &str) -> String {
        match self.files.get(name) {
            Some(content) if self.hashes => hex(&Sha256::digest(content)),
            _ => etag(name),
        }
    }

    /// How the content that is asked for is sent.
    fn manner(&self, path: &str, range: Option<&str>) -> Option<Manner> {
        let content = range.is_some_and(|range| range.ends_with('-'));
        let (name, manner) = self.manner.as_ref()?;
        (content && path.ends_with(name.as_str())).then_some(*manner)
    }

    fn cut_short(&mut self, path: &str, range: Option<&str>, mut body: Vec<u8>) -> Vec<u8> {
        let whole = range.is_some_and(|range| range.ends_with('-'));
        if let Some((name, bytes)) = self
            .cut
            .take_if(|(name, _)| whole && path.ends_with(&*name))
        {
            assert!(
                bytes < body.len(),
                "{name} is too short to be cut at {bytes}"
            );
            body.truncate(bytes);
        }
        body
    }
}

pub(crate) fn etag(name: &str) -> String {
    format!("tag-{}", name.replace('.', "-"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
