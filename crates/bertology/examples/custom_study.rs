//! A study of one's own: how much attention every head gives to the first token, over a few texts of the embedded
//! corpus, at once and in two parts. `cargo run --example custom_study`.

use bertology::attention::{Fate, TextItem, TextOptions, TextPassages};
use bertology::drive::{Contribution, Lens, Part, PartState, Progress, Study, Wants, Work, drive};
use bertology::model::{Event, Interests, LayerSite, Sequence};
use bertology::{Error, LoadedModel, Source, watch};
use serde::{Deserialize, Serialize};

/// What sees one text.
struct Looking;

impl Lens for Looking {
    type Item = TextItem;
    type Part = Vec<f64>; // a share a head: layers and heads come in order
    fn wants(&self) -> Wants<'_> {
        Wants::sites(Interests::none().value(LayerSite::AttentionProbs))
    }
    fn begin(&self, _: &TextItem, _: &Sequence) -> Result<Vec<f64>, Error> {
        Ok(Vec::new())
    }
    fn see(&self, _: &TextItem, part: &mut Vec<f64>, event: &Event<'_, f32>) {
        let rows = 0..event.value.rows();
        let first = rows.clone().map(|row| f64::from(event.value.row(row)[0]));
        part.push(first.sum::<f64>() / rows.len() as f64);
    }
}

/// What adds up: texts, and the shares of every head.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct FirstToken(u64, Vec<f64>);

impl Study for FirstToken {
    type Lens = Looking;
    type Found = Vec<f64>;
    const PURPOSE: watch::Purpose = watch::Purpose::Attention;
    fn lens(&self) -> Looking {
        Looking
    }
    fn empty(&self) -> Self {
        Self::default()
    }
    fn agrees(&self, _: &Self) -> Result<(), Error> {
        Ok(()) // no options that could differ
    }
    fn add(&mut self, fate: Fate<Contribution<'_, Self>>) -> Result<(), Error> {
        match fate {
            Fate::Studied(found) => self.merge(Self(1, found.part)),
            Fate::LeftOut(_) => Ok(()),
        }
    }
    fn merge(&mut self, Self(texts, shares): Self) -> Result<(), Error> {
        self.0 += texts;
        self.1.resize(self.1.len().max(shares.len()), 0.0);
        self.1.iter_mut().zip(shares).for_each(|(a, b)| *a += b);
        Ok(())
    }
    fn finish(&self) -> Result<Vec<f64>, Error> {
        Ok(self.1.iter().map(|sum| sum / self.0 as f64).collect())
    }
}

pub(crate) fn main() -> Result<(), Error> {
    let assets = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets");
    let model = LoadedModel::open(assets.join("tiny-bert"))?;
    let lines = Source::lines(&assets.join("grammar/dev.txt")).with_limit(Some(40));
    let texts = TextPassages::new(&model, lines, TextOptions::default())?;
    let fresh = || Progress::new(FirstToken::default()).chunks_of(8);
    let run = |number, of| -> Result<PartState, Error> {
        let mut progress = fresh()?.part(Some(Part { number, of }))?;
        drive(&model, &texts, &mut progress, &Work::default(), &mut ())?;
        progress.into_part(40)
    };
    let whole = fresh()?.merge(vec![run(1, 1)?])?;
    let halves = fresh()?.merge(vec![run(2, 2)?, run(1, 2)?])?;
    println!("to the first token: {:.3?}", whole.study().finish()?);
    assert_eq!(halves.study(), whole.study()); // to the bit, wherever they were made
    Ok(())
}
