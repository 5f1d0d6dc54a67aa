//! Writing a checkpoint without some of its heads.

use std::fs;
use std::path::Path;

use bertology_checkpoint::{
    Affine, Checkpoint, Dtype, Error, Export, HeadSet, LayerParameter, OpenOptions, Parameter,
    WriteOptions, WriteReport, cut_file_bytes, write_pruned,
};
use serde_json::{Value, json};

use crate::folder::{Folder, assert_says};

const PRUNED: Export = Export::Pruned;

fn write(
    source: &Checkpoint,
    heads: &str,
    to: &Path,
    export: Export,
) -> Result<WriteReport, Error> {
    let heads = HeadSet::parse(heads, 2, 2).unwrap();
    let report = write_pruned(source, &heads, to, &WriteOptions::new(export))?;
    // Whatever is written, its size was known before.
    let size = fs::metadata(to.join("model.safetensors")).unwrap().len();
    assert_eq!(cut_file_bytes(source, &heads.into(), export)?, size);
    Ok(report)
}

fn open(folder: &Path) -> Checkpoint {
    Checkpoint::open(folder, &OpenOptions::new()).unwrap()
}

fn layer(checkpoint: &Checkpoint, layer: usize, parameter: LayerParameter) -> Vec<f32> {
    checkpoint
        .parameter(Parameter::Layer(layer, parameter))
        .unwrap()
        .to_f32()
        .unwrap()
}

fn config(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("config.json")).unwrap()).unwrap()
}

