//! Sentences whose words have labels.

use std::path::Path;
use std::sync::Arc;

use bertology_data::{Example, LabelMap, LabelOrder, RawLabel, Source, TagSet, Target as Label};
use bertology_model::Target;
use bertology_tokenizer::Encoding;

use super::{Corpus, CorpusOptions, ExampleItem, Gold, Scoring, first_reading};
use crate::input::prepare::{PrepareOptions, Preparer};
use crate::input::supply::{Fate, LeftOut, Passage};
use crate::input::windows::TooLong;
use crate::objective::Objective;
use crate::{Error, LoadedModel};

/// What the labels of words mean to a model.
#[derive(Debug, Clone)]
pub(super) struct Tags {
    labels: LabelMap,
    /// Of the classes, by id.
    names: Vec<String>,
    set: Arc<TagSet>,
    pub(super) without_targets: u64,
}

/// The labelled words of a sentence.
#[derive(Debug, Clone)]
pub(crate) struct Tagged {
    /// The first token of each.
    pub(crate) tokens: Vec<usize>,
    /// The class of each.
    pub(crate) classes: Vec<u32>,
    pub(crate) set: Arc<TagSet>,
}

/// Why no sentence is left out or windowed.
const WHOLE: &str =
    "words are labelled in whole sentences; cut sentences that are too long, or make them an error";

impl Tags {
    fn new(model: &LoadedModel, order: &LabelOrder) -> Result<Self, Error> {
        let own = &model.architecture().labels;
        let names = match order {
            LabelOrder::Given(labels) => labels.clone(),
            _ => own.clone(),
        };
        Ok(Self {
            labels: LabelMap::new(own, None, order.clone())?,
            set: Arc::new(TagSet::new(&names)),
            names,
            without_targets: 0,
        })
    }

    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// The class of a label: by its name, or else it is the class's id itself.
    fn class(&self, tag: &RawLabel, line: u64, path: &Path) -> Result<u32, Error> {
        let labelled = Example {
            label: Some(tag.clone()),
            line,
            ..Example::default()
        };
        let id = tag.as_str().parse().ok();
        match (self.labels.target(&labelled, path), id) {
            // The model's classes were counted in u32.
            (Ok(Label::Class(class)), _) => Ok(class as u32),
            (_, Some(id)) if (id as usize) < self.names.len() => Ok(id),
            (Err(error), _) => Err(error.into()),
            (Ok(Label::Value(_)), _) => Ok(0),
        }
    }

    /// The classes of all words; nothing for those that do not count.
    fn classes(&self, example: &Example, path: &Path) -> Result<Vec<Option<u32>>, Error> {
        let words = example.words.iter();
        let class = |tag| self.class(tag, example.line, path);
        words
            .map(|word| word.tag.as_ref().map(class).transpose())
            .collect()
    }
}

impl Corpus {
    pub(super) fn tagged(
        model: &LoadedModel,
        source: Source,
        options: &CorpusOptions,
    ) -> Result<Self, Error> {
        Self::check_head(model, &source)?;
        let too_long = options.too_long.unwrap_or(TooLong::Cut);
        if let TooLong::Skip | TooLong::Window = too_long {
            return too_long.refused(WHOLE);
        }
        let preparer = Preparer::new(
            model,
            &PrepareOptions {
                max_length: options.max_length,
                too_long,
                stride: options.stride,
                ..PrepareOptions::default()
            },
        )?;
        let mut tags = Tags::new(model, &options.label_order)?;
        let (info, marks) = first_reading(&source, &preparer, |example| {
            let classes = tags.classes(example, source.path())?;
            tags.without_targets += u64::from(classes.iter().flatten().next().is_none());
            Ok(())
        })?;
        if tags.without_targets == info.examples {
            return Err(Error::NoLabelledWord {
                path: source.path().to_owned(),
                sentences: info.examples,
            });
        }
        Ok(Self {
            examples: info.examples,
            info,
            marks,
            preparer,
            source,
            objective: Objective::Tags,
            scoring: Scoring::Tags(tags),
        })
    }

    /// A sentence, of each labelled word its first token with its class.
    pub(super) fn tagged_passage(
        &self,
        tags: &Tags,
        index: u64,
        example: &Example,
    ) -> Result<Fate<Vec<Passage<ExampleItem>>>, Error> {
        let classes = tags.classes(example, self.source.path())?;
        if classes.iter().flatten().next().is_none() {
            return Ok(Fate::LeftOut(LeftOut::NothingToPredict));
        }
        let pieces = match self.preparer.pieces(example)? {
            Fate::Studied(pieces) => pieces,
            Fate::LeftOut(why) => return Ok(Fate::LeftOut(why)),
        };
        let mut passages = Vec::new();
        for piece in pieces {
            let wanted = of_first_tokens(&piece.encoding, &classes);
            let places = wanted.iter().enumerate();
            let (tokens, classes): (Vec<usize>, Vec<u32>) = places
                .filter_map(|(at, class)| Some((at, (*class)?)))
                .unzip();
            if tokens.is_empty() {
                return Ok(Fate::LeftOut(LeftOut::NothingToPredict));
            }
            passages.push(Passage {
                item: ExampleItem {
                    targets: tokens.len(),
                    gold: Gold::Tags(Tagged {
                        tokens,
                        classes,
                        set: Arc::clone(&tags.set),
                    }),
                    ..ExampleItem::of(index, example, &piece)
                },
                sequence: LoadedModel::sequence(piece.encoding),
                target: Some(Target::TokenLabels(wanted)),
            });
        }
        Ok(Fate::Studied(passages))
    }
}

/// For each token the class of its word, if it is the word's first.
fn of_first_tokens(encoding: &Encoding, classes: &[Option<u32>]) -> Vec<Option<u32>> {
    let mut before = None;
    let words = encoding.words.iter().map(|word| {
        let first = *word != before;
        before = *word;
        word.filter(|_| first)
    });
    words
        .map(|word| classes.get(word? as usize).copied().flatten())
        .collect()
}
