//! The readers.

use std::collections::BTreeMap;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::sync::LazyLock;

use bertology::studies::attention::cluster::DistanceState;
use bertology::studies::attention::coref::CorefCounts;
use bertology::studies::attention::distance::DistanceSums;
use bertology::studies::attention::patterns::PatternsState;
use bertology::studies::attention::relations::Relations;
use bertology::studies::attention::syntax::SyntaxCounts;
use bertology::verify::{Reference, VerifyOptions, verify};
use bertology::{AblationState, ImportanceState, LoadedModel, MaskingState};
use bertology_checkpoint::{Checkpoint, OpenAs, OpenOptions};
use bertology_data::conllu::Treebank;
use bertology_data::edge::Records;
use bertology_data::edge::convert::{Conversion, SemEvalPart, Singletons, UdTask};
use bertology_data::relations::{Proteins, RelationFile};
use bertology_data::{Columns, Documents, Source, Split, TableFormat, Task};
use bertology_hub::{HubOptions, resolve};
use bertology_report::{Document, compare, join, report};
use bertology_run::{Identity, Run, RunFolder};
use bertology_store::npy as arrays;
use bertology_tokenizer::Tokenizer;
use serde_json::Value;

use crate::memory::bounded;
use crate::scratch::{Scratch, choose, root};
use crate::tiny;

/// Everything that can be asked of a model folder without a pass.
fn open_model(folder: &Path) {
    if let Ok(inspection) = Checkpoint::inspect(folder) {
        black_box(inspection.problems.iter().map(ToString::to_string).count());
        black_box(inspection.report.parts.total());
    }
    for open_as in [OpenAs::Declared, OpenAs::Encoder] {
        let options = OpenOptions::new().open_as(open_as).allow_unexpected(true);
        match Checkpoint::open(folder, &options) {
            Ok(checkpoint) => {
                for tensor in checkpoint.tensors() {
                    let _ = black_box(tensor.to_f32().map(|values| values.len()));
                }
                let _ = black_box(checkpoint.content_hash());
            }
            Err(error) => drop(black_box(error.to_string())),
        }
    }
}

/// `model.safetensors`.
pub fn safetensors(data: &[u8]) {
    static FOLDER: LazyLock<Scratch> =
        LazyLock::new(|| Scratch::with(&[("config.json", tiny::CONFIG.as_bytes())]));
    FOLDER.read("model.safetensors", data, |_| open_model(FOLDER.path()));
}

/// `model.safetensors.index.json`, in a folder and in the cache of the hub.
pub fn index(data: &[u8]) {
    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
    static CACHE: LazyLock<Scratch> = LazyLock::new(|| {
        let weights = tiny::weights();
        let snapshot = format!("models--org--model/snapshots/{COMMIT}");
        let scratch = Scratch::with(&[("models--org--model/refs/main", COMMIT.as_bytes())]);
        scratch.write(&format!("{snapshot}/config.json"), tiny::CONFIG.as_bytes());
        for shard in ["1.safetensors", "2.safetensors"] {
            scratch.write(&format!("{snapshot}/{shard}"), &weights);
        }
        scratch
    });
    let file = format!("models--org--model/snapshots/{COMMIT}/model.safetensors.index.json");
    CACHE.read(&file, data, |path| {
        let mut options = HubOptions::default();
        options.cache_dir = Some(CACHE.path().to_owned());
        options.offline = true;
        let _ = black_box(resolve("org/model", &options));
        path.parent().map(open_model)
    });
}

/// `pytorch_model.bin` as it lies on the disk: an archive, or the older form.
pub fn pickle_file(data: &[u8]) {
    static FOLDER: LazyLock<Scratch> =
        LazyLock::new(|| Scratch::with(&[("config.json", tiny::CONFIG.as_bytes())]));
    FOLDER.read("pytorch_model.bin", data, |_| open_model(FOLDER.path()));
}

/// The pickle inside of `pytorch_model.bin`, in an archive whose sums are right.
pub fn pickle_program(data: &[u8]) {
    static FOLDER: LazyLock<Scratch> =
        LazyLock::new(|| Scratch::with(&[("config.json", tiny::CONFIG.as_bytes())]));
    let storage = [0; 256];
    let archive = stored_zip(&[
        ("archive/data.pkl", data),
        ("archive/byteorder", b"little"),
        ("archive/data/0", &storage),
        ("archive/data/1", &storage),
        ("archive/version", b"3\n"),
    ]);
    FOLDER.read("pytorch_model.bin", &archive, |_| open_model(FOLDER.path()));
}

