//! Hubs, mirrors and networks that are not what they should be.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bertology_error::Kind;
use bertology_hub::{DownloadEvent, HubError, HubOptions, Source, resolve};

use crate::server::{Hub, Manner, SHA, Server, etag};
use crate::world::{FILES, World, read};

const WEIGHTS: &str = "model.safetensors";

/// A hub that tags files with their SHA-256.
fn hashing() -> Hub {
    Hub {
        hashes: true,
        ..Hub::with(&FILES[..2])
    }
}

/// Writes down what the user is told beside the bars.
fn told(options: &mut HubOptions) -> Arc<Mutex<Vec<String>>> {
    let events = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&events);
    options.progress = Some(Arc::new(move |event: &DownloadEvent<'_>| match event {
        DownloadEvent::Discarded { file } => sink.lock().unwrap().push((*file).to_owned()),
        DownloadEvent::Waiting { what, seconds } => {
            sink.lock().unwrap().push(format!("{what} {seconds}"));
        }
        _ => {}
    }));
    events
}

/// What is in the cache under final names or those of parts.
fn kept(world: &World) -> Vec<String> {
    world.names("blobs")
}

#[test]
fn the_token_stays_at_home() {
    let cdn = Server::start_at("127.0.0.2", Hub::with(&FILES[..2]));
    let port = Server::start(Hub::with(&FILES[..2]));
    for abroad in [&cdn, &port] {
        let mut hub = Hub::with(&FILES[..2]);
        hub.redirect = true;
        hub.cdn = Some(abroad.endpoint());
        let world = World::new(hub);
        let mut options = world.options();
        options.token = Some("secret".to_owned());
        let resolved = resolve("org/model", &options).unwrap();
        assert_eq!(read(&resolved.folder, WEIGHTS), FILES[1].1);

        let seen = std::mem::take(&mut world.server.hub().seen);
        let bearer = Some("Bearer secret");
        assert!(seen.iter().all(|(_, token, _)| token.as_deref() == bearer));
        let seen = std::mem::take(&mut abroad.hub().seen);
        // Its size, and its content.
        assert_eq!(seen.len(), 2, "{seen:?}");
        assert!(seen.iter().all(|(_, token, _)| token.is_none()), "{seen:?}");
    }
}

#[test]
fn nobody_else_can_send_the_token_back() {
    let world = World::new(Hub::with(&FILES[..2]));
    let mut abroad = Hub::with(&[]);
    let back = format!("/cdn/{SHA}/{WEIGHTS}");
    abroad.detour = Some(format!("{}{back}", world.server.endpoint()));
    let abroad = Server::start_at("127.0.0.2", abroad);
    world.server.hub().redirect = true;
    world.server.hub().cdn = Some(abroad.endpoint());
    let mut options = world.options();
    options.token = Some("secret".to_owned());
    resolve("org/model", &options).unwrap();
    let mut seen = std::mem::take(&mut world.server.hub().seen);
    seen.retain(|(path, ..)| *path == back);
    seen.append(&mut abroad.hub().seen);
    assert_eq!(seen.len(), 4, "{seen:?}");
    assert!(seen.iter().all(|(_, token, _)| token.is_none()), "{seen:?}");
}

#[test]
fn tampered_weights_are_refused() {
    let mut hub = hashing();
    let altered = b"the weights, which are LONGER than the rest";
    assert_eq!(altered.len(), FILES[1].1.len());
    hub.altered = Some((WEIGHTS.to_owned(), altered.to_vec()));
    let world = World::new(hub);
    let error = world.resolve().unwrap_err();
    let said = error.to_string();
    let HubError::Digest {
        file,
        expected,
        found,
        ..
    } = &error
    else {
        panic!("{said}")
    };
    assert_eq!(error.kind(), Kind::Environment);
    assert_eq!(file, WEIGHTS);
    assert_eq!(*expected, world.server.hub().tag(WEIGHTS));
    assert_ne!(expected, found);
    assert!(said.contains("what came was deleted"), "{said}");
    let config = world.server.hub().tag("config.json");
    assert_eq!(kept(&world), [config]);
    assert!(!world.repo().join("refs/main").exists());

    world.server.hub().altered = None;
    let resolved = world.resolve().unwrap();
    assert_eq!(read(&resolved.folder, WEIGHTS), FILES[1].1);
}

#[test]
fn a_blob_that_is_not_what_its_name_says_is_fetched_again() {
    let world = World::new(hashing());
    let blobs = world.repo().join("blobs");
    fs::create_dir_all(&blobs).unwrap();
    let tag = world.server.hub().tag(WEIGHTS);
    // Of the right length, as an interrupted copy into a file of that length leaves it.
    fs::write(blobs.join(&tag), vec![0; FILES[1].1.len()]).unwrap();
    let mut options = world.options();
    let events = told(&mut options);
    let resolved = resolve("org/model", &options).unwrap();
    assert_eq!(resolved.source, Source::Hub);
    assert_eq!(read(&resolved.folder, WEIGHTS), FILES[1].1);
    assert_eq!(*events.lock().unwrap(), [WEIGHTS]);

    // One that is right is used.
    fs::remove_dir_all(world.repo().join("snapshots")).unwrap();
    let resolved = resolve("org/model", &options).unwrap();
    assert_eq!(resolved.source, Source::Cache);
    assert_eq!(events.lock().unwrap().len(), 1);
}

