//! Broken, foreign and hostile files are refused by name, and never panic.

use std::fs;
use std::io::Write;

use bertology_checkpoint::{Checkpoint, Error, OpenOptions};
use serde_json::json;

use crate::folder::{Folder, assert_says, serialize};

fn open(folder: &Folder) -> Result<Checkpoint, Error> {
    Checkpoint::open(folder.path(), &OpenOptions::new())
}

fn refusal(folder: &Folder) -> String {
    open(folder).expect_err("must be refused").to_string()
}

/// A folder with a config and, under `name`, these bytes.
fn with(name: &str, bytes: &[u8]) -> Folder {
    let folder = Folder::bert();
    fs::write(folder.file("config.json"), folder.config.to_string()).unwrap();
    fs::write(folder.file(name), bytes).unwrap();
    folder
}

#[test]
fn folders_that_are_no_models() {
    let folder = Folder::bert();
    let error = Checkpoint::open(&folder.file("absent"), &OpenOptions::new()).unwrap_err();
    assert_says(&error.to_string(), "is not a folder");
    assert_says(&refusal(&folder), "holds no config.json");
    fs::write(
        folder.file("config.json"),
        "{\"model_type\": \"bert\", \"x\": nan}",
    )
    .unwrap();
    assert_says(&refusal(&folder), "config.json is not valid JSON");
    fs::write(folder.file("config.json"), "[]").unwrap();
    assert_says(&refusal(&folder), "is not valid JSON");
    fs::write(folder.file("config.json"), "{}").unwrap();
    assert_says(&refusal(&folder), "expected model.safetensors");
}

#[test]
fn weights_of_other_frameworks_say_how_to_convert() {
    for (file, framework, option) in [
        ("tf_model.h5", "TensorFlow", "from_tf=True"),
        ("bert_model.ckpt.index", "TensorFlow", "from_tf=True"),
        ("flax_model.msgpack", "Flax", "from_flax=True"),
    ] {
        let text = refusal(&with(file, b"x"));
        for part in [file, framework, option, "save_pretrained"] {
            assert_says(&text, part);
        }
    }
}

#[test]
fn truncated_safetensors_name_the_file() {
    let whole = Folder::bert().weights();
    let header = u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    for length in [
        0,
        1,
        7,
        8,
        9,
        100,
        8 + header - 1,
        8 + header,
        whole.len() - 1,
    ] {
        let text = refusal(&with("model.safetensors", &whole[..length]));
        assert_says(&text, "model.safetensors is damaged or incomplete");
    }
    let mut longer = whole.clone();
    longer.push(0);
    assert_says(&refusal(&with("model.safetensors", &longer)), "damaged");
}

#[test]
fn hostile_safetensors_headers_are_refused() {
    let file = |header: &str, data: usize| {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        bytes
    };
    let entry = |shape: &str, offsets: &str| {
        format!("{{\"x\":{{\"dtype\":\"F32\",\"shape\":{shape},\"data_offsets\":{offsets}}}}}")
    };
    let max = u64::MAX;
    for bytes in [
        max.to_le_bytes().to_vec(),
        file("", 0),
        file("null", 0),
        file("{\"x\":3}", 0),
        file(&entry("[2]", "[0,4]"), 4),
        file(&entry("[1]", "[4,0]"), 4),
        file(&entry("[1]", "[4,8]"), 8),
        file(&entry("[-1]", "[0,4]"), 4),
        file(&entry("[1e3]", "[0,4]"), 4),
        file(&entry(&format!("[{max},{max}]"), "[0,4]"), 4),
        file(&entry(&format!("[{max}]"), &format!("[0,{max}]")), 4),
        file(&entry("[1]", "[0,4]").replace("F32", "F31"), 4),
        file(&"[".repeat(100_000), 0),
    ] {
        assert_says(
            &refusal(&with("model.safetensors", &bytes)),
            "model.safetensors",
        );
    }
    // Well-formed, but with nothing of the model in it.
    let text = refusal(&with("model.safetensors", &file("{}", 0)));
    assert_says(&text, "the weights hold 0 layers");
}

#[test]
fn git_lfs_pointers_are_recognised() {
    for name in ["model.safetensors", "pytorch_model.bin"] {
        let text = refusal(&with(
            name,
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0",
        ));
        assert_says(&text, "git lfs pull");
    }
}

#[test]
fn shard_indices_must_agree_with_their_shards() {
    let write = |edit: &dyn Fn(&mut serde_json::Value)| {
        let folder = Folder::bert();
        fs::write(folder.file("config.json"), folder.config.to_string()).unwrap();
        let mut map = serde_json::Map::new();
        for (shard, odd) in [("a.safetensors", true), ("b.safetensors", false)] {
            let part = folder
                .tensors
                .iter()
                .enumerate()
                .filter(|(at, _)| (at % 2 == 1) == odd);
            let part: Vec<_> = part.map(|(_, tensor)| tensor).collect();
            for (name, _) in &part {
                map.insert((*name).clone(), json!(shard));
            }
            fs::write(folder.file(shard), serialize(part.into_iter())).unwrap();
        }
        let mut index = json!({"metadata": {"total_size": 0}, "weight_map": map});
        edit(&mut index);
        fs::write(
            folder.file("model.safetensors.index.json"),
            index.to_string(),
        )
        .unwrap();
        folder
    };
    let good = write(&|_| {});
    assert_eq!(open(&good).unwrap().files().len(), 2);
    let says = |edit: &dyn Fn(&mut serde_json::Value), part: &str| {
        let text = refusal(&write(edit));
        assert_says(&text, "model.safetensors.index.json");
        assert_says(&text, part);
    };
    let name = "classifier.bias";
    says(
        &|index| index["weight_map"][name] = json!("c.safetensors"),
        "names the shard `c.saf",
    );
    says(
        &|index| index["weight_map"][name] = json!("../a.safetensors"),
        "not to a file of this",
    );
    says(
        &|index| index["weight_map"][name] = json!("/etc/passwd"),
        "not to a file of this",
    );
    says(
        &|index| index["weight_map"][name] = json!(3),
        "not to a file of this",
    );
    says(
        &|index| index["weight_map"]["extra"] = json!("a.safetensors"),
        "places tensor `extra`",
    );
    says(&|index| index["weight_map"] = json!({}), "is empty");
    says(
        &|index| index["weight_map"] = json!(null),
        "no `weight_map`",
    );
    let twice = write(&|_| {});
    fs::copy(twice.file("a.safetensors"), twice.file("b.safetensors")).unwrap();
    assert_says(&refusal(&twice), "occurs in both");
}

