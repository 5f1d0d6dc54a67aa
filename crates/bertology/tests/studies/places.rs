//! A supply opened at a later unit gives what it gives there, and reads nothing that is far before.

use std::fmt::{Debug, Write};
use std::fs;

use bertology::attention::coref::DocumentPassages;
use bertology::attention::{
    Packing, SentencePassages, Supply, TextOptions, TextPassages, TreebankOptions,
};
use bertology::data::conllu::Treebank;
use bertology::data::{Documents, LabelOrder};
use bertology::drive::Work;
use bertology::extract::{ExtractOptions, Extraction, Request, Texts};
use bertology::{Corpus, CorpusOptions, LoadedModel, Objective, Source, TokenMasking};

use super::fixture::{Fixture, rows};
use super::language::bert;

/// Units before the first place that is remembered.
const EVERY: u64 = 1024;

/// `kept`: bytes of a header.
fn goes_on<S: Supply>(supply: &S, kept: usize)
where
    S::Raw: Debug,
{
    let from = |first: u64| -> Result<Vec<String>, bertology::Error> {
        let units = supply.open(first)?;
        units.map(|raw| Ok(format!("{:?}", raw?))).collect()
    };
    let whole = from(0).unwrap();
    let total = supply.total();
    assert_eq!(whole.len() as u64, total);
    assert!(total > 2 * EVERY + 400, "{total}");
    for first in [
        1,
        EVERY - 1,
        EVERY,
        EVERY + 1,
        2 * EVERY + 300,
        total - 1,
        total,
    ] {
        let expected = &whole[first as usize..];
        assert!(from(first).unwrap() == expected, "from {first}");
    }
    // Of what lies before the second place nothing is looked at.
    let content = fs::read(supply.path()).unwrap();
    let mut broken = content.clone();
    broken[kept..content.len() / 4].fill(0);
    fs::write(supply.path(), broken).unwrap();
    assert!(from(0).is_err());
    let first = 2 * EVERY + 300;
    assert!(from(first).unwrap() == whole[first as usize..]);
    fs::write(supply.path(), content).unwrap();
}

/// The block that holds the header, which is read and compared as a whole.
const HEADER: usize = 1 << 14;

#[test]
fn labelled_rows_and_texts_go_on() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let source = fixture.source(&rows(5200));
    let corpus = Corpus::new(&model, source.clone(), &CorpusOptions::default()).unwrap();
    goes_on(&corpus, HEADER);
    let texts = TextPassages::new(&model, source.clone(), TextOptions::default()).unwrap();
    let texts = texts.objective(Objective::Labels, LabelOrder::Task);
    goes_on(&texts.unwrap(), HEADER);
    let (request, options) = (Request::new(), ExtractOptions::default());
    let work = Work::default();
    let texts = Texts::from(source);
    let extraction = Extraction::new(&model, texts, &request, options, &work, &mut ()).unwrap();
    goes_on(&extraction, HEADER);
}

#[test]
fn pairs_of_sentences_are_split_as_from_the_start() {
    let fixture = Fixture::new();
    let mut paragraphs = String::new();
    for (at, (row, _)) in rows(5200).iter().enumerate() {
        let end = if at % 4 == 3 { "\n\n" } else { "\n" };
        write!(paragraphs, "{row}{end}").unwrap();
    }
    let file = fixture.write("paragraphs.txt", paragraphs);
    let options = TextOptions {
        packing: Packing::Pairs { seed: 3 },
        max_length: Some(16),
        ..TextOptions::default()
    };
    let source = Source::text(&file, Documents::Paragraphs);
    let texts = TextPassages::new(&fixture.model(), source, options).unwrap();
    goes_on(&texts, 0);
}

#[test]
fn windows_hide_the_same_tokens_as_from_the_start() {
    let fixture = bert();
    let file = fixture.write("lines.txt", lines(2000));
    let mut options = CorpusOptions::default();
    options.objective = Some(Objective::MaskedLm {
        masking: TokenMasking::default(),
    });
    options.max_length = Some(10);
    let source = Source::lines(&file);
    let corpus = Corpus::new(&fixture.model(), source, &options).unwrap();
    assert!(corpus.documents().unwrap().windowed > 1000);
    goes_on(&corpus, 0);
}

fn lines(count: usize) -> String {
    let rows = rows(count);
    rows.iter().map(|(row, _)| format!("{row}\n")).collect()
}

#[test]
fn sentences_and_documents_go_on() {
    let fixture = Fixture::new();
    let model: LoadedModel = fixture.model();
    let mut treebank = "# global.Entity = eid-etype-head-other\n".to_owned();
    for at in 0..3000 {
        let word = 5 + at % 50;
        write!(
            treebank,
            "# newdoc id = d{at}\n# sent_id = s{at}\n1\tw{word}\t_\tNOUN\t_\t_\t0\troot\t_\t\
             Entity=(e{at}-person-1-x)\n\n"
        )
        .unwrap();
    }
    let file = fixture.write("own.conllu", treebank);
    let treebank = Treebank::new(&file);
    let options = TreebankOptions::default();
    let sentences = SentencePassages::new(&model, treebank.clone(), options).unwrap();
    goes_on(&sentences, 0);
    goes_on(
        &DocumentPassages::new(&model, treebank, options).unwrap(),
        0,
    );
}
