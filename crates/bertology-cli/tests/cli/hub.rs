//! Hub names, against a server on the loopback interface.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

use crate::harness::{Ran, Toy, command};

const SHA: &str = "0123456789abcdef0123456789abcdef01234567";

/// Serves one model, `org/toy`; `org/secret` is gated and nothing else exists.
struct Hub {
    address: String,
    thread: Option<JoinHandle<()>>,
}

impl Hub {
    fn serving(files: HashMap<String, Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if !answer(stream.unwrap(), &files) {
                    break;
                }
            }
        });
        Self {
            address,
            thread: Some(thread),
        }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        // A request without a path ends the server.
        if let Ok(mut stream) = TcpStream::connect(&self.address) {
            let _ = stream.write_all(b"\r\n\r\n");
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(mut stream: TcpStream, files: &HashMap<String, Vec<u8>>) -> bool {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let first = lines.next().and_then(Result::ok).unwrap_or_default();
    let Some(path) = first.split(' ').nth(1).map(str::to_owned) else {
        return false;
    };
    let mut range = 0;
    for line in lines
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
    {
        let line = line.to_ascii_lowercase();
        if let Some(from) = line.strip_prefix("range: bytes=") {
            range = from.split('-').next().unwrap().parse().unwrap();
        }
    }
    let (head, body) = if path == "/api/models/org/toy/revision/main" {
        let names: Vec<String> = files
            .keys()
            .map(|name| format!("{{\"rfilename\": \"{name}\"}}"))
            .collect();
        let text = format!(
            "{{\"sha\": \"{SHA}\", \"siblings\": [{}]}}",
            names.join(", ")
        );
        (String::from("200 OK"), text.into_bytes())
    } else if let Some(name) = path.strip_prefix(&format!("/org/toy/resolve/{SHA}/"))
        && let Some(file) = files.get(name)
    {
        let head = format!(
            "206 Partial Content\r\nETag: \"{}\"\r\nX-Repo-Commit: {SHA}\r\n\
             Content-Range: bytes {range}-{}/{}",
            etag(name),
            file.len().max(1) - 1,
            file.len()
        );
        (head, file[range.min(file.len())..].to_vec())
    } else if path.contains("org/secret") {
        (
            "403 Forbidden\r\nX-Error-Code: GatedRepo".into(),
            Vec::new(),
        )
    } else {
        (
            "404 Not Found\r\nX-Error-Code: RepoNotFound".into(),
            Vec::new(),
        )
    };
    let head = format!(
        "HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(&body);
    true
}

/// Hexadecimal, as the hub's are, and another one for every file.
fn etag(name: &str) -> String {
    name.bytes().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_model_of_the_hub_is_fetched_once_and_used() {
    let toy = Toy::new();
    let files = toy.names("model");
    let hub = Hub::serving(
        files
            .iter()
            .map(|name| (name.clone(), toy.bytes(&format!("model/{name}"))))
            .collect(),
    );
    let run = |args: &[&str], online: bool| {
        let mut command = command();
        command
            .env("HF_HOME", toy.path("home"))
            .env("HF_ENDPOINT", format!("http://{}", hub.address))
            .args(args);
        if online {
            command.env_remove("HF_HUB_OFFLINE");
        }
        Ran::of(command.output().unwrap())
    };
    run(&["inspect", "org/toy"], false).failed(1, &["not in the cache", "offline"]);
    let ran = run(&["inspect", "org/toy"], true).ok();
    assert!(
        ran.err.contains("fetching model.safetensors"),
        "{}",
        ran.err
    );
    assert!(ran.out.contains("12 of 12 present"), "{}", ran.out);
    run(&["inspect", "org/none"], true).failed(1, &["no model org/none"]);
    run(&["inspect", "org/secret"], true).failed(1, &["org/secret", "HF_TOKEN"]);

    // From the cache, with data; the record names model and commit.
    let (data, out) = (toy.text("data.tsv"), toy.text("out"));
    let args = [
        "evaluate",
        "org/toy",
        "--offline",
        "--data",
        &data,
        "--text-column",
        "text",
        "--label-column",
        "label",
        "--output",
        &out,
    ];
    let ran = run(&args, true).ok();
    assert!(!ran.err.contains("fetching"), "{}", ran.err);
    let record = toy.record("out");
    assert_eq!(record["model"]["name"], "org/toy");
    assert_eq!(record["model"]["commit"], SHA);
    // A cache elsewhere is empty.
    let other = toy.text("elsewhere");
    run(
        &["inspect", "org/toy", "--offline", "--cache-dir", &other],
        true,
    )
    .failed(1, &["not in the cache", "elsewhere"]);
}