/// An archive as `torch.save` lays it out, with this pickle and one storage of 8 bytes.
fn archive(pickle: &[u8]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let stored =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, bytes) in [
        ("m/data.pkl", pickle),
        ("m/byteorder", b"little"),
        ("m/data/0", &[0, 0, 128, 63, 0, 0, 0, 64]),
    ] {
        zip.start_file(name, stored).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A state dict whose one entry `x` is this view of a storage of two numbers.
fn state_dict(storage: &str, key: u8, offset: u8, size: &[i32], stride: &[i32]) -> Vec<u8> {
    let mut pickle = b"\x80\x02}X\x01\x00\x00\x00xctorch._utils\n_rebuild_tensor_v2\n(".to_vec();
    pickle.extend(b"(X\x07\x00\x00\x00storagectorch\n");
    pickle.extend(storage.as_bytes());
    pickle.extend(b"\nX\x01\x00\x00\x00");
    pickle.push(key);
    pickle.extend(b"X\x03\x00\x00\x00cpuK\x02tQK");
    pickle.push(offset);
    for sizes in [size, stride] {
        pickle.push(b'(');
        for size in sizes {
            pickle.push(b'J');
            pickle.extend(size.to_le_bytes());
        }
        pickle.push(b't');
    }
    pickle.extend(b"\x89}tRs.");
    pickle
}

#[test]
fn pickles_give_plain_tensors_or_a_reason() {
    let refusal = |pickle: &[u8]| refusal(&with("pytorch_model.bin", &archive(pickle)));
    // Sound, but no BERT: refused for its layers, after the tensors were read.
    for sound in [
        state_dict("FloatStorage", b'0', 0, &[2], &[1]),
        state_dict("FloatStorage", b'0', 1, &[], &[]),
        state_dict("FloatStorage", b'0', 0, &[0, 7], &[7, 1]),
        state_dict("HalfStorage", b'0', 0, &[1, 2], &[9, 1]),
    ] {
        assert_says(&refusal(&sound), "the weights hold 0 layers");
    }
    let float = |key, offset, size, stride| state_dict("FloatStorage", key, offset, size, stride);
    for (pickle, part) in [
        (float(b'1', 0, &[2], &[1]), "record `m/data/1`"),
        (float(b'0', 1, &[2], &[1]), "does not fit"),
        (float(b'0', 0, &[3], &[1]), "does not fit"),
        (float(b'0', 0, &[2], &[2]), "does not fit"),
        (
            state_dict("DoubleStorage", b'0', 0, &[2], &[1]),
            "does not fit",
        ),
        // A view that repeats one number to any size, and sizes whose product overflows.
        (float(b'0', 0, &[i32::MAX], &[0]), "does not fit"),
        (float(b'0', 0, &[i32::MAX; 3], &[0; 3]), "does not fit"),
        (float(b'0', 0, &[-1], &[1]), "a size is -1"),
        (float(b'0', 0, &[2], &[1, 1]), "strides"),
        (
            state_dict("QInt8Storage", b'0', 0, &[2], &[1]),
            "`torch.QInt8Storage`, which is refused",
        ),
        (
            b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R.".to_vec(),
            "`os.system`, which is",
        ),
        (
            b"\x80\x02}X\x05\x00\x00\x00epochK\x03s.".to_vec(),
            "entry `epoch` is an integer",
        ),
        (b"\x80\x02K\x01.".to_vec(), "does not hold a dictionary"),
        (b"".to_vec(), "ends too early"),
    ] {
        let text = refusal(&pickle);
        assert_says(&text, "pytorch_model.bin");
        assert_says(&text, part);
    }
}

#[test]
fn damaged_and_old_pickle_files_are_told_apart() {
    let whole = archive(&state_dict("FloatStorage", b'0', 0, &[2], &[1]));
    for length in 1..whole.len() {
        let folder = with("pytorch_model.bin", &whole[..length]);
        assert!(open(&folder).is_err(), "the first {length} bytes");
    }
    let mut tar = vec![0; 512];
    tar[257..262].copy_from_slice(b"ustar");
    let text = refusal(&with("pytorch_model.bin", &tar));
    assert_says(&text, "PyTorch's format of 2016");
    assert_says(&text, "torch.save(torch.load(");
    let text = refusal(&with("pytorch_model.bin", b"\x80\x02K\x01."));
    assert_says(&text, "not one that PyTorch wrote");
    assert_says(
        &refusal(&with("pytorch_model.bin", b"rubbish")),
        "is no PyTorch archive",
    );
    // Every single damaged byte either reads or is refused; none panics.
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        assert!(open(&with("pytorch_model.bin", &bytes)).is_err());
    }
}
