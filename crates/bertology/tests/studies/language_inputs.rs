//! Language models: which tokens are hidden and predicted, and what is refused.

use bertology::data::{Columns, Documents};
use bertology::{
    Corpus, CorpusOptions, Evaluation, LoadedModel, Objective, Sequence, Source, TokenMasking,
    TooLong, evaluate,
};

use super::fixture::{Fixture, golden, spread};
use super::language::{bert, evaluated, seeded, text, unmasked};

#[test]
fn masking_depends_on_the_seed_and_on_nothing_else() {
    let fixture = bert();
    let model = fixture.model();
    let path = fixture.write("text.txt", text(60));
    let sequences = |options: &CorpusOptions, limit| {
        let source = Source::lines(&path).with_limit(limit);
        let corpus = Corpus::new(&model, source, options).unwrap();
        corpus.sequences(999).unwrap()
    };
    let options = seeded(7);
    let first = sequences(&options, None);
    assert_eq!(first[..11], sequences(&options, Some(11)));
    assert_ne!(first, sequences(&seeded(8), None));
    let mut other = CorpusOptions::default();
    other.objective = None;
    assert_ne!(
        first,
        sequences(&other, None),
        "the default seed is another"
    );

    let mut losses = Vec::new();
    for (threads, batch_tokens) in [(1, 1024), (3, 1024), (2, 30)] {
        let corpus = Corpus::new(&model, Source::lines(&path), &seeded(7)).unwrap();
        let work = spread(threads, batch_tokens);
        losses.push(evaluate::evaluate(&model, &corpus, None, &work, &mut ()).unwrap());
    }
    assert_eq!(
        losses[0], losses[1],
        "threads change nothing, not even a bit"
    );
    assert!((losses[0].loss - losses[2].loss).abs() < 1e-6);
    assert_eq!(losses[0].targets, losses[2].targets);
}

#[test]
fn special_tokens_are_never_hidden_and_hidden_tokens_are_the_targets() {
    let fixture = bert();
    let model = fixture.model();
    // `zebra` is unknown, and a mask written in the text is a mask token.
    let line = "zebra w5 [MASK] w6 w7 zebra w8\n";
    let path = fixture.write("text.txt", format!("{}zebra\n", line.repeat(400)));
    let mut options = seeded(3);
    let corpus = Corpus::new(&model, Source::lines(&path), &options).unwrap();
    let counts = corpus.documents().unwrap();
    assert_eq!((counts.documents, counts.without_targets), (401, 1));
    assert_eq!(counts.windows, 400);
    let original = [2, 1, 5, 4, 6, 7, 1, 8, 3];
    let mut changed = [0; 9];
    for sequence in corpus.sequences(999).unwrap() {
        for (at, (found, original)) in sequence.ids.iter().zip(&original).enumerate() {
            changed[at] += u32::from(found != original);
        }
    }
    let never = [0, 1, 3, 6, 8];
    assert!(never.iter().all(|at| changed[*at] == 0), "{changed:?}");
    assert!(
        [2, 4, 5, 7].iter().all(|at| changed[*at] > 20),
        "{changed:?}"
    );

    options.objective = Some(Objective::MaskedLm {
        masking: TokenMasking::Unmasked,
    });
    let corpus = Corpus::new(&model, Source::lines(&path), &options).unwrap();
    assert_eq!(corpus.sequences(1).unwrap()[0].ids, original);
    assert_eq!(corpus.documents().unwrap().targets, 400 * 4);
}

#[test]
fn ids_and_texts_give_the_same_and_ids_may_bring_their_frame() {
    let fixture = bert();
    let model = fixture.model();
    let options = unmasked(8, Some(4));
    let texts = fixture.write("text.txt", "w10 w11 w12 w13 w14 w15 w16 w17\nw5\n");
    let ids = fixture.write("ids.txt", "10 11 12 13 14 15 16 17 # one\n\n2 5 3\n");
    let table = fixture.write(
        "text.jsonl",
        "{\"t\": \"w10 w11 w12 w13 w14 w15 w16 w17\"}\n{\"t\": \"w5\"}\n",
    );
    let sources = [
        Source::lines(&texts),
        Source::token_ids(&ids),
        Source::table(&table, Columns::text("t")).unwrap(),
        Source::text(
            &fixture.write("paragraphs.txt", "w10 w11 w12 w13\nw14 w15 w16 w17\n\nw5"),
            Documents::Paragraphs,
        ),
    ];
    let found: Vec<(Vec<Sequence>, Evaluation)> = sources
        .into_iter()
        .map(|source| {
            let corpus = Corpus::new(&model, source, &options).unwrap();
            let sequences = corpus.sequences(99).unwrap();
            (sequences, evaluated(&model, &corpus))
        })
        .collect();
    assert!(found.iter().all(|f| *f == found[0]));
    let ids: Vec<_> = found[0].0.iter().map(|s| s.ids.clone()).collect();
    assert_eq!(
        ids,
        [
            vec![2, 10, 11, 12, 13, 14, 15, 3],
            vec![2, 14, 15, 16, 17, 3],
            vec![2, 5, 3]
        ]
    );
}