/// A ZIP archive without compression.
fn stored_zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = Vec::new();
    let mut directory = Vec::new();
    for (name, content) in files {
        let mut sum = flate2::Crc::new();
        sum.update(content);
        let at = archive.len() as u32;
        let size = (content.len() as u32).to_le_bytes();
        let mut described = Vec::new();
        // Version, flags, method, time, date.
        described.extend([10, 0, 0, 0, 0, 0, 0, 0, 0x21, 0]);
        described.extend(sum.sum().to_le_bytes());
        described.extend(size);
        described.extend(size);
        described.extend((name.len() as u16).to_le_bytes());
        described.extend([0, 0]);
        archive.extend(b"PK\x03\x04");
        archive.extend(&described);
        archive.extend(name.as_bytes());
        archive.extend(*content);
        directory.extend(b"PK\x01\x02\x0a\x00");
        directory.extend(&described);
        directory.extend([0; 10]);
        directory.extend(at.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let count = (files.len() as u16).to_le_bytes();
    let at = archive.len() as u32;
    archive.extend(&directory);
    archive.extend(b"PK\x05\x06\x00\x00\x00\x00");
    archive.extend(count);
    archive.extend(count);
    archive.extend((directory.len() as u32).to_le_bytes());
    archive.extend(at.to_le_bytes());
    archive.extend([0, 0]);
    archive
}

/// `config.json`, beside weights that fit a tiny BERT.
pub fn config(data: &[u8]) {
    static FOLDER: LazyLock<Scratch> =
        LazyLock::new(|| Scratch::with(&[("model.safetensors", &tiny::weights())]));
    FOLDER.read("config.json", data, |_| open_model(FOLDER.path()));
}

/// One file of a tokenizer's folder, and texts through it.
pub fn tokenizer(data: &[u8]) {
    const FILES: [&str; 8] = [
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "vocab.txt",
        "vocab.json",
        "merges.txt",
        "added_tokens.json",
        "spm.model",
    ];
    static FOLDERS: LazyLock<Vec<Scratch>> = LazyLock::new(|| {
        let folder = |model: &str, names: &[&str]| {
            let from = root().join("assets").join(model);
            let read = |name| fs::read(from.join(name)).expect("a file of the model");
            let scratch = Scratch::with(&[]);
            for name in names {
                scratch.write(name, &read(*name));
            }
            scratch
        };
        let pieces = Scratch::with(&[]);
        let from = root().join("golden/sentencepiece/deberta-lower");
        for name in ["spm.model", "tokenizer_config.json", "config.json"] {
            pieces.write(name, &fs::read(from.join(name)).expect("a golden file"));
        }
        let mut folders = vec![
            folder(
                "tiny-bert",
                &[
                    "tokenizer.json",
                    "tokenizer_config.json",
                    "special_tokens_map.json",
                    "config.json",
                ],
            ),
            folder(
                "tiny-bert",
                &["vocab.txt", "tokenizer_config.json", "config.json"],
            ),
            folder(
                "tiny-gpt2",
                &[
                    "vocab.json",
                    "merges.txt",
                    "tokenizer_config.json",
                    "config.json",
                ],
            ),
        ];
        folders.push(pieces);
        folders
    });
    let (which, data) = choose(data, FOLDERS.len());
    let (file, data) = choose(data, FILES.len());
    let (folder, name) = (&FOLDERS[which], FILES[file]);
    let before = fs::read(folder.path().join(name)).ok();
    folder.read(name, data, |_| {
        match Tokenizer::from_folder(folder.path()) {
            Ok(tokenizer) => {
                let long = "word ".repeat(200);
                for text in [
                    "",
                    "The cats [MASK] a bird.",
                    "a\u{0}b é 你好 \u{200d}😀",
                    &long,
                ] {
                    for pair in [None, Some("Yes <s> [SEP] no")] {
                        let _ = black_box(
                            tokenizer
                                .encode(text, pair, Some(16))
                                .map_err(|e| e.to_string()),
                        );
                    }
                    let _ = black_box(tokenizer.encode_plain(text));
                }
                black_box((
                    tokenizer.mask_id(),
                    tokenizer.vocab_size(),
                    tokenizer.model_max_length(),
                ));
            }
            Err(error) => drop(black_box(error.to_string())),
        }
    });
    match before {
        Some(bytes) => drop(folder.write(name, &bytes)),
        None => fs::remove_file(folder.path().join(name)).expect("the file"),
    }
}

fn load(source: Source) {
    match source.load() {
        Ok(dataset) => drop(black_box(dataset)),
        Err(error) => drop(black_box(error.to_string())),
    }
}

/// Tables and texts.
pub fn tables(data: &[u8]) {
    static FOLDER: LazyLock<Scratch> = LazyLock::new(|| Scratch::with(&[]));
    let (kind, data) = choose(data, 14);
    let (columns, data) = choose(data, 4);
    FOLDER.read("data", data, |path| {
        let columns = match columns {
            0 => Columns::text("text"),
            1 => Columns::text("text").with_label("label"),
            2 => Columns::text("text").with_pair("pair").with_label("label"),
            _ => Columns::text("0").with_pair("1").with_label("2"),
        };
        let format = match kind {
            0..4 => TableFormat::Csv,
            4..7 => TableFormat::Tsv,
            7..10 => TableFormat::Jsonl,
            10 => return load(Source::text(path, Documents::Lines)),
            11 => return load(Source::text(path, Documents::Paragraphs)),
            12 => return load(Source::text(path, Documents::WholeFile)),
            _ => return load(Source::token_ids(path)),
        };
        load(Source::table_with_format(path, format, columns));
    });
}

/// Sentences whose words have labels, and questions with answers.
pub fn words(data: &[u8]) {
    static FOLDER: LazyLock<Scratch> = LazyLock::new(|| Scratch::with(&[]));
    let (kind, data) = choose(data, 5);
    let name = [
        "data.txt",
        "data.csv",
        "data.jsonl",
        "data.json",
        "questions",
    ][kind];
    FOLDER.read(name, data, |path| {
        load(match kind {
            4 => Source::questions(path),
            _ => Source::tagged(path, None, None),
        });
    });
}

/// The files of GLUE.
pub fn glue(data: &[u8]) {
    const TASKS: [(Task, &str); 10] = [
        (Task::Cola, "dev.tsv"),
        (Task::Mnli, "dev_matched.tsv"),
        (Task::MnliMismatched, "dev_mismatched.tsv"),
        (Task::Mrpc, "dev.tsv"),
        (Task::Sst2, "dev.tsv"),
        (Task::StsB, "dev.tsv"),
        (Task::Qqp, "dev.tsv"),
        (Task::Qnli, "dev.tsv"),
        (Task::Rte, "dev.tsv"),
        (Task::Wnli, "dev.tsv"),
    ];
    static FOLDER: LazyLock<Scratch> = LazyLock::new(|| Scratch::with(&[]));
    let (task, data) = choose(data, TASKS.len());
    let (split, data) = choose(data, 3);
    let (task, dev) = TASKS[task];
    let (split, name) = match split {
        0 => (Split::Train, "train.tsv".to_owned()),
        1 => (Split::Dev, dev.to_owned()),
        _ => (Split::Test, dev.replace("dev", "test")),
    };
    FOLDER
        .read(&name, data, |path| {
            path.parent()
                .map(|folder| Source::glue(folder, task, split).map(load))
        })
        .map(|_| ())
        .unwrap_or_default();
    fs::remove_file(FOLDER.path().join(name)).expect("the file");
}

/// CoNLL-U: sentences, documents, and the mentions of coreference in them.
pub fn treebank(data: &[u8]) {
    static FOLDER: LazyLock<Scratch> = LazyLock::new(|| Scratch::with(&[]));
    FOLDER.read("data.conllu", data, |path| {
        let treebank = Treebank::new(path);
        for sentence in treebank.open().into_iter().flatten() {
            let Ok(sentence) = sentence else { break };
            black_box((
                sentence.root(),
                sentence.surface_tokens().len(),
                sentence.spaced_text(),
            ));
            black_box(sentence.head_of(0..sentence.len()));
            let _ = black_box(sentence.written_text(path));
        }
        for document in treebank.open_documents().into_iter().flatten() {
            match document {
                Ok(document) => drop(black_box(document.mentions(path).map(|all| all.entities()))),
                Err(error) => {
                    black_box(error.to_string());
                    break;
                }
            }
        }
    });
}

/// Records of labelled spans: what was read comes back when it is written.
pub fn records(data: &[u8]) {
    static FOLDER: LazyLock<Scratch> = LazyLock::new(|| Scratch::with(&[]));
    FOLDER.read("data.jsonl", data, |path| {
        for records in [Records::new(path), Records::new(path).with_one_span()] {
            let mut lines = String::new();
            let mut read = Vec::new();
            for record in records.open().into_iter().flatten() {
                match record {
                    Ok(record) => {
                        let _ = black_box(record.written());
                        lines.push_str(&record.to_line());
                        lines.push('\n');
                        read.push(record);
                    }
                    Err(error) => {
                        black_box(error.to_string());
                        break;
                    }
                }
            }
            let again = path.with_extension("again");
            fs::write(&again, &lines).expect("a file can be written");
            // Written out, what was just short enough may be too long.
            let all = Records::new(&again).with_one_span().open();
            for (record, before) in all.into_iter().flatten().flatten().zip(&read) {
                assert_eq!(record.text, before.text);
                for (target, before) in record.targets.iter().zip(&before.targets) {
                    assert_eq!(target.span1, before.span1);
                    assert_eq!(target.labels, before.labels);
                }
            }
        }
        related(path);
    });
}

/// The same file as related units, and as contacts of a sequence.
fn related(path: &Path) {
    let file = RelationFile::new(path);
    for record in file.open().into_iter().flatten() {
        match record {
            Ok(record) => {
                let units = record.units();
                assert!(
                    record
                        .pairs
                        .iter()
                        .all(|pair| pair.from < units && pair.to < units)
                );
            }
            Err(error) => {
                black_box(error.to_string());
            }
        }
    }
    let fasta = path.with_extension("fasta");
    fs::write(&fasta, ">a\nMKTAYIAK\n").expect("a file can be written");
    match Proteins::new(&fasta, path, None).and_then(|proteins| proteins.info()) {
        Ok(info) => assert!(info.counts.pairs() > 0),
        Err(error) => {
            black_box(error.to_string());
        }
    }
}

/// Corpora that become records, by the first byte.
pub fn corpora(data: &[u8]) {
    static FOLDER: LazyLock<Scratch> = LazyLock::new(|| {
        let trees = "1\ta\t_\tX\t_\t_\t0\troot\t_\t_\n2\tb\t_\tX\t_\t_\t1\tdep\t_\t_\n\n";
        Scratch::with(&[("en-ud-dev.conllu", trees.as_bytes())])
    });
    let (which, data) = choose(data, 8);
    FOLDER.read("data", data, |path| {
        let conversion = match which {
            0 => Conversion::ud(path, UdTask::Dependencies(Default::default())),
            1 => Conversion::ud(path, UdTask::Features(None)),
            2 => Conversion::coref(path, Singletons::Drop),
            3 => Conversion::semeval(path, SemEvalPart::All),
            4 => Conversion::semeval(path, SemEvalPart::Dev),
            5 => Conversion::spr1(path, None),
            6 => Conversion::spr2(path, &FOLDER.path().join("en-ud-dev.conllu"), None),
            _ => Conversion::dpr(path, None),
        };
        for record in conversion.into_iter().flatten() {
            match record {
                Ok(record) => drop(black_box(record.to_line())),
                Err(error) => drop(black_box(error.to_string())),
            }
        }
    });
}

/// Arrays of numpy.
pub fn npy(data: &[u8]) {
    bounded(data.len(), || match arrays::decode(data) {
        Ok(array) => drop(black_box(array)),
        Err(error) => drop(black_box(error.to_string())),
    });
}

/// What a training that was interrupted has saved, of four weights; resumed as the same training or as another.
pub fn trainings(data: &[u8]) {
    static FOLDER: LazyLock<Scratch> = LazyLock::new(|| Scratch::with(&[]));
    let (which, data) = choose(data, 4);
    let (key, size) = ([("key", 4), ("", 0), ("other", 4), ("key", 1 << 20)])[which];
    FOLDER.read("training.state", data, |path| {
        let _ = black_box(bertology_train::finetune::is_saved(path, key, size).is_ok());
    });
}

/// What a run that was interrupted has saved.
pub fn states(data: &[u8]) {
    use bertology::drive::Study;

    fn study<S: Study>(data: &[u8]) {
        if let Ok(state) = serde_json::from_slice::<S>(data) {
            // As `--resume` does: only what agrees is gone on with.
            if state.agrees(&state).is_ok()
                && let Ok(second) = serde_json::from_slice::<S>(data)
            {
                let mut both = state.empty();
                let _ = black_box(both.merge(state).and_then(|()| both.merge(second)));
                let _ = black_box(both.finish().is_ok());
            }
        }
    }

    static FOLDER: LazyLock<Scratch> = LazyLock::new(|| Scratch::with(&[]));
    let (which, data) = choose(data, 9);
    match which {
        0 => bounded(data.len(), || study::<ImportanceState>(data)),
        1 => bounded(data.len(), || study::<AblationState>(data)),
        2 => bounded(data.len(), || study::<PatternsState>(data)),
        3 => bounded(data.len(), || study::<SyntaxCounts>(data)),
        4 => bounded(data.len(), || study::<CorefCounts>(data)),
        5 => bounded(data.len(), || study::<DistanceState>(data)),
        6 => bounded(data.len(), || study::<DistanceSums>(data)),
        7 => bounded(data.len(), || study::<Relations>(data)),
        _ => FOLDER.read("state.json", &sealed(data), |path| {
            let _ = black_box(serde_json::from_slice::<MaskingState>(data).is_ok());
            let saved = serde_json::from_slice::<Value>(data).ok();
            let identity = saved.and_then(|saved| saved.get("identity").cloned());
            let identity =
                identity.and_then(|found| serde_json::from_value::<Identity>(found).ok());
            if let (Some(identity), Some(folder)) = (identity, path.parent()) {
                let folder = RunFolder::open(folder).expect("the folder");
                let _ = black_box(folder.earlier(&identity).map_err(|error| error.to_string()));
            }
        }),
    }
}

/// With the checksum that the file begins with, so that what is behind it is read.
fn sealed(data: &[u8]) -> Vec<u8> {
    let Some(rest) = data.strip_prefix(b"{") else {
        return data.to_vec();
    };
    let sum = bertology_run::sha256(rest);
    [br#"{"sha256":""#, sum.as_bytes(), br#"","#, rest].concat()
}

/// One file of a run folder, and a page that is made of it; one of three, since a page takes long.
pub fn run(data: &[u8]) {
    struct Fixture {
        scratch: Scratch,
        files: BTreeMap<String, Vec<u8>>,
        whole: Run,
    }

    static RUNS: LazyLock<Vec<Fixture>> = LazyLock::new(|| {
        let folders = root().join("crates/bertology-run/tests/folders");
        let mut folders: Vec<_> = fs::read_dir(folders)
            .expect("the folders")
            .map(|entry| entry.expect("a folder").path())
            .collect();
        folders.sort();
        let fixture = |folder: &std::path::PathBuf| {
            let scratch = Scratch::with(&[]);
            let mut files = BTreeMap::new();
            for entry in fs::read_dir(folder).expect("the folder") {
                let entry = entry.expect("a file");
                let bytes = fs::read(entry.path()).expect("its bytes");
                let name = entry.file_name().into_string().expect("a name");
                scratch.write(&name, &bytes);
                files.insert(name, bytes);
            }
            let whole = Run::open(folder).expect("a run");
            Fixture {
                scratch,
                files,
                whole,
            }
        };
        folders.iter().map(fixture).collect()
    });

    fn page(document: Result<Document, impl ToString>) {
        match document {
            Ok(document) => drop(black_box(document)),
            Err(error) => drop(black_box(error.to_string())),
        }
    }

    let (which, data) = choose(data, RUNS.len());
    let fixture = &RUNS[which];
    let (file, data) = choose(data, fixture.files.len());
    let (kind, data) = choose(data, 3);
    let (name, bytes) = fixture.files.iter().nth(file).expect("a file");
    let whole: usize = fixture.files.values().map(Vec::len).sum();
    let folder = fixture.scratch.path();
    fixture.scratch.write(name, data);
    bounded(whole + data.len(), || match Run::open(folder) {
        Ok(run) => match kind {
            0 => page(report(&run)),
            1 => page(join(&[fixture.whole.clone(), run]).map(|joined| joined.document())),
            _ => page(compare(&fixture.whole, &run).map(|comparison| comparison.document())),
        },
        Err(error) => drop(black_box(error.to_string())),
    });
    fixture.scratch.write(name, bytes);
}

/// A file of values that `verify` compares with.
pub fn reference(data: &[u8]) {
    static MODEL: LazyLock<(Scratch, LoadedModel)> = LazyLock::new(|| {
        let scratch = Scratch::with(&[
            ("config.json", tiny::CONFIG.as_bytes()),
            ("model.safetensors", &tiny::weights()),
        ]);
        let model = LoadedModel::open(scratch.path()).expect("the tiny model");
        (scratch, model)
    });
    static FOLDER: LazyLock<Scratch> = LazyLock::new(|| Scratch::with(&[]));
    let options = VerifyOptions {
        threads: 1,
        ..VerifyOptions::default()
    };
    let model = MODEL.1.model();
    FOLDER.read("reference.safetensors", data, |path| {
        let found = Reference::open(path).and_then(|reference| verify(model, &reference, &options));
        drop(black_box(found.map_err(|error| error.to_string())));
    });
}