#[test]
fn a_part_of_something_else_is_not_continued_for_ever() {
    for part in [
        &b"the other weights, wh"[..],
        // Whole, and wrong.
        &[b'x'; 43],
        // Longer than the file.
        &[b'x'; 50],
    ] {
        let world = World::new(hashing());
        let blobs = world.repo().join("blobs");
        fs::create_dir_all(&blobs).unwrap();
        let tag = world.server.hub().tag(WEIGHTS);
        fs::write(blobs.join(format!("{tag}.part")), part).unwrap();
        let resolved = world.resolve().unwrap();
        assert_eq!(read(&resolved.folder, WEIGHTS), FILES[1].1);
        assert_eq!(kept(&world).len(), 2);
    }
}

#[test]
fn an_interrupted_transfer_is_hashed_as_a_whole() {
    let mut hub = hashing();
    hub.cut = Some((WEIGHTS.to_owned(), 10));
    let world = World::new(hub);
    let error = world.resolve().unwrap_err();
    assert!(
        matches!(error, HubError::Interrupted { received: 10, .. }),
        "{error}"
    );
    world.server.hub().seen.clear();
    let resolved = world.resolve().unwrap();
    assert_eq!(read(&resolved.folder, WEIGHTS), FILES[1].1);
    let ranges: Vec<_> = world
        .server
        .hub()
        .seen
        .drain(..)
        .filter_map(|seen| seen.2)
        .collect();
    assert_eq!(ranges, ["bytes=0-0", "bytes=10-"]);
}

#[test]
fn a_body_that_stops_is_given_up() {
    let mut hub = Hub::with(&FILES[..2]);
    hub.manner = Some((WEIGHTS.to_owned(), Manner::Stall));
    let world = World::new(hub);
    let mut options = world.options();
    options.stall = Duration::from_millis(100);
    let error = resolve("org/model", &options).unwrap_err();
    let said = error.to_string();
    assert!(
        matches!(error, HubError::Interrupted { received: 1, .. }),
        "{said}"
    );
    assert!(
        said.contains("after 1 of 43 bytes (it went silent)"),
        "{said}"
    );
    world.server.hub().manner = None;
    let resolved = resolve("org/model", &options).unwrap();
    assert_eq!(read(&resolved.folder, WEIGHTS), FILES[1].1);
}

#[test]
fn a_body_that_trickles_is_given_up() {
    let long = [b't'; 1000];
    let mut hub = Hub::with(&[FILES[0], (WEIGHTS, &long)]);
    hub.manner = Some((WEIGHTS.to_owned(), Manner::Trickle));
    let world = World::new(hub);
    let mut options = world.options();
    options.stall = Duration::from_millis(100);
    let error = resolve("org/model", &options).unwrap_err();
    let said = error.to_string();
    assert!(matches!(error, HubError::Interrupted { .. }), "{said}");
    assert!(
        said.contains("(fewer than 1024 bytes came in 0.1 s)"),
        "{said}"
    );
}

#[test]
fn a_few_bytes_too_many_are_not_kept() {
    // Of no told length, and all at once.
    let mut hub = Hub::with(&FILES[..2]);
    hub.careless = true;
    hub.altered = Some((WEIGHTS.to_owned(), vec![b't'; FILES[1].1.len() + 7]));
    hub.announce = Some(FILES[1].1.len() as u64);
    hub.files
        .insert("config.json".to_owned(), vec![b' '; FILES[1].1.len()]);
    let world = World::new(hub);
    let error = world.resolve().unwrap_err();
    assert!(
        matches!(error, HubError::MoreThanAnnounced { announced: 43, .. }),
        "{error}"
    );
    assert_eq!(kept(&world), [etag("config.json")]);
}

#[test]
fn no_more_is_written_than_was_announced() {
    for manner in [
        Manner::Endless { told: true },
        Manner::Endless { told: false },
    ] {
        let mut hub = Hub::with(&FILES[..2]);
        hub.manner = Some((WEIGHTS.to_owned(), manner));
        let world = World::new(hub);
        let error = world.resolve().unwrap_err();
        assert!(
            matches!(error, HubError::MoreThanAnnounced { announced: 43, .. }),
            "{manner:?}: {error}"
        );
        assert_eq!(kept(&world), [etag("config.json")], "{manner:?}");
    }
}

