//! Sentences of a treebank as sequences, every token with the word that it is a piece of.
//!
//! Clark et al. 2019 give a model a sentence's words with single spaces between them ([`InputMode::Words`]).
//! That is not how people write (`do n't`, a space before every comma), and byte-level tokenizers, for which
//! a space is a part of the word behind it, make other tokens of it than those that the model knows best;
//! [`InputMode::Text`] is the sentence as it was written. The two give a model different tokens, so that numbers
//! of one are not those of the other.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use bertology_checkpoint::Family;
use bertology_data::conllu::{Sentence, SpannedText, Treebank, TreebankInfo, TreebankMark};
use serde::{Deserialize, Serialize};

use crate::input::align::Aligner;
use crate::input::marks::Marks;
use crate::input::passages::TextItem;
use crate::input::prepare::{PrepareOptions, Preparer};
use crate::input::supply::{Fate, Passage, Supply, Units, after};
use crate::input::windows::TooLong;
use crate::input::words::Words;
use crate::{Error, LoadedModel, Outline};

/// What of a sentence the model reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InputMode {
    /// Its words with single spaces between them: the paper.
    Words,
    /// Its text as it was written.
    Text,
}

impl InputMode {
    /// Words for models whose tokenizer splits at spaces and forgets them (BERT, DistilBERT, ELECTRA, MPNet, NomicBERT, JinaBERT, ESM), text for
    /// those for which a space is a part of the word behind it (RoBERTa, XLM-RoBERTa, CamemBERT, ModernBERT, EuroBERT, GTE, ESM-C, DeBERTa, ALBERT, GPT-2) and for GPT, whose words were pieces of
    /// running text too.
    #[must_use]
    pub fn of(model: &LoadedModel) -> Self {
        match model.architecture().family {
            Family::Bert
            | Family::JinaBert
            | Family::DistilBert
            | Family::Electra
            | Family::MpNet
            | Family::NomicBert
            | Family::Esm => Self::Words,
            Family::Roberta
            | Family::XlmRoberta
            | Family::Camembert
            | Family::ModernBert
            | Family::EuroBert
            | Family::Albert
            | Family::Gte
            | Family::GteNew
            | Family::Esmc
            | Family::DebertaV2
            | Family::OpenAiGpt
            | Family::Gpt2 => Self::Text,
        }
    }

    /// The text of a sentence and the place of its words in it.
    pub(crate) fn text(self, sentence: &Sentence, path: &Path) -> Result<SpannedText, Error> {
        Ok(match self {
            Self::Words => sentence.spaced_text(),
            Self::Text => sentence.written_text(path)?,
        })
    }
}

/// How a treebank's sentences are prepared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TreebankOptions {
    /// `None`: [`InputMode::of`] the model.
    pub input: Option<InputMode>,
    /// Longest sequence in tokens, special ones included; `None`: the model's limit, for documents 128 if that
    /// is less.
    pub max_length: Option<usize>,
    /// What is done with longer ones; `None`: sentences are left out, documents cut between words. A sentence
    /// that is cut would lose its tree, and windows divide words: neither may be asked for.
    pub too_long: Option<TooLong>,
    /// Put the model's beginning-of-text token before texts whose tokenizer does not (GPT-2).
    pub bos: bool,
}

impl TreebankOptions {
    /// What of a sentence the model reads.
    pub(crate) fn input(&self, model: &LoadedModel) -> InputMode {
        self.input.unwrap_or_else(|| InputMode::of(model))
    }

    /// An aligner for texts of at most `max_length` tokens.
    pub(crate) fn aligner(
        &self,
        model: &LoadedModel,
        max_length: Option<usize>,
        too_long: TooLong,
    ) -> Result<Aligner, Error> {
        let options = PrepareOptions {
            max_length,
            too_long,
            bos: self.bos,
            ..PrepareOptions::default()
        };
        Aligner::new(Preparer::new(model, &options)?)
    }
}

/// What a study knows of a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentenceItem {
    /// The sentence.
    pub sentence: Sentence,
    /// The tokens of its words.
    pub words: Words,
    /// Where a word has its tokens from if not from itself: words of the same number are written as one (French
    /// `du` for `de` + `le`) and have the same tokens.
    pub shared: Vec<Option<usize>>,
    /// Words without any token.
    pub without_tokens: usize,
    /// Tokens with characters of two words.
    pub straddling: usize,
    /// The sentence as a text.
    pub text: TextItem,
}

