//! The beginnings of a treebank's documents as sequences of one model.

use std::ops::Range;
use std::path::Path;

use bertology_data::conllu::{Document, Treebank, TreebankInfo, TreebankMark};

use crate::input::align::Aligner;
use crate::input::marks::Marks;
use crate::input::mentions::MentionsIn;
use crate::input::passages::PAPER_LENGTH;
use crate::input::supply::{Fate, Passage, Supply, Units, after};
use crate::input::treebank::{InputMode, TreebankOptions};
use crate::input::windows::TooLong;
use crate::input::words::Words;
use crate::{Error, LoadedModel, Outline};

/// What a study knows of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentItem {
    /// Mentions in the window.
    pub mentions: MentionsIn,
    /// The tokens of the words in the window.
    pub words: Words,
    /// For each word of the window, words of the same number have the same tokens.
    pub shared: Vec<Option<usize>>,
    /// Words beyond the window.
    pub words_beyond: usize,
    /// Words of the window without any token.
    pub without_tokens: usize,
    /// Tokens with characters of two words.
    pub straddling: usize,
}

/// The documents of a treebank, sentence after sentence with a space between, each cut to what fits the longest
/// sequence.
#[derive(Debug)]
pub struct DocumentPassages {
    aligner: Aligner,
    input: InputMode,
    treebank: Treebank,
    info: TreebankInfo,
    mentions: u64,
    discontinuous: u64,
    without_words: u64,
    /// Places to go on from, by documents.
    marks: Marks<TreebankMark>,
}

impl DocumentPassages {
    /// Reads the treebank once to the end: every sentence and mention is checked and counted before any model runs.
    ///
    /// # Errors
    /// Sentences or mentions that are wrong, no mention at all, a maximum length out of range, a model without
    /// tokenizer, or without beginning-of-text token where one is asked for.
    pub fn new(
        model: &LoadedModel,
        treebank: Treebank,
        options: TreebankOptions,
    ) -> Result<Self, Error> {
        let input = options.input(model);
        let max_length = match options.max_length {
            None => model.max_length().min(PAPER_LENGTH),
            Some(given) => given,
        };
        let aligner = options.aligner(
            model,
            Some(max_length),
            options.too_long.unwrap_or(TooLong::Cut),
        )?;
        let mut reader = treebank.open_documents()?;
        let (mut mentions, mut discontinuous, mut without_words) = (0, 0, 0);
        let mut marks = Marks::default();
        while let Some(document) = reader.next() {
            let document = document?;
            marks.offer(reader.counts().documents, || reader.mark());
            for sentence in &document.sentences {
                input.text(sentence, treebank.path())?;
            }
            let found = document.mentions(treebank.path())?;
            mentions += found.mentions.len() as u64;
            discontinuous += found.discontinuous;
            without_words += found.without_words;
        }
        let info = reader.finish()?;
        if mentions == 0 {
            return Err(Error::NoMentions {
                path: treebank.path().to_owned(),
            });
        }
        Ok(Self {
            aligner,
            input,
            treebank,
            info,
            mentions,
            discontinuous,
            without_words,
            marks,
        })
    }

    /// The account of the file.
    #[must_use]
    pub fn info(&self) -> &TreebankInfo {
        &self.info
    }

    /// Mentions of the whole file that are spans of words.
    #[must_use]
    pub fn mentions(&self) -> u64 {
        self.mentions
    }

    /// Mentions of the whole file that are passed over: those in several parts, and those without words.
    #[must_use]
    pub fn passed_over(&self) -> (u64, u64) {
        (self.discontinuous, self.without_words)
    }

    /// What of a document the model reads.
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

impl Supply for DocumentPassages {
    type Raw = Document;
    type Item = DocumentItem;

    fn path(&self) -> &Path {
        self.treebank.path()
    }

    fn total(&self) -> u64 {
        self.info.counts.documents
    }

    fn open(&self, first: u64) -> Result<Units<'_, Document>, Error> {
        let (begun, reader) = match self.marks.before(first) {
            Some((unit, mark)) => (unit, self.treebank.open_documents_at(mark)?),
            None => (0, self.treebank.open_documents()?),
        };
        after(first - begun, reader.map(|document| Ok(document?)))
    }

    fn size(&self, document: &Document) -> usize {
        let words: usize = document
            .sentences
            .iter()
            .map(|sentence| sentence.len())
            .sum();
        (2 + words * 4 / 3).min(self.max_length())
    }

    fn line(&self, document: &Document) -> u64 {
        document
            .sentences
            .first()
            .map_or(1, |sentence| sentence.line)
    }

    fn prepare(&self, document: Document) -> Result<Fate<Vec<Passage<DocumentItem>>>, Error> {
        let path = self.treebank.path();
        let mut text = String::new();
        let mut characters = 0;
        let mut spans: Vec<Range<usize>> = Vec::new();
        let mut shared: Vec<Option<usize>> = Vec::new();
        let mut ranges = 0;
        for sentence in &document.sentences {
            if !text.is_empty() {
                text.push(' ');
                characters += 1;
            }
            let written = self.input.text(sentence, path)?;
            text.push_str(&written.text);
            for span in written.spans {
                let place = span.characters;
                spans.push(characters + place.start..characters + place.end);
                shared.push(span.shared.map(|range| ranges + range));
            }
            characters += written.text.chars().count();
            ranges += sentence.ranges.len();
        }
        let aligned = match self.aligner.align(&text, &spans)? {
            Fate::Studied(aligned) => aligned,
            Fate::LeftOut(why) => return Ok(Fate::LeftOut(why)),
        };
        let window = aligned.words.len();
        shared.truncate(window);
        let mentions = document.mentions(path)?;
        Ok(Fate::one(Passage {
            sequence: LoadedModel::sequence(aligned.encoding),
            target: None,
            item: DocumentItem {
                mentions: MentionsIn::new(&document, &mentions.mentions, window),
                words: aligned.words,
                shared,
                words_beyond: aligned.beyond,
                without_tokens: aligned.without_tokens,
                straddling: aligned.straddling,
            },
        }))
    }
}
