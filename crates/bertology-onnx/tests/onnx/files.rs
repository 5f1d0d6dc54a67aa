//! How files come to be: whole or not at all, and where they may not.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use bertology_checkpoint::HeadSet;
use bertology_onnx::{Error, Options, write};
use tempfile::TempDir;

use crate::{names, opened, read};

/// Weights that one file cannot hold lie beside it, each where the file says.
#[test]
fn a_large_model_is_two_files() {
    let checkpoint = opened("gpt2-lm");
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let one = write(&checkpoint, &at("one.onnx"), &Options::new()).unwrap();
    assert_eq!(one.files, [at("one.onnx")]);
    assert_eq!(one.bytes, fs::metadata(at("one.onnx")).unwrap().len());
    let whole = read(&at("one.onnx"));

    // One byte less than it takes, and what it takes.
    let same = Options::new().longest(one.bytes).overwrite(true);
    assert_eq!(write(&checkpoint, &at("one.onnx"), &same).unwrap(), one);
    let small = Options::new().longest(one.bytes - 1);
    let two = write(&checkpoint, &at("two.onnx"), &small).unwrap();
    assert_eq!(two.files, [at("two.onnx"), at("two.onnx_data")]);
    let sizes = two
        .files
        .iter()
        .map(|file| fs::metadata(file).unwrap().len());
    assert_eq!(sizes.sum::<u64>(), two.bytes);
    let parted = read(&at("two.onnx"));
    let data = fs::read(at("two.onnx_data")).unwrap();
    let mut outside = 0;
    for (tensor, expected) in parted.tensors.iter().zip(&whole.tensors) {
        assert_eq!(
            (&tensor.name, &tensor.shape),
            (&expected.name, &expected.shape)
        );
        if tensor.external.is_empty() {
            assert_eq!(tensor.data, expected.data, "{}", tensor.name);
            assert!(tensor.data.len() < 1024);
            continue;
        }
        outside += 1;
        assert_eq!(tensor.external["location"], "two.onnx_data");
        let [offset, length] =
            ["offset", "length"].map(|key| tensor.external[key].parse::<usize>().unwrap());
        assert_eq!(offset % 4096, 0);
        assert_eq!(data[offset..][..length], expected.data, "{}", tensor.name);
    }
    assert!(outside > 10, "{outside}");
    assert_eq!(
        names(folder.path()),
        ["one.onnx", "two.onnx", "two.onnx_data"]
    );

    // Neither of the two is replaced unless that is wanted.
    fs::remove_file(at("two.onnx")).unwrap();
    let refused = write(&checkpoint, &at("two.onnx"), &small).unwrap_err();
    assert!(matches!(refused, Error::Exists { path } if path == at("two.onnx_data")));
    write(&checkpoint, &at("two.onnx"), &small.overwrite(true)).unwrap();
    assert_eq!(fs::read(at("two.onnx_data")).unwrap(), data);
}

#[test]
fn nothing_is_replaced_unless_that_is_wanted() {
    let checkpoint = opened("bert-bare");
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.onnx");
    fs::write(&path, "mine").unwrap();
    let refused = write(&checkpoint, &path, &Options::new()).unwrap_err();
    assert!(matches!(refused, Error::Exists { .. }), "{refused}");
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    write(&checkpoint, &path, &Options::new().overwrite(true)).unwrap();
    assert_eq!(read(&path).outputs.len(), 2);
    assert_eq!(names(folder.path()), ["model.onnx"]);
}

/// Refused with one sentence, and nothing is left behind.
#[test]
fn places_where_no_file_can_be() {
    let checkpoint = opened("bert-bare");
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let cases = BTreeMap::from([
        ("", "is a folder; name the file in it"),
        ("file/model.onnx", "cannot create"),
        ("..", "is a folder"),
    ]);
    for (path, said) in cases {
        let refused = write(&checkpoint, &folder.path().join(path), &Options::new());
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains(said), "{path}: {refused}");
        assert_eq!(names(folder.path()), ["file"]);
    }
    // A folder that is not there is made.
    let deep = folder.path().join("a/b/model.onnx");
    write(&checkpoint, &deep, &Options::new()).unwrap();
    assert!(deep.is_file());
}

/// What the system says, and where.
#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_takes_no_files() {
    let checkpoint = opened("bert-bare");
    let path = std::path::Path::new("/proc/model.onnx");
    let refused = write(&checkpoint, path, &Options::new()).unwrap_err();
    assert!(
        matches!(refused, Error::Io { .. } | Error::NoRoom { .. }),
        "{refused}"
    );
    assert!(refused.to_string().contains("/proc"), "{refused}");
}

/// Whoever asks to stop is heard, and nothing is left.
#[test]
fn writing_can_be_stopped() {
    let folder = TempDir::new().unwrap();
    let stop = AtomicBool::new(true);
    let options = Options::new().stop(&stop);
    let path = folder.path().join("a.onnx");
    let stopped = write(&opened("bert-bare"), &path, &options).unwrap_err();
    assert!(matches!(stopped, Error::Stopped), "{stopped}");
    assert!(names(folder.path()).is_empty());
    stop.store(false, Ordering::Relaxed);
    write(&opened("bert-bare"), &path, &options).unwrap();
}

#[test]
fn heads_that_the_model_never_had_are_refused() {
    let checkpoint = opened("bert-bare");
    let folder = TempDir::new().unwrap();
    for (layer, head) in [(0, 99), (99, 0)] {
        let without: HeadSet = [(layer, head)].into_iter().collect();
        let options = Options::new().without(without);
        let refused = write(&checkpoint, &folder.path().join("a.onnx"), &options).unwrap_err();
        let head = matches!(
            refused,
            Error::Checkpoint(bertology_checkpoint::Error::NoSuchHead { .. })
        );
        assert!(head, "{refused}");
    }
    assert!(names(folder.path()).is_empty());
}

#[cfg(unix)]
#[test]
fn the_umask_says_who_may_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.onnx");
    write(&opened("bert-bare"), &path, &Options::new()).unwrap();
    fs::write(folder.path().join("other"), "").unwrap();
    let mode = |name: &str| {
        let metadata = fs::metadata(folder.path().join(name)).unwrap();
        metadata.permissions().mode()
    };
    assert_eq!(mode("model.onnx"), mode("other"));
}
