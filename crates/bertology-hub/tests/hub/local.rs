//! Local folders and the cache, without any server.

use std::fs;

use bertology_hub::{HubError, Source, resolve};

use crate::{COMMIT, cached, options};

#[test]
fn a_folder_is_its_own_answer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let mut options = options(folder.path());
    for name in [path.to_owned(), format!("{path}/")] {
        let resolved = resolve(&name, &options).unwrap();
        assert_eq!(resolved.source, Source::Folder);
        assert_eq!(resolved.folder.to_str().unwrap(), name);
        assert_eq!((resolved.commit, resolved.revision), (None, None));
    }
    options.revision = Some("v1".to_owned());
    let said = resolve(path, &options).unwrap_err().to_string();
    assert!(
        said.contains("is a local folder, which has no revision \"v1\""),
        "{said}"
    );
}

#[test]
fn a_path_is_never_looked_up_on_the_hub() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path());
    let nowhere = folder.path().join("nowhere");
    for name in [
        "./x",
        "../x",
        "~/x",
        "x/",
        "a/b/c",
        ".\\x",
        nowhere.to_str().unwrap(),
    ] {
        let error = resolve(name, &options).unwrap_err();
        assert!(
            matches!(error, HubError::FolderNotFound { .. }),
            "{name}: {error}"
        );
        assert!(
            error
                .to_string()
                .starts_with(&format!("there is no folder {name};")),
            "{error}"
        );
    }
    let file = folder.path().join("model.safetensors");
    fs::write(&file, "").unwrap();
    let said = resolve(file.to_str().unwrap(), &options)
        .unwrap_err()
        .to_string();
    assert!(said.contains("is a file; give the folder"), "{said}");
    let said = resolve("bert base", &options).unwrap_err().to_string();
    assert!(
        said.starts_with("\"bert base\" is neither a folder here nor"),
        "{said}"
    );
}

#[test]
fn offline_from_the_cache() {
    let cache = tempfile::tempdir().unwrap();
    let snapshot = cached(
        cache.path(),
        &[("config.json", "{}"), ("pytorch_model.bin", "x")],
    );
    let mut options = options(cache.path());
    options.offline = true;
    // By the branch that was noted, and by the commit itself.
    for revision in [None, Some("main"), Some(COMMIT)] {
        options.revision = revision.map(str::to_owned);
        let resolved = resolve("org/model", &options).unwrap();
        assert_eq!(resolved.folder, snapshot);
        assert_eq!(resolved.source, Source::Cache);
        assert_eq!(resolved.commit.as_deref(), Some(COMMIT));
        assert_eq!(
            resolved.revision.as_deref(),
            Some(revision.unwrap_or("main"))
        );
        assert_eq!(resolved.unreachable, None);
    }
    options.revision = Some("v2".to_owned());
    let said = resolve("org/model", &options).unwrap_err().to_string();
    assert!(
        said.contains("(revision v2)") && said.contains("other revisions of it are"),
        "{said}"
    );
}

#[test]
fn offline_and_not_cached() {
    let cache = tempfile::tempdir().unwrap();
    let mut options = options(cache.path());
    options.offline = true;
    let error = resolve("gpt2", &options).unwrap_err();
    let said = error.to_string();
    assert!(matches!(error, HubError::NotCached { .. }), "{said}");
    assert!(said.contains(cache.path().to_str().unwrap()), "{said}");
    assert!(
        said.contains("models--gpt2") && said.contains("unset HF_HUB_OFFLINE"),
        "{said}"
    );

    options.cache_dir = None;
    let said = resolve("gpt2", &options).unwrap_err().to_string();
    assert!(said.contains("set HF_HOME, HF_HUB_CACHE or HOME"), "{said}");
}

#[test]
fn a_cache_that_is_not_whole() {
    let index = r#"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}"#;
    let missing = |files: &[(&str, &str)]| {
        let cache = tempfile::tempdir().unwrap();
        cached(cache.path(), files);
        let mut options = options(cache.path());
        options.offline = true;
        resolve("org/model", &options).map_err(|error| error.to_string())
    };
    let config = ("config.json", "{}");
    let said = missing(&[("model.safetensors", "x")]).unwrap_err();
    assert!(said.contains("config.json is missing in"), "{said}");
    let said = missing(&[config]).unwrap_err();
    assert!(said.contains("the weights are missing in"), "{said}");
    let said = missing(&[config, ("tf_model.h5", "x")]).unwrap_err();
    assert!(
        said.contains("of the weights only tf_model.h5 in"),
        "{said}"
    );
    let sharded = ("model.safetensors.index.json", index);
    let said = missing(&[config, sharded, ("model-1.safetensors", "x")]).unwrap_err();
    assert!(said.contains("model-2.safetensors is missing in"), "{said}");
    let both = [
        config,
        sharded,
        ("model-1.safetensors", "x"),
        ("model-2.safetensors", "x"),
    ];
    assert!(missing(&both).is_ok());
    let said = missing(&[config, ("model.safetensors.index.json", "{")]).unwrap_err();
    assert!(
        said.contains("model.safetensors.index.json is not an index of shards"),
        "{said}"
    );
}

#[test]
#[cfg(not(feature = "download"))]
fn a_build_without_download_says_so() {
    let cache = tempfile::tempdir().unwrap();
    let said = resolve("gpt2", &options(cache.path()))
        .unwrap_err()
        .to_string();
    assert!(said.contains("this build cannot download"), "{said}");
    cached(
        cache.path(),
        &[("config.json", "{}"), ("model.safetensors", "x")],
    );
    assert_eq!(
        resolve("org/model", &options(cache.path())).unwrap().source,
        Source::Cache
    );
}