#[test]
fn what_does_not_fit_together_is_refused_with_the_way_out() {
    let fixture = bert();
    let model = fixture.model();
    let classifier = Fixture::new();
    let classifier = classifier.model();
    let lines = Source::lines(&fixture.write("text.txt", "w5 w6 w7\n"));
    let refused = |model: &LoadedModel, source: &Source, change: &dyn Fn(&mut CorpusOptions)| {
        let mut options = CorpusOptions::default();
        change(&mut options);
        Corpus::new(model, source.clone(), &options)
            .unwrap_err()
            .to_string()
    };
    let says = |message: String, parts: &[&str]| {
        for part in parts {
            assert!(message.contains(part), "no `{part}` in: {message}");
        }
    };
    let none = |_: &mut CorpusOptions| {};
    says(
        refused(&classifier, &lines, &none),
        &["no labels", "score a language model"],
    );
    let labelled = fixture.write("labelled.tsv", "text\tlabel\nw5\t0\n");
    let labelled = Source::table(&labelled, Columns::text("text").with_label("label")).unwrap();
    says(
        refused(&model, &labelled, &none),
        &["masked-LM head", "give the text without labels"],
    );
    let labels = |options: &mut CorpusOptions| options.objective = Some(Objective::Labels);
    says(
        refused(&model, &labelled, &labels),
        &["masked-LM head", "classifier"],
    );
    let causal = |o: &mut CorpusOptions| o.objective = Some(Objective::CausalLm { bos: false });
    says(
        refused(&model, &lines, &causal),
        &["masked-LM head", "causal language modelling"],
    );
    let pairs = fixture.write("pairs.tsv", "a\tb\nw5\tw6\n");
    let pairs = Source::table(&pairs, Columns::text("a").with_pair("b")).unwrap();
    says(
        refused(&model, &pairs, &none),
        &["pairs.tsv, line 2", "leave the second text out"],
    );
    let chance = |p: f64| {
        move |o: &mut CorpusOptions| {
            o.objective = Some(Objective::MaskedLm {
                masking: TokenMasking::Random {
                    probability: p,
                    seed: 0,
                },
            });
        }
    };
    for p in [0.0, -0.1, 1.5, f64::NAN] {
        says(
            refused(&model, &lines, &chance(p)),
            &["above 0 and at most 1"],
        );
    }
    let window = |o: &mut CorpusOptions| o.too_long = Some(TooLong::Window);
    says(
        refused(&classifier, &labelled, &window),
        &["a label belongs to a whole text"],
    );
    let stride = |stride| move |o: &mut CorpusOptions| o.stride = Some(stride);
    says(
        refused(&classifier, &labelled, &stride(3)),
        &["windows alone have a stride"],
    );
    says(
        refused(&model, &lines, &stride(0)),
        &["stride of 0", "1 to 22"],
    );
    says(
        refused(&model, &lines, &stride(23)),
        &["stride of 23", "1 to 22"],
    );
    let cut = |o: &mut CorpusOptions| {
        o.too_long = Some(TooLong::Cut);
        o.stride = Some(3);
    };
    says(
        refused(&model, &lines, &cut),
        &["windows alone have a stride"],
    );
    let short = |o: &mut CorpusOptions| o.max_length = Some(2);
    says(
        refused(&model, &lines, &short),
        &["leaves no token to predict"],
    );
    let ids = Source::token_ids(&fixture.write("ids.txt", "5 6\n7 60\n"));
    says(
        refused(&model, &ids, &none),
        &["ids.txt, line 2: the id 60 (value 2", "vocabulary of 60"],
    );
    let unknown = Source::lines(&fixture.write("unknown.txt", "zebra\nzebra zebra\n"));
    says(
        refused(&model, &unknown, &none),
        &["none of the documents (2)"],
    );
    let bare = LoadedModel::open(golden("bert-mlm")).unwrap();
    says(refused(&bare, &lines, &none), &["bert-mlm", "tokenizer"]);
    let strict = |o: &mut CorpusOptions| {
        o.too_long = Some(TooLong::Error);
        o.max_length = Some(5);
    };
    let long = fixture.write("long.tsv", "text\tlabel\nw5\t0\nw5 w6 w7 w8\t1\n");
    let long = Source::table(&long, Columns::text("text").with_label("label")).unwrap();
    says(
        refused(&classifier, &long, &strict),
        &["long.tsv, line 3: 6 tokens", "is 5"],
    );
}
