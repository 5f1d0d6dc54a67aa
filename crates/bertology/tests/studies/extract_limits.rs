//! What an extraction refuses, and what it says of texts and values that do not fit.

use std::fs;
use std::path::Path;

use bertology::drive::Work;
use bertology::extract::{
    ExtractOptions, Extraction, Float, Format, GradientOf, Heads, Layers, Pool, Request, Texts,
};
use bertology::model::LayerSite;
use bertology::windows::TooLong;
use bertology::{HeadId, LoadedModel, Sequence, Source};

use super::extract::{assert_near, options, planned, safetensors, shard, values, written};
use super::fixture::{Fixture, rows, spread};

#[test]
fn long_texts_are_refused_cut_or_windowed() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let words = |count: usize| {
        let words: Vec<String> = (0..count).map(|at| format!("w{}", 5 + at % 50)).collect();
        words.join(" ")
    };
    let texts = [words(3), words(20)];
    let request = Request::new().hidden_states(Layers::All);
    let plan = |too_long, stride| {
        let options = options(|o| {
            (o.max_length, o.too_long, o.stride) = (Some(10), too_long, stride);
        });
        let texts = Texts::given(&texts);
        Extraction::new(&model, texts, &request, options, &Work::default(), &mut ())
    };
    let error = plan(TooLong::Error, None).unwrap_err().to_string();
    for part in ["line 2", "22 tokens", "10", "long inputs be cut"] {
        assert!(error.contains(part), "{error}");
    }
    let cut = plan(TooLong::Cut, None).unwrap();
    let counts = cut.counts();
    assert_eq!(
        (counts.sequences, counts.cut_examples, counts.cut_tokens),
        (2, 1, 12)
    );
    let (folder, _) = written(&cut);
    assert_eq!(
        values(&safetensors(&shard(&folder, 0)), "cut_tokens"),
        [0.0, 12.0]
    );

    // Windows of 8 words, 6 apart: 0-8, 6-14, 12-20.
    let windowed = plan(TooLong::Window, Some(6)).unwrap();
    assert_eq!(
        (
            windowed.counts().sequences,
            windowed.counts().windowed_examples
        ),
        (4, 1)
    );
    let (folder, _) = written(&windowed);
    let arrays = safetensors(&shard(&folder, 0));
    assert_eq!(values(&arrays, "examples"), [0.0, 1.0, 1.0, 1.0]);
    assert_eq!(values(&arrays, "windows"), [0.0, 0.0, 1.0, 2.0]);
    assert_eq!(values(&arrays, "context_tokens"), [0.0, 0.0, 2.0, 2.0]);
    assert_eq!(values(&arrays, "offsets"), [0.0, 5.0, 15.0, 25.0, 35.0]);
    assert_eq!(values(&arrays, "word_ids")[15..19], [-1.0, 6.0, 7.0, 8.0]);
    // A window is a text of its own to the model.
    let ids: Vec<u32> = values(&arrays, "input_ids")[15..25]
        .iter()
        .map(|v| *v as u32)
        .collect();
    let states = model.hidden_states(&[Sequence::new(ids)]).unwrap();
    let expected: Vec<f64> = states[0][3].data.iter().map(|v| f64::from(*v)).collect();
    assert_near(
        "window",
        &values(&arrays, "hidden_states.3")[15 * 32..25 * 32],
        &expected,
        1e-5,
    );

    for (too_long, stride, part) in [
        (TooLong::Window, Some(9), "1 to 8"),
        (TooLong::Window, Some(0), "1 to 8"),
        (TooLong::Cut, Some(3), "windows alone"),
    ] {
        let error = plan(too_long, stride).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let path = fixture.folder.path().join("pairs.tsv");
    fs::write(&path, format!("a\tb\n{0}\t{0}\n", words(6))).unwrap();
    let columns = bertology::data::Columns::text("a").with_pair("b");
    let source = Source::table(&path, columns).unwrap();
    let options = options(|o| (o.max_length, o.too_long) = (Some(10), TooLong::Window));
    let work = Work::default();
    let error = Extraction::new(&model, source.into(), &request, options, &work, &mut ());
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("pairs.tsv, line 2") && error.contains("let it be cut"),
        "{error}"
    );
}