#[test]
fn rows_and_columns_of_the_head_go_and_nothing_else() {
    let mut folder = Folder::bert();
    folder.set("pruned_heads", json!({}));
    folder.set("zebra", 1.5e-7);
    fs::write(folder.file("vocab.txt"), "[PAD]\n").unwrap();
    fs::write(folder.file("tokenizer_config.json"), "{}").unwrap();
    fs::write(folder.file("README.md"), "about").unwrap();
    fs::write(folder.file("optimizer.pt"), "large").unwrap();
    let source = folder.open().unwrap();
    let out = folder.file("out/pruned");
    let report = write(&source, "1:0", &out, PRUNED).unwrap();
    let written = open(&out);

    // Head 0 has the rows 0 and 1 of [4, 4]: the last eight of sixteen numbers stay.
    for part in [
        LayerParameter::Query,
        LayerParameter::Key,
        LayerParameter::Value,
    ] {
        let weight = layer(&source, 1, part(Affine::Weight));
        assert_eq!(layer(&written, 1, part(Affine::Weight)), weight[8..]);
        let bias = layer(&source, 1, part(Affine::Bias));
        assert_eq!(layer(&written, 1, part(Affine::Bias)), bias[2..]);
    }
    let output = layer(&source, 1, LayerParameter::AttentionOutput(Affine::Weight));
    let columns: Vec<f32> = output.chunks(4).flat_map(|row| row[2..].to_vec()).collect();
    assert_eq!(
        layer(&written, 1, LayerParameter::AttentionOutput(Affine::Weight)),
        columns
    );
    for tensor in source.tensors() {
        let twin = written
            .tensors()
            .iter()
            .find(|t| t.name() == tensor.name())
            .unwrap();
        let touched = tensor.name().contains("layer.1.attention.self")
            || tensor
                .name()
                .ends_with("layer.1.attention.output.dense.weight");
        assert!(
            touched || twin.bytes() == tensor.bytes(),
            "{}",
            tensor.name()
        );
    }

    assert_eq!(written.architecture().heads(1), [1]);
    let mut expected = folder.config.clone();
    expected["pruned_heads"] = json!({"1": [0]});
    assert_eq!(config(&out), expected);
    let keys = |value: &Value| {
        value
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(keys(&config(&out)), keys(&folder.config), "order");
    let text = fs::read_to_string(out.join("config.json")).unwrap();
    assert_says(&text, "\n  \"zebra\": 1.5e-7");

    let files = [
        "config.json",
        "model.safetensors",
        "tokenizer_config.json",
        "vocab.txt",
    ];
    assert_eq!(report.files, files);
    let mut present: Vec<String> = fs::read_dir(&out)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    present.sort();
    assert_eq!(present, files);
    // D = 4, d = 2: a head holds 4 D d + 3 d = 38 numbers.
    assert_eq!(report.before.parameters - report.after.parameters, 38);
    assert_eq!(report.after, written.report().parts.total());
    let size = fs::metadata(out.join("model.safetensors")).unwrap().len();
    assert_eq!(report.file_bytes_after, size);
    assert!(report.zeroed_survivors.is_empty());
    assert_eq!(
        fs::read_dir(folder.file("out")).unwrap().count(),
        1,
        "no temporary folder left"
    );
}

#[test]
fn pruning_in_steps_is_pruning_at_once() {
    let folder = Folder::roberta();
    let source = folder.open().unwrap();
    let (first, both, once) = (folder.file("a"), folder.file("b"), folder.file("c"));
    write(&source, "1:1", &first, PRUNED).unwrap();
    // A head that is gone already may be named again.
    write(&open(&first), "0:0 1:1", &both, PRUNED).unwrap();
    write(&source, "0:0 1:1", &once, PRUNED).unwrap();
    assert_eq!(config(&both), config(&once));
    assert_eq!(config(&both)["pruned_heads"], json!({"0": [0], "1": [1]}));
    let data = |folder: &Path| -> Vec<Vec<u8>> {
        open(folder)
            .tensors()
            .iter()
            .map(|tensor| tensor.bytes().to_vec())
            .collect()
    };
    assert_eq!(data(&both), data(&once));
    // No head at all: a copy.
    let copy = folder.file("d");
    let report = write(&source, "", &copy, PRUNED).unwrap();
    assert_eq!(report.before, report.after);
    assert_eq!(config(&copy), folder.config);
    assert_eq!(data(&copy), data(folder.path()));
}

#[test]
fn a_layer_without_heads_keeps_one_of_zeros() {
    let folder = Folder::bert();
    let out = folder.file("out");
    let report = write(&folder.open().unwrap(), "0:0,1", &out, PRUNED).unwrap();
    assert_eq!(report.zeroed_survivors, [(0, 0)]);
    assert_eq!(report.silent_heads[&0].len(), 2);
    let written = open(&out);
    assert_eq!(written.architecture().heads(0), [0]);
    assert_eq!(config(&out)["pruned_heads"], json!({"0": [1]}));
    let output = layer(&written, 0, LayerParameter::AttentionOutput(Affine::Weight));
    assert_eq!(output, [0.0; 8]);
    let bias = LayerParameter::AttentionOutput(Affine::Bias);
    assert_eq!(
        layer(&written, 0, bias),
        layer(&folder.open().unwrap(), 0, bias)
    );

    // The same where head 0 went first: the survivor is one that was there.
    let (one, all) = (folder.file("one"), folder.file("all"));
    write(&folder.open().unwrap(), "0:0", &one, PRUNED).unwrap();
    let report = write(&open(&one), "0:1", &all, PRUNED).unwrap();
    assert_eq!(report.zeroed_survivors, [(0, 1)]);
    assert_eq!(config(&all)["pruned_heads"], json!({"0": [0]}));
}

#[test]
fn a_source_with_an_empty_layer_is_mended() {
    let mut folder = Folder::bert();
    folder.set("pruned_heads", json!({"1": [0, 1]}));
    for part in ["query", "key", "value"] {
        folder.tensor(
            &format!("bert.encoder.layer.1.attention.self.{part}.weight"),
            &[0, 4],
        );
        folder.tensor(
            &format!("bert.encoder.layer.1.attention.self.{part}.bias"),
            &[0],
        );
    }
    folder.tensor(
        "bert.encoder.layer.1.attention.output.dense.weight",
        &[4, 0],
    );
    let source = folder.open().unwrap();
    assert!(source.architecture().heads(1).is_empty());
    let (pruned, zeroed) = (folder.file("pruned"), folder.file("zeroed"));
    let report = write(&source, "", &pruned, PRUNED).unwrap();
    assert_eq!(report.zeroed_survivors, [(1, 0)]);
    assert_eq!(open(&pruned).architecture().heads(1), [0]);
    write(&source, "", &zeroed, Export::Zeroed).unwrap();
    assert_eq!(open(&zeroed).architecture().heads(1), [0, 1]);
    assert_eq!(config(&zeroed)["pruned_heads"], json!({}));
}

#[test]
fn zeroing_keeps_shapes_and_config() {
    let folder = Folder::bert();
    let source = folder.open().unwrap();
    let out = folder.file("out");
    let report = write(&source, "0:1", &out, Export::Zeroed).unwrap();
    assert_eq!(report.before, report.after);
    assert_eq!(config(&out), folder.config);
    let written = open(&out);
    for part in [
        LayerParameter::Query,
        LayerParameter::Key,
        LayerParameter::Value,
    ] {
        let mut weight = layer(&source, 0, part(Affine::Weight));
        weight[8..].fill(0.0);
        assert_eq!(layer(&written, 0, part(Affine::Weight)), weight);
        let mut bias = layer(&source, 0, part(Affine::Bias));
        bias[2..].fill(0.0);
        assert_eq!(layer(&written, 0, part(Affine::Bias)), bias);
    }
    let mut output = layer(&source, 0, LayerParameter::AttentionOutput(Affine::Weight));
    output.chunks_mut(4).for_each(|row| row[2..].fill(0.0));
    assert_eq!(
        layer(&written, 0, LayerParameter::AttentionOutput(Affine::Weight)),
        output
    );
}

#[test]
fn names_types_and_unused_tensors_are_kept() {
    let mut folder = Folder::bert();
    folder.rename("bert.", "");
    folder.rename("embeddings.LayerNorm.weight", "embeddings.LayerNorm.gamma");
    folder.raw(
        "embeddings.position_ids",
        Dtype::I64,
        &[1, 6],
        (0..48).collect(),
    );
    folder.raw(
        "encoder.layer.0.attention.self.query.bias",
        Dtype::F16,
        &[4],
        (0..8).collect(),
    );
    folder.raw(
        "cls.seq_relationship.bias",
        Dtype::BOOL,
        &[3],
        vec![0, 1, 1],
    );
    let source = folder.open().unwrap();
    let out = folder.file("out");
    write(&source, "0:0", &out, PRUNED).unwrap();
    let written = open(&out);
    let names = |checkpoint: &Checkpoint| -> Vec<(String, Dtype)> {
        checkpoint
            .tensors()
            .iter()
            .map(|t| (t.name().to_owned(), t.dtype()))
            .collect()
    };
    assert_eq!(names(&written), names(&source));
    let query = Parameter::Layer(0, LayerParameter::Query(Affine::Bias));
    assert_eq!(written.parameter(query).unwrap().bytes(), [4, 5, 6, 7]);
    // A masked LM's copy of the word embeddings is not written a second time.
    let mut folder = Folder::masked_lm();
    let tied = folder.tensors["bert.embeddings.word_embeddings.weight"].clone();
    folder
        .tensors
        .insert("cls.predictions.decoder.weight".into(), tied);
    let out = folder.file("out");
    let report = write(&folder.open().unwrap(), "0:0", &out, PRUNED).unwrap();
    assert_eq!(report.left_out, ["cls.predictions.decoder.weight"]);
    assert_eq!(open(&out).tensors().len() + 1, folder.tensors.len());
}

#[test]
fn the_file_records_what_was_done() {
    let folder = Folder::bert();
    let source = folder.open().unwrap();
    let out = folder.file("out");
    write(&source, "0:1 1:0", &out, PRUNED).unwrap();
    let bytes = fs::read(out.join("model.safetensors")).unwrap();
    let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = metadata.metadata().clone().unwrap();
    assert_eq!(metadata["format"], "pt");
    assert_eq!(metadata["bertology.export"], "pruned");
    assert_eq!(metadata["bertology.silent_heads"], "0:1 1:0");
    assert_eq!(
        metadata["bertology.source_sha256"],
        source.content_hash().unwrap()
    );
    // The same again, byte for byte.
    let again = folder.file("again");
    write(&source, "0:1 1:0", &again, PRUNED).unwrap();
    assert_eq!(fs::read(again.join("model.safetensors")).unwrap(), bytes);
}

#[test]
fn nothing_is_overwritten_unasked() {
    let folder = Folder::bert();
    let source = folder.open().unwrap();
    let out = folder.file("out");
    fs::create_dir(&out).unwrap();
    write(&source, "0:0", &out, PRUNED).unwrap();
    let error = write(&source, "0:1", &out, PRUNED).unwrap_err();
    assert_says(&error.to_string(), "already exists and is not empty");
    assert_eq!(config(&out)["pruned_heads"], json!({"0": [0]}));

    fs::write(out.join("notes.txt"), "mine").unwrap();
    let heads = HeadSet::parse("0:1", 2, 2).unwrap();
    let options = WriteOptions::new(PRUNED).overwrite(true);
    write_pruned(&source, &heads, &out, &options).unwrap();
    assert_eq!(open(&out).architecture().heads(0), [0]);
    assert_eq!(fs::read_to_string(out.join("notes.txt")).unwrap(), "mine");

    let error = write_pruned(&source, &heads, folder.path(), &options).unwrap_err();
    assert_says(&error.to_string(), "is the folder being read");
    let file = folder.file("file");
    fs::write(&file, "x").unwrap();
    let error = write_pruned(&source, &heads, &file, &options).unwrap_err();
    assert!(matches!(error, Error::OutputExists { .. }), "{error}");
}

#[test]
fn heads_that_do_not_exist_are_refused_before_anything_is_written() {
    let folder = Folder::bert();
    let source = folder.open().unwrap();
    let out = folder.file("out");
    for head in [(2, 0), (0, 2)] {
        let heads: HeadSet = [head].into_iter().collect();
        let error = write_pruned(&source, &heads, &out, &WriteOptions::new(PRUNED)).unwrap_err();
        assert_says(&error.to_string(), "layers 0 to 1 and heads 0 to 1");
        assert!(!out.exists());
    }
}

#[test]
fn heads_of_zeros_are_told_from_heads_that_do_something() {
    for make in [Folder::bert, Folder::roberta] {
        let folder = make();
        let source = folder.open().unwrap();
        assert!(source.architecture().zeroed_heads.is_empty());
        let (pruned, zeroed) = (folder.file("pruned"), folder.file("zeroed"));
        write(&source, "0:0,1 1:1", &pruned, PRUNED).unwrap();
        write(&source, "0:0,1 1:1", &zeroed, Export::Zeroed).unwrap();
        let found = open(&pruned);
        let list = |checkpoint: &Checkpoint| -> Vec<(usize, usize)> {
            let zeroed = &checkpoint.architecture().zeroed_heads;
            HeadSet::from(zeroed.clone()).iter().collect()
        };
        assert_eq!(list(&found), [(0, 0)]);
        assert_eq!(found.architecture().heads_in_file(0), [0]);
        assert_eq!(found.architecture().heads_in_file(1), [0]);
        let found = open(&zeroed);
        assert_eq!(list(&found), [(0, 0), (0, 1), (1, 1)]);
        assert_eq!(found.architecture().heads_in_file(0), [0, 1]);
    }
    // One number that is not zero makes a head, wherever it stands.
    let folder = Folder::bert();
    let query = "bert.encoder.layer.0.attention.self.query";
    let names = [
        "bert.encoder.layer.0.attention.output.dense.weight".to_owned(),
        "bert.encoder.layer.0.attention.self.key.weight".to_owned(),
        "bert.encoder.layer.0.attention.self.value.bias".to_owned(),
        format!("{query}.bias"),
    ];
    for name in names {
        let out = tempfile::tempdir().unwrap();
        let out = out.path().join("out");
        write(&folder.open().unwrap(), "0:1", &out, Export::Zeroed).unwrap();
        assert_eq!(open(&out).architecture().zeroed_heads.len(), 1);
        let file = out.join("model.safetensors");
        let mut bytes = fs::read(&file).unwrap();
        let last = {
            let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
            let data = tensors.tensor(&name).unwrap().data();
            data.as_ptr() as usize - bytes.as_ptr() as usize + data.len() - 1
        };
        bytes[last] = 0x3f;
        fs::write(&file, bytes).unwrap();
        assert!(open(&out).architecture().zeroed_heads.is_empty(), "{name}");
    }
}
