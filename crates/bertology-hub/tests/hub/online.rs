//! The hub itself, as far as a client sees it.

use std::fs;
use std::sync::{Arc, Mutex};

use bertology_hub::{DownloadEvent, HubError, Source, resolve};

use crate::server::{Hub, SHA, etag};
use crate::world::{FILES, World, read};
use crate::{COMMIT, cached};

#[test]
fn fetches_what_a_model_needs_and_once() {
    let world = World::new(Hub::with(&FILES));
    let resolved = world.resolve().unwrap();
    assert_eq!(resolved.source, Source::Hub);
    assert_eq!(resolved.commit.as_deref(), Some(SHA));
    assert_eq!(resolved.revision.as_deref(), Some("main"));
    assert_eq!(resolved.folder, world.repo().join("snapshots").join(SHA));
    let wanted = [
        "config.json",
        "model.safetensors",
        "tokenizer_config.json",
        "vocab.txt",
    ];
    assert_eq!(world.names(&format!("snapshots/{SHA}")), wanted);
    for (name, content) in FILES.iter().filter(|(name, _)| wanted.contains(name)) {
        assert_eq!(read(&resolved.folder, name), *content, "{name}");
    }
    // The layout that the other libraries read.
    assert_eq!(read(&world.repo(), "refs/main"), SHA.as_bytes());
    assert_eq!(world.names("refs"), ["main"]);
    assert_eq!(world.names("blobs").len(), wanted.len());

    world.server.take_paths();
    let again = world.resolve().unwrap();
    assert_eq!(again.source, Source::Cache);
    assert_eq!(again.folder, resolved.folder);
    assert_eq!(
        world.server.take_paths(),
        ["/api/models/org/model/revision/main"]
    );

    let mut offline = world.options();
    offline.offline = true;
    assert_eq!(
        resolve("org/model", &offline).unwrap().folder,
        resolved.folder
    );
    assert!(world.server.take_paths().is_empty());
}

#[test]
fn progress_is_told() {
    let world = World::new(Hub::with(&FILES[..2]));
    let events = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&events);
    let mut options = world.options();
    options.progress = Some(Arc::new(move |event: &DownloadEvent<'_>| {
        sink.lock().unwrap().push(match event {
            DownloadEvent::Started { file, bytes } => format!("{file}: {bytes}"),
            DownloadEvent::Advanced { bytes } => bytes.to_string(),
            DownloadEvent::Finished { file } => format!("{file} done"),
            _ => "?".to_owned(),
        });
    }));
    resolve("org/model", &options).unwrap();
    let told = events.lock().unwrap().join(", ");
    let expected = "config.json: 22, 22, config.json done, \
                    model.safetensors: 43, 43, model.safetensors done";
    assert_eq!(told, expected);
}

#[test]
fn large_files_come_from_another_address() {
    let mut hub = Hub::with(&FILES[..2]);
    hub.redirect = true;
    let world = World::new(hub);
    let resolved = world.resolve().unwrap();
    assert_eq!(read(&resolved.folder, "model.safetensors"), FILES[1].1);
    let paths = world.server.take_paths();
    assert!(
        paths.contains(&format!("/cdn/{SHA}/model.safetensors")),
        "{paths:?}"
    );
    let blob = world.repo().join("blobs").join(etag("model.safetensors"));
    assert!(blob.is_file());
}

#[test]
fn unknown_repositories_and_revisions() {
    let world = World::new(Hub::with(&FILES));
    let options = world.options();
    let said = resolve("org/other", &options).unwrap_err();
    assert!(
        matches!(said, HubError::RepositoryNotFound { .. }),
        "{said}"
    );
    assert!(
        said.to_string()
            .starts_with("there is no model org/other at http://127.0.0.1")
    );

    let mut other = world.options();
    other.revision = Some("v9".to_owned());
    let said = resolve("org/model", &other).unwrap_err().to_string();
    assert!(
        said.starts_with("org/model has no branch, tag or commit \"v9\" at"),
        "{said}"
    );

    // A hub that does not say which of the two it misses is asked again.
    world.server.hub().silent = true;
    let error = resolve("org/model", &other).unwrap_err();
    assert!(
        matches!(error, HubError::RevisionNotFound { .. }),
        "{error}"
    );
    world.server.hub().refuse_list = Some((404, ""));
    let error = resolve("org/model", &other).unwrap_err();
    assert!(
        matches!(error, HubError::RepositoryNotFound { .. }),
        "{error}"
    );
    assert!(world.names("refs").is_empty() && world.names("blobs").is_empty());
}

