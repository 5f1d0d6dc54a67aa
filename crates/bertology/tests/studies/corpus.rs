//! Reading examples for a model, and evaluation.

use std::fs;

use bertology::data::{Columns, DataError};
use bertology::{
    Corpus, CorpusOptions, Error, HeadId, HeadMask, LoadedModel, OpenAs, OpenOptions, Outcome,
    Source, Watch, evaluate,
};

use super::fixture::{Fixture, budget, golden, rows, spread};

fn refused(model: &LoadedModel, source: Source, options: &CorpusOptions) -> Error {
    Corpus::new(model, source, options).unwrap_err()
}

#[test]
fn a_bad_label_at_the_end_is_found_before_any_model_runs() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let mut data = rows(50);
    data[49].1 = 3;
    let error = refused(&model, fixture.source(&data), &CorpusOptions::default());
    let message = error.to_string();
    assert!(message.contains("51") && message.contains('3'), "{message}");
    assert!(matches!(error, Error::Data(_)), "{message}");
}

#[test]
fn what_cannot_be_studied_is_refused_with_the_reason() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let options = CorpusOptions::default();

    let path = fixture.folder.path().join("texts.tsv");
    fs::write(&path, "text\nw5\n").unwrap();
    let source = Source::table(&path, Columns::text("text")).unwrap();
    let message = refused(&model, source, &options).to_string();
    assert!(
        message.contains("texts.tsv: these data have no labels"),
        "{message}"
    );

    let mut long = CorpusOptions::default();
    long.max_length = Some(25);
    let message = refused(&model, fixture.source(&rows(2)), &long).to_string();
    assert!(
        message.contains("25 tokens is beyond the model's 24"),
        "{message}"
    );

    let corpus = fixture.corpus(&model, &rows(2));
    let error = evaluate::evaluate(&model, &corpus, None, &budget(0), &mut ()).unwrap_err();
    assert!(matches!(error, Error::Option { .. }), "{error}");

    let encoder = OpenOptions::new().open_as(OpenAs::Encoder);
    let encoder = LoadedModel::open_with(fixture.folder.path(), &encoder).unwrap();
    let message = refused(&encoder, fixture.source(&rows(2)), &options).to_string();
    assert!(message.contains("no task head"), "{message}");

    let bare = LoadedModel::open(golden("bert-absolute")).unwrap();
    let error = refused(&bare, fixture.source(&rows(2)), &options);
    assert!(matches!(error, Error::NoTokenizer { .. }), "{error}");
    assert!(error.to_string().contains("bert-absolute"), "{error}");
}

#[test]
fn a_file_that_changes_between_passes_is_noticed() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let corpus = fixture.corpus(&model, &rows(5));
    let path = corpus.info().path.clone();
    let whole = fs::read_to_string(&path).unwrap();
    let same_rows = whole.replace("w5", "w6");
    assert_ne!(same_rows, whole);
    for other in ["text\tlabel\nw5\t0\n", &same_rows] {
        fs::write(&path, other).unwrap();
        let error = evaluate::evaluate(&model, &corpus, None, &budget(100), &mut ()).unwrap_err();
        let changed = DataError::Changed { path: path.clone() }.to_string();
        assert_eq!(error.to_string(), changed);
        assert_eq!(error.kind(), bertology::Kind::Environment);
    }
    fs::write(&path, whole).unwrap();
    evaluate::evaluate(&model, &corpus, None, &budget(100), &mut ()).unwrap();
}

/// Keeps what it is told.
#[derive(Default)]
struct Seen(Vec<(u64, u64, usize, usize, f64)>, Vec<(u64, u64)>);

impl Watch for Seen {
    fn advance(&mut self, done: u64, total: u64) -> std::ops::ControlFlow<()> {
        self.1.push((done, total));
        std::ops::ControlFlow::Continue(())
    }

    fn example(&mut self, o: &Outcome<'_>) {
        assert_eq!(o.logits.len(), 3);
        let best = o.logits.iter().copied().fold(f32::MIN, f32::max);
        let class = o.logits.iter().position(|z| *z == best).unwrap();
        let verdict = o.verdict.unwrap();
        assert_eq!(verdict.prediction, bertology::data::Target::Class(class));
        assert_eq!((o.window, o.targets), (0, 1));
        self.0
            .push((o.index, o.line, o.tokens, o.truncated, o.loss));
    }
}

#[test]
fn every_example_is_seen_once_in_order_with_its_line_and_length() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let data = rows(40);
    let mut options = CorpusOptions::default();
    options.max_length = Some(10);
    let corpus = Corpus::new(&model, fixture.source(&data), &options).unwrap();
    assert_eq!((corpus.examples(), corpus.max_length()), (40, 10));
    let mut seen = Seen::default();
    let found = evaluate::evaluate(&model, &corpus, None, &spread(2, 60), &mut seen).unwrap();
    let words = data.iter().map(|(text, _)| text.split(' ').count());
    let cut: Vec<usize> = words.clone().map(|n| n.saturating_sub(8)).collect();
    for (i, (words, cut)) in words.zip(&cut).enumerate() {
        let (index, line, tokens, truncated, _) = seen.0[i];
        let i = i as u64;
        assert_eq!(
            (index, line, tokens, truncated),
            (i, i + 2, words + 2 - cut, *cut)
        );
    }
    assert_eq!(seen.0.len(), 40);
    assert_eq!(seen.1.last(), Some(&(40, 40)));
    let mean = seen.0.iter().map(|s| s.4).sum::<f64>() / 40.0;
    assert!((mean - found.loss).abs() < 1e-12);
    assert_eq!(
        found.truncation.examples,
        cut.iter().filter(|c| **c > 0).count() as u64
    );
    assert_eq!(found.truncation.tokens, cut.iter().sum::<usize>() as u64);
}

#[test]
fn pairs_carry_segments_and_are_cut_longest_first() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let path = fixture.folder.path().join("pairs.tsv");
    fs::write(&path, "a\tb\tlabel\nw5 w6 w7 w8\tw9\t0\nw5\tw6\t1\n").unwrap();
    let columns = Columns::text("a").with_pair("b").with_label("label");
    let mut options = CorpusOptions::default();
    options.max_length = Some(6);
    let source = Source::table(&path, columns).unwrap();
    let corpus = Corpus::new(&model, source, &options).unwrap();
    let found = corpus.sequences(9).unwrap();
    assert_eq!(found[0].ids, [2, 5, 6, 3, 9, 3]);
    assert_eq!(found[0].segments, [0, 0, 0, 0, 1, 1]);
    assert_eq!(found[1].ids, [2, 5, 3, 6, 3]);
    assert_eq!(found.len(), 2);
}

#[test]
fn a_mask_that_does_not_fit_is_refused() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let corpus = fixture.corpus(&model, &rows(2));
    let mask = HeadMask::from_values(2, 4, vec![1.0; 8]).unwrap();
    let error =
        evaluate::evaluate(&model, &corpus, Some(&mask), &budget(100), &mut ()).unwrap_err();
    assert!(error.to_string().contains("[2, 4]"), "{error}");
    let ones = HeadMask::ones(model.model());
    let fewer = model.without_heads([HeadId { layer: 0, head: 1 }]).unwrap();
    let error =
        evaluate::evaluate(&fewer, &corpus, Some(&ones), &budget(100), &mut ()).unwrap_err();
    assert!(error.to_string().contains("L0H1"), "{error}");
}