/// The sentences of a treebank as sequences of one model, each a sequence of its own.
#[derive(Debug)]
pub struct SentencePassages {
    aligner: Aligner,
    input: InputMode,
    treebank: Treebank,
    info: TreebankInfo,
    relations: BTreeMap<String, u64>,
    /// Places to go on from, by sentences.
    marks: Marks<TreebankMark>,
}

impl SentencePassages {
    /// Reads the treebank once to the end: every sentence is checked and counted before any model runs.
    ///
    /// # Errors
    /// Sentences that are wrong, a maximum length out of range, a model without tokenizer, or without
    /// beginning-of-text token where one is asked for.
    pub fn new(
        model: &LoadedModel,
        treebank: Treebank,
        options: TreebankOptions,
    ) -> Result<Self, Error> {
        let too_long = options.too_long.unwrap_or(TooLong::Skip);
        if too_long == TooLong::Cut {
            return too_long.refused(
                "a sentence that is cut is no sentence of the treebank; leave those that are too long out, or \
                 make them an error",
            );
        }
        let aligner = options.aligner(model, options.max_length, too_long)?;
        let input = options.input(model);
        let mut reader = treebank.open()?;
        let mut relations: BTreeMap<String, u64> = BTreeMap::new();
        let mut marks = Marks::default();
        while let Some(sentence) = reader.next() {
            let sentence = sentence?;
            marks.offer(reader.counts().sentences, || reader.mark());
            // A text that is not that of the words is found before the work begins.
            input.text(&sentence, treebank.path())?;
            for word in &sentence.words {
                match relations.get_mut(&word.relation) {
                    Some(count) => *count += 1,
                    None => drop(relations.insert(word.relation.clone(), 1)),
                }
            }
        }
        let info = reader.finish()?;
        Ok(Self {
            aligner,
            input,
            treebank,
            info,
            relations,
            marks,
        })
    }

    /// The account of the file.
    #[must_use]
    pub fn info(&self) -> &TreebankInfo {
        &self.info
    }

    /// How often each relation occurs, by its full label.
    #[must_use]
    pub fn relations(&self) -> &BTreeMap<String, u64> {
        &self.relations
    }

    /// What of a sentence the model reads.
    #[must_use]
    pub fn input(&self) -> InputMode {
        self.input
    }

    /// The longest sequence in tokens.
    #[must_use]
    pub fn max_length(&self) -> usize {
        self.aligner.preparer().max_length()
    }

    /// The model whose sequences these are.
    #[must_use]
    pub fn model(&self) -> &Outline {
        self.aligner.preparer().model()
    }
}

impl Supply for SentencePassages {
    type Raw = Sentence;
    type Item = SentenceItem;

    fn path(&self) -> &Path {
        self.treebank.path()
    }

    fn total(&self) -> u64 {
        self.info.counts.sentences
    }

    fn open(&self, first: u64) -> Result<Units<'_, Sentence>, Error> {
        let (begun, reader) = match self.marks.before(first) {
            Some((unit, mark)) => (unit, self.treebank.open_at(mark)?),
            None => (0, self.treebank.open()?),
        };
        after(first - begun, reader.map(|sentence| Ok(sentence?)))
    }

    fn size(&self, sentence: &Sentence) -> usize {
        // English has about four tokens for three words.
        (2 + sentence.len() * 4 / 3).min(self.max_length())
    }

    fn line(&self, sentence: &Sentence) -> u64 {
        sentence.line
    }

    fn prepare(&self, sentence: Sentence) -> Result<Fate<Vec<Passage<SentenceItem>>>, Error> {
        let text = self.input.text(&sentence, self.path())?;
        let spans: Vec<Range<usize>> = text.spans.iter().map(|s| s.characters.clone()).collect();
        let aligned = match self.aligner.align(&text.text, &spans)? {
            Fate::Studied(aligned) => aligned,
            Fate::LeftOut(why) => return Ok(Fate::LeftOut(why)),
        };
        let encoding = aligned.encoding;
        let as_text = TextItem {
            ids: encoding.ids.clone(),
            special: encoding.special.clone(),
            cut: 0,
        };
        Ok(Fate::one(Passage {
            sequence: LoadedModel::sequence(encoding),
            target: None,
            item: SentenceItem {
                text: as_text,
                sentence,
                words: aligned.words,
                shared: text.spans.iter().map(|span| span.shared).collect(),
                without_tokens: aligned.without_tokens,
                straddling: aligned.straddling,
            },
        }))
    }
}