#[test]
fn requests_that_cannot_be_met_say_what_would_do() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let pruned = model.without_heads([HeadId { layer: 0, head: 0 }, HeadId { layer: 0, head: 2 }]);
    let pruned = pruned.unwrap();
    let arch = model.architecture();
    let refused =
        |model: &LoadedModel, request: Request, options: ExtractOptions, parts: &[&str]| {
            let texts = Texts::given(["w5 w6"]);
            let work = Work::default();
            let error = Extraction::new(model, texts, &request, options, &work, &mut ());
            let error = error.unwrap_err();
            let text = error.to_string();
            for part in parts {
                assert!(text.contains(part), "no `{part}` in: {text}");
            }
        };
    let plain = ExtractOptions::default;
    let heads = |text: &str| Heads::parse(text, arch).unwrap();
    let states = |text: &str| Request::new().hidden_states(Layers::parse(text).unwrap());
    refused(
        &model,
        states("4"),
        plain(),
        &["no hidden states 4", "0 (the embeddings) to 3"],
    );
    refused(
        &model,
        Request::new().attentions(heads("0-3")),
        plain(),
        &["no layer 3", "3 layers"],
    );
    refused(
        &pruned,
        Request::new().attentions(heads("0.2")),
        plain(),
        &["L0H2", "pruned"],
    );
    let mask = Request::new().per_head(LayerSite::HeadMask, Heads::all());
    refused(&model, mask, plain(), &["HeadMask", "not a value per head"]);
    refused(
        &model,
        Request::new().gradients(GradientOf::Class(0)),
        plain(),
        &["none is chosen"],
    );
    refused(
        &model,
        states("1").gradients(GradientOf::Class(3)),
        plain(),
        &["no class 3", "has 3"],
    );
    refused(
        &model,
        states("1").gradients(GradientOf::Label),
        plain(),
        &["no labels"],
    );
    refused(
        &model,
        states("1").gradients(GradientOf::NextTokens),
        plain(),
        &["lm", "causal language model", "classifier"],
    );
    let pooled = options(|o| o.pool = Pool::Mean);
    refused(
        &model,
        Request::new().attentions(heads("all")),
        pooled,
        &["attentions", "without pooling"],
    );
    for (edit, part) in [
        (options(|o| o.shard_size = 0), "shard"),
        (options(|o| o.max_length = Some(10_000)), "10000"),
    ] {
        refused(&model, states("1"), edit, &[part]);
    }
    let extraction = planned(&model, Texts::given(["w5 w6"]), &states("1"), plain());
    let folder = tempfile::tempdir().unwrap();
    let error = extraction.write(folder.path(), &spread(0, 0), &mut ());
    assert!(error.unwrap_err().to_string().contains("batch"));
    // Heads named by their layer are those that are there.
    let request = Request::new().attentions(heads("0 2.3"));
    let (folder, _) = written(&planned(
        &pruned,
        Texts::given(["w5 w6"]),
        &request,
        plain(),
    ));
    let arrays = safetensors(&shard(&folder, 0));
    let found: Vec<_> = arrays
        .keys()
        .filter(|name| name.starts_with("attentions"))
        .collect();
    assert_eq!(
        found,
        ["attentions.0.1", "attentions.0.3", "attentions.2.3"]
    );
}

#[test]
fn a_disk_that_is_too_small_is_refused() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let texts: Vec<String> = rows(20).into_iter().map(|(text, _)| text).collect();
    let request = Request::new().hidden_states(Layers::All);
    let options = |format| options(|o| (o.format, o.shard_size) = (format, 5));
    let plan = planned(
        &model,
        Texts::given(&texts),
        &request,
        options(Format::Safetensors),
    );
    let all = 0..plan.num_shards();
    let room = |shards, bytes| plan.check_room_with(Path::new("out"), shards, |_| Ok(bytes));
    let needed = plan.bytes_needed(all.clone());
    assert_eq!(needed, plan.bytes(all.clone()));
    assert_eq!(room(all.clone(), needed).unwrap(), needed);
    let error = room(all.clone(), needed - 1).unwrap_err().to_string();
    assert!(
        error.contains("are free") && error.contains("fewer layers"),
        "{error}"
    );
    // Shards that are there need no more room.
    assert!(plan.bytes_needed(3..all.end) < needed / 3);
    assert!(room(3..all.end, needed / 3).is_ok());
    let unknown = plan.check_room_with(Path::new("out"), all.clone(), |_| {
        Err(std::io::Error::other("no"))
    });
    assert!(unknown.unwrap_err().to_string().contains("how much room"));
    // Archives are made of a shard that is already on the disk.
    let plan = planned(&model, Texts::given(&texts), &request, options(Format::Npz));
    assert!(plan.bytes_needed(all.clone()) > plan.bytes(all) * 6 / 5);
}

