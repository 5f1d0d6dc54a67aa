#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;

fn filled(names: &[&str]) -> tempfile::TempDir {
    let base = tempfile::tempdir().unwrap();
    for name in names {
        let path = base.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }
    base
}

#[test]
fn what_is_not_of_a_run_stays() {
    let gone = [
        "run.json",
        "report.html",
        "head_mask.npy",
        "part.json",
        "chunks.jsonl",
        "index.json",
        "shard-00000.safetensors",
        "shard-123456.npz",
        "tokens/shard-00001.parquet",
        "gradients_keys/shard-00001.parquet",
        "maps/maps-00001.bin",
        "maps/.bertology-x",
        ".bertology-y",
    ];
    let kept = [
        "notes.txt",
        "head_mask.npy.bak",
        "shard-1.npz",
        "shard-00000.txt",
        "shard-0000x.npz",
        "mine/shard-00001.parquet",
        "mine/run.json",
        "words/notes.txt",
        "model/config.json",
        "maps/notes.txt",
    ];
    let base = filled(&[&gone[..], &kept[..]].concat());
    let folder = RunFolder::open(base.path()).unwrap();
    folder.clear(None).unwrap();
    for name in gone {
        assert!(!base.path().join(name).exists(), "{name}");
    }
    for name in kept {
        assert!(base.path().join(name).exists(), "{name}");
    }
    assert!(!base.path().join("tokens").exists());
}

#[test]
fn of_a_checkpoint_goes_what_the_record_names() {
    let files = [
        "model/config.json",
        "model/mine.txt",
        "model/model.safetensors",
        "else.txt",
    ];
    let base = filled(&files);
    let record = json!({ "results": { "checkpoint": { "report": { "files":
        ["config.json", "model.safetensors", "../else.txt"] } } } });
    let folder = RunFolder::open(base.path()).unwrap();
    folder.write_json(RUN, &record).unwrap();
    // The model that is being read is not removed.
    folder.clear(Some(&base.path().join("model"))).unwrap();
    assert!(files.iter().all(|name| base.path().join(name).exists()));
    folder.write_json(RUN, &record).unwrap();
    folder.clear(Some(base.path())).unwrap();
    let left = files.map(|name| base.path().join(name).exists());
    assert_eq!(left, [false, true, false, true]);
}

#[test]
fn a_file_that_is_not_finished_leaves_nothing() {
    let base = filled(&[]);
    let folder = RunFolder::open(base.path()).unwrap();
    let mut stream = folder.stream("heads.csv").unwrap();
    stream.put(b"layer").unwrap();
    drop((stream, folder));
    assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
}

#[test]
fn only_the_same_run_goes_on() {
    let base = filled(&[]);
    let folder = RunFolder::open(base.path()).unwrap();
    let identity = Identity {
        command: "importance".into(),
        version: "1".into(),
        options: json!({ "limit": 3, "seed": null }),
        model_sha256: "aa".into(),
        tokenizer_sha256: None,
        data_sha256: Some("bb".into()),
    };
    folder.save_state(&identity, json!([1.5])).unwrap();
    let found = folder.earlier(&identity).unwrap();
    assert!(matches!(found, Earlier::Interrupted(state) if state == json!([1.5])));
    let mut other = identity.clone();
    other.set("limit", json!(4));
    let error = folder.earlier(&other).unwrap_err().to_string();
    assert!(
        error.contains("the option limit was 3, now it is 4"),
        "{error}"
    );
    other.data_sha256 = None;
    let error = folder.earlier(&other).unwrap_err().to_string();
    assert!(
        error.contains("SHA-256 of the data was bb, now it is none"),
        "{error}"
    );
}