#[test]
fn sizes_that_cannot_be_are_not_fetched() {
    let announced = |files: &[(&str, &[u8])], size: u64| {
        let mut hub = Hub::with(files);
        hub.announce = Some(size);
        let world = World::new(hub);
        let error = world.resolve().unwrap_err();
        assert_eq!(kept(&world), [""; 0], "{error}");
        error
    };
    let error = announced(&FILES[..2], 1 << 30);
    let said = error.to_string();
    assert!(matches!(error, HubError::TooLarge { .. }), "{said}");
    assert!(
        said.contains("config.json of org/model is announced with 1073741824"),
        "{said}"
    );

    // A cache that has the configuration, and a file that no disk holds.
    let world = World::new(Hub::with(&FILES[..2]));
    world.resolve().unwrap();
    let weights = world.repo().join("blobs").join(etag(WEIGHTS));
    fs::remove_file(weights).unwrap();
    world.server.hub().announce = Some(1 << 60);
    let error = world.resolve().unwrap_err();
    assert!(matches!(error, HubError::NoSpace { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("1152921504606846976 bytes are missing"),
        "{error}"
    );
}

#[test]
fn redirects_end() {
    let circle = format!("/org/model/resolve/{SHA}/config.json");
    for (detour, said) in [
        (circle.as_str(), "redirects in a circle"),
        ("config.json", "redirects in a circle"),
        ("./more/config.json", "redirects after 10 other redirects"),
        (
            "ftp://127.0.0.1/config.json",
            "neither with https:// nor with http://",
        ),
        ("http://", "which is no address"),
    ] {
        let mut hub = Hub::with(&FILES[..2]);
        hub.detour = Some(detour.to_owned());
        let world = World::new(hub);
        let error = world.resolve().unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, HubError::Redirect { .. }), "{text}");
        assert!(text.contains(said), "{text}");
        assert!(
            text.starts_with("config.json of org/model cannot be fetched: http://127"),
            "{text}"
        );
        assert!(world.server.take_paths().len() <= 12, "{text}");
    }
}

#[test]
fn a_hub_that_wants_to_be_left_alone_is() {
    let later = |text, times, after, retries| {
        let mut hub = Hub::with(&FILES[..2]);
        hub.later = Some((text, times, after));
        let world = World::new(hub);
        let mut options = world.options();
        options.retries = retries;
        let events = told(&mut options);
        let outcome = resolve("org/model", &options);
        assert_eq!(*events.lock().unwrap(), [""; 0]);
        (outcome, world.server.take_paths().len())
    };
    // The list, and two files with two requests each, and what was refused.
    for text in ["/api/", "/resolve/"] {
        let (outcome, requests) = later(text, 2, "0", 2);
        assert_eq!(
            (outcome.map(|_| ()).map_err(|e| e.to_string()), requests),
            (Ok(()), 7)
        );
        let (outcome, requests) = later(text, 1, "Fri, 31 Dec 1999 23:59:59 GMT", 1);
        assert_eq!((outcome.is_ok(), requests), (true, 6));
    }
    let (outcome, requests) = later("/resolve/", 1, "3600", 3);
    let error = outcome.unwrap_err();
    let said = error.to_string();
    assert!(
        matches!(error, HubError::AskedToWait { seconds: 3600, .. }),
        "{said}"
    );
    assert!(
        said.contains("answered 429 when asked for config.json of org/model"),
        "{said}"
    );
    assert_eq!(requests, 2);
    let (outcome, requests) = later("/api/", 1, "3600", 3);
    let said = outcome.unwrap_err().to_string();
    assert!(
        said.contains("it answered 429 and wants no request for 3600 s"),
        "{said}"
    );
    assert_eq!(requests, 1);
}

#[test]
fn placeholders_of_git_lfs_are_no_files() {
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n";
    for name in [WEIGHTS, "config.json", "model.safetensors.index.json"] {
        let weights = if name == "config.json" { WEIGHTS } else { name };
        let content = |file| if file == name { &pointer[..] } else { b"{}" };
        let files = [
            ("config.json", content("config.json")),
            (weights, content(weights)),
        ];
        let world = World::new(Hub::with(&files));
        let error = world.resolve().unwrap_err();
        assert!(matches!(error, HubError::LfsPointer { .. }), "{error}");
        let said = format!("{name} is a git-lfs pointer, not the file itself, as http://127.0.0.1");
        assert!(error.to_string().starts_with(&said), "{error}");
        assert!(!kept(&world).contains(&etag(name)));
    }
}

#[test]
fn addresses_and_tokens_that_are_none() {
    let world = World::new(Hub::with(&FILES[..2]));
    for endpoint in ["hub.example", "ftp://hub.example", "https://", "http://a b"] {
        let mut options = world.options();
        options.endpoint = endpoint.to_owned();
        let error = resolve("org/model", &options).unwrap_err();
        assert!(matches!(error, HubError::InvalidEndpoint { .. }), "{error}");
    }
    let mut options = world.options();
    options.token = Some("a\nX-Other: header".to_owned());
    let error = resolve("org/model", &options).unwrap_err();
    assert!(matches!(error, HubError::InvalidToken), "{error}");
    assert!(!error.to_string().contains("X-Other"), "{error}");
    assert!(world.server.take_paths().is_empty());
}