#[test]
fn hidden_repositories() {
    let mut hub = Hub::with(&FILES);
    hub.refuse_list = Some((401, "RepoNotFound"));
    let world = World::new(hub);
    let said = world.resolve().unwrap_err().to_string();
    assert!(
        said.contains("does not show org/model to anonymous users (401)"),
        "{said}"
    );
    assert!(said.contains("set HF_TOKEN"), "{said}");
    let mut options = world.options();
    options.token = Some("old".to_owned());
    let said = resolve("org/model", &options).unwrap_err().to_string();
    assert!(said.contains("to the token that was sent (401)"), "{said}");
}

#[test]
fn gated_repositories() {
    let gated = |list: Option<(u16, &'static str)>, files: Option<u16>, token: Option<&str>| {
        let mut hub = Hub::with(&FILES);
        (hub.refuse_list, hub.refuse_files) = (list, files);
        let world = World::new(hub);
        let mut options = world.options();
        options.token = token.map(str::to_owned);
        let error = resolve("org/model", &options).unwrap_err();
        let said = error.to_string();
        assert!(matches!(error, HubError::Gated { .. }), "{said}");
        assert!(
            said.contains("accept its terms at http://127.0.0.1"),
            "{said}"
        );
        assert!(said.contains("/org/model and set HF_TOKEN"), "{said}");
        assert!(world.names("refs").is_empty(), "{said}");
        said
    };
    // The hub shows the list of a gated model, and refuses its files.
    assert!(gated(None, Some(401), None).ends_with("sent without a token"));
    assert!(gated(None, Some(403), Some("t")).ends_with("sent with a token"));
    gated(Some((403, "GatedRepo")), None, None);
    gated(Some((401, "GatedRepo")), None, None);
}

#[test]
fn an_interrupted_transfer_is_continued() {
    let mut hub = Hub::with(&FILES);
    hub.cut = Some(("model.safetensors".to_owned(), 10));
    let world = World::new(hub);
    let error = world.resolve().unwrap_err();
    let said = error.to_string();
    let HubError::Interrupted {
        file,
        received,
        expected,
        ..
    } = error
    else {
        panic!("{said}")
    };
    assert_eq!(
        (file.as_str(), received, expected),
        ("model.safetensors", 10, 43)
    );
    assert!(said.contains("broke off after 10 of 43 bytes"), "{said}");
    // Nothing under its final name, neither here nor there, and no reference to the commit.
    assert!(
        !world
            .names(&format!("snapshots/{SHA}"))
            .contains(&"model.safetensors".to_owned())
    );
    let tag = etag("model.safetensors");
    assert!(!world.repo().join("blobs").join(&tag).exists());
    assert!(!world.repo().join("refs/main").exists());
    let mut offline = world.options();
    offline.offline = true;
    assert!(resolve("org/model", &offline).is_err());

    world.server.hub().seen.clear();
    let resolved = world.resolve().unwrap();
    assert_eq!(resolved.source, Source::Hub);
    assert_eq!(read(&resolved.folder, "model.safetensors"), FILES[1].1);
    let ranges: Vec<String> = world
        .server
        .hub()
        .seen
        .iter()
        .filter_map(|(_, _, range)| range.clone())
        .collect();
    assert_eq!(ranges, ["bytes=0-0", "bytes=10-"]);
    assert!(
        !world
            .names("blobs")
            .iter()
            .any(|name| name.ends_with(".part"))
    );
}

#[test]
fn retries_continue_by_themselves() {
    let mut hub = Hub::with(&FILES[..2]);
    hub.cut = Some(("model.safetensors".to_owned(), 10));
    let world = World::new(hub);
    let mut options = world.options();
    options.retries = 1;
    let resolved = resolve("org/model", &options).unwrap();
    assert_eq!(read(&resolved.folder, "model.safetensors"), FILES[1].1);
}