/// A layer norm whose scale is 10⁶ makes hidden states that half precision cannot hold.
#[test]
fn values_beyond_half_precision_are_counted() {
    let name = "bert.encoder.layer.2.output.LayerNorm.weight";
    let fixture = Fixture::with_weights(|found, values| {
        if found == name {
            values.iter_mut().for_each(|v| *v *= 1e6);
        }
    });
    let model = fixture.model();
    let request = Request::new().hidden_states(Layers::parse("3").unwrap());
    let texts = || Texts::given(["w5 w6 w7"]);
    let half = options(|o| o.float = Float::F16);
    let (folder, summary) = written(&planned(&model, texts(), &request, half));
    let arrays = safetensors(&shard(&folder, 0));
    let states = values(&arrays, "hidden_states.3");
    let infinite = states.iter().filter(|v| v.is_infinite()).count();
    assert!(infinite > 0);
    assert_eq!(summary.overflows, infinite as u64);
    let (_, summary) = written(&planned(
        &model,
        texts(),
        &request,
        ExtractOptions::default(),
    ));
    assert_eq!(summary.overflows, 0);
}

#[test]
fn a_table_that_changes_meanwhile_is_noticed() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let path = fixture.folder.path().join("lines.txt");
    let write = |lines: usize, more: &str| {
        let rows = rows(lines).into_iter().map(|(text, _)| text + more);
        fs::write(&path, rows.collect::<Vec<_>>().join("\n")).unwrap();
    };
    for (lines, more) in [(9, ""), (11, ""), (25, ""), (10, " w7")] {
        write(10, "");
        let request = Request::new().hidden_states(Layers::All);
        let source = Source::lines(&path);
        let options = options(|o| o.shard_size = 4);
        let extraction = planned(&model, source.into(), &request, options);
        write(lines, more);
        let folder = tempfile::tempdir().unwrap();
        let error = extraction
            .write(folder.path(), &Work::default(), &mut ())
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("changed") || text.contains("not the ones"),
            "{text}"
        );
        assert!(!folder.path().join("index.json").exists());
    }
}

#[test]
fn a_text_without_a_token_is_left_out_and_counted() {
    // A tokenizer that puts nothing around texts.
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/tiny-gpt2");
    let model = LoadedModel::open(path).unwrap();
    let request = Request::new()
        .hidden_states(Layers::All)
        .objective(GradientOf::NextTokens);
    let plan = |texts: &[&str], format| {
        let options = options(|o| (o.shard_size, o.format) = (2, format));
        let texts = Texts::given(texts.iter().copied());
        Extraction::new(&model, texts, &request, options, &Work::default(), &mut ())
    };
    let with = ["the cat sleeps .", "", "", "", "the dog sleeps ."];
    for format in [Format::Safetensors, Format::Npz, Format::Parquet] {
        let extraction = plan(&with, format).unwrap();
        let counts = extraction.counts();
        assert_eq!((counts.examples, counts.sequences), (5, 2));
        assert_eq!(counts.empty_examples, 3);
        let (folder, summary) = written(&extraction);
        let of = |shard: usize| {
            (
                summary.shards[shard].first_example,
                summary.shards[shard].sequences,
            )
        };
        assert_eq!([of(0), of(1), of(2)], [(0, 1), (2, 0), (4, 1)]);
        assert!(summary.shards[1].files.is_empty());
        if format == Format::Safetensors {
            // The others are what they are without it, under their own numbers.
            let alone = plan(&[with[0], with[4]], format).unwrap();
            let (reference, _) = written(&alone);
            let whole = safetensors(&shard(&reference, 0));
            let (first, last) = (
                safetensors(&shard(&folder, 0)),
                safetensors(&shard(&folder, 2)),
            );
            let both: Vec<f64> = [&first, &last]
                .into_iter()
                .flat_map(|arrays| values(arrays, "hidden_states.2").to_vec())
                .collect();
            assert_near(
                "hidden states",
                &both,
                values(&whole, "hidden_states.2"),
                1e-6,
            );
            assert_eq!(values(&last, "examples"), [4.0]);
            assert_eq!(values(&last, "lines"), [5.0]);
        }
    }
    let error = plan(&["", ""], Format::Safetensors)
        .unwrap_err()
        .to_string();
    assert!(error.contains("no text has a token (2 read)"), "{error}");
}