#[test]
fn a_file_of_the_wrong_size_is_not_kept() {
    let mut hub = Hub::with(&FILES[..2]);
    hub.careless = true;
    hub.cut = Some(("model.safetensors".to_owned(), 10));
    let world = World::new(hub);
    let error = world.resolve().unwrap_err();
    assert!(
        matches!(
            error,
            HubError::Interrupted {
                received: 10,
                expected: 43,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(world.names("blobs"), [etag("config.json")]);
    assert_eq!(world.names(&format!("snapshots/{SHA}")), ["config.json"]);
    assert!(world.resolve().is_ok());
}

#[test]
fn leftovers_do_not_stand_in_the_way() {
    let world = World::new(Hub::with(&FILES[..2]));
    let blobs = world.repo().join("blobs");
    let snapshot = world.repo().join("snapshots").join(SHA);
    fs::create_dir_all(&blobs).unwrap();
    fs::create_dir_all(&snapshot).unwrap();
    // A transfer that was complete but not yet renamed, a blob cut short, a link to nothing.
    let tag = etag("model.safetensors");
    fs::write(blobs.join(format!("{tag}.part")), FILES[1].1).unwrap();
    fs::write(blobs.join(&tag), "short").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("../../blobs/gone", snapshot.join("config.json")).unwrap();
    let resolved = world.resolve().unwrap();
    assert_eq!(read(&resolved.folder, "model.safetensors"), FILES[1].1);
    assert_eq!(read(&resolved.folder, "config.json"), FILES[0].1);
}

#[test]
fn revisions_have_commits_of_their_own() {
    let mut hub = Hub::with(&FILES[..2]);
    hub.revisions
        .insert("refs/pr/1".to_owned(), COMMIT.to_owned());
    let world = World::new(hub);
    let mut options = world.options();
    options.revision = Some("refs/pr/1".to_owned());
    let resolved = resolve("org/model", &options).unwrap();
    assert_eq!(resolved.commit.as_deref(), Some(COMMIT));
    assert_eq!(read(&world.repo(), "refs/refs/pr/1"), COMMIT.as_bytes());
    let paths = world.server.take_paths();
    assert_eq!(paths[0], "/api/models/org/model/revision/refs%2Fpr%2F1");
    assert!(
        paths[1..].iter().all(|path| path.contains(COMMIT)),
        "{paths:?}"
    );

    // The same files under another commit are linked, not fetched.
    let resolved = world.resolve().unwrap();
    assert_eq!(resolved.commit.as_deref(), Some(SHA));
    assert_eq!(resolved.source, Source::Cache);
    assert_eq!(read(&resolved.folder, "model.safetensors"), FILES[1].1);
    let ranges: Vec<_> = world
        .server
        .hub()
        .seen
        .drain(..)
        .filter_map(|seen| seen.2)
        .collect();
    assert_eq!(ranges, ["bytes=0-0", "bytes=0-0"]);

    // A commit is its own reference.
    options.revision = Some(SHA.to_owned());
    assert_eq!(
        resolve("org/model", &options).unwrap().folder,
        resolved.folder
    );
    assert!(!world.repo().join("refs").join(SHA).exists());
}

#[test]
fn the_token_is_sent_when_there_is_one() {
    let world = World::new(Hub::with(&FILES[..2]));
    world.resolve().unwrap();
    assert!(
        world
            .server
            .hub()
            .seen
            .drain(..)
            .all(|(_, token, _)| token.is_none())
    );
    let world = World::new(Hub::with(&FILES[..2]));
    let mut options = world.options();
    options.token = Some("secret".to_owned());
    resolve("org/model", &options).unwrap();
    let seen = std::mem::take(&mut world.server.hub().seen);
    // The list, and per file its description and its content.
    assert_eq!(seen.len(), 5);
    assert!(
        seen.iter()
            .all(|(_, token, _)| token.as_deref() == Some("Bearer secret"))
    );
}

#[test]
fn shards_are_fetched() {
    let index = br#"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}"#;
    let files: [(&str, &[u8]); 5] = [
        ("config.json", b"{}"),
        ("model.safetensors.index.json", index),
        ("model-1.safetensors", b"first"),
        ("model-2.safetensors", b"second"),
        ("pytorch_model.bin", b"both"),
    ];
    let world = World::new(Hub::with(&files));
    let resolved = world.resolve().unwrap();
    assert_eq!(read(&resolved.folder, "model-2.safetensors"), b"second");
    let names = world.names(&format!("snapshots/{SHA}"));
    assert_eq!(names.len(), 4, "{names:?}");

    let world = World::new(Hub::with(&files[..3]));
    let said = world.resolve().unwrap_err().to_string();
    assert!(
        said.contains("has no model-2.safetensors; it holds: config.json,"),
        "{said}"
    );
}

#[test]
fn repositories_without_usable_weights() {
    let refused = |files: &[(&str, &[u8])]| {
        let world = World::new(Hub::with(files));
        let said = world.resolve().unwrap_err().to_string();
        assert_eq!(world.server.take_paths().len(), 1, "{said}");
        said
    };
    let said = refused(&[("config.json", b"{}"), ("tf_model.h5", b"x")]);
    assert!(
        said.contains("has only TensorFlow or flax weights (tf_model.h5)"),
        "{said}"
    );
    assert!(
        said.contains("from_pretrained(\"org/model\", from_tf=True)"),
        "{said}"
    );
    let said = refused(&[("config.json", b"{}"), ("flax_model.msgpack", b"x")]);
    assert!(said.contains("from_flax=True"), "{said}");
    let said = refused(&[("config.json", b"{}"), ("adapter_model.safetensors", b"x")]);
    assert!(
        said.contains("has no model.safetensors or pytorch_model.bin"),
        "{said}"
    );
    let said = refused(&[("README.md", b"x")]);
    assert!(
        said.contains("has no config.json; it holds: README.md"),
        "{said}"
    );

    let world = World::new(Hub::with(&[FILES[0], FILES[2]]));
    assert!(
        world
            .resolve()
            .unwrap()
            .folder
            .join("pytorch_model.bin")
            .is_file()
    );
}

#[test]
fn without_a_network() {
    // Nobody listens here any more.
    let nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let cache = tempfile::tempdir().unwrap();
    let mut options = crate::options(cache.path());
    options.endpoint = nobody;
    let said = resolve("org/model", &options).unwrap_err().to_string();
    assert!(said.contains("the hub cannot be reached ("), "{said}");
    assert!(said.contains(cache.path().to_str().unwrap()), "{said}");
    let snapshot = cached(
        cache.path(),
        &[("config.json", "{}"), ("model.safetensors", "x")],
    );
    let resolved = resolve("org/model", &options).unwrap();
    assert_eq!(
        (resolved.folder, resolved.source),
        (snapshot, Source::Cache)
    );
    assert!(resolved.unreachable.is_some());
}

#[test]
fn a_hub_out_of_order() {
    let mut hub = Hub::with(&FILES);
    hub.refuse_list = Some((503, ""));
    let world = World::new(hub);
    let said = world.resolve().unwrap_err().to_string();
    assert!(
        said.contains("the hub cannot be reached (it answered 503)"),
        "{said}"
    );

    world.server.hub().refuse_list = Some((400, ""));
    let said = world.resolve().unwrap_err().to_string();
    assert!(
        said.contains("answered 400 when asked for the list of files"),
        "{said}"
    );

    world.server.hub().refuse_list = None;
    for text in ["<html>", "{}", r#"{"sha": "../../x", "siblings": []}"#] {
        world.server.hub().list = Some(text.to_owned());
        let said = world.resolve().unwrap_err().to_string();
        assert!(
            said.contains("cannot be used") && said.contains("is HF_ENDPOINT right?"),
            "{said}"
        );
    }
    world.server.hub().list = None;
    world.server.hub().refuse_files = Some(500);
    let said = world.resolve().unwrap_err().to_string();
    assert!(
        said.contains("answered 500 when asked for config.json"),
        "{said}"
    );
}
