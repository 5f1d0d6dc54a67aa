//! Documents for language models: tokenised, divided into windows, and given targets.

use bertology_data::{Example, ExampleReader, Mark, Source};
use bertology_model::Target;

use super::{CorpusOptions, DocumentCounts, ExampleItem, Gold, blame};
use crate::input::marks::Marks;
use crate::input::prepare::{DocumentOptions, Piece, Pieces, Preparer, special};
use crate::input::supply::{Fate, Passage};
use crate::input::target::Targets;
use crate::input::windows::{TooLong, Window};
use crate::objective::Objective;
use crate::{Error, LoadedModel};

/// How documents become windows with targets.
pub(super) fn plan(
    model: &LoadedModel,
    source: &Source,
    objective: Objective,
    max_length: usize,
    too_long: TooLong,
    options: &CorpusOptions,
) -> Result<(Preparer, Targets), Error> {
    let targets = Targets::new(model.outline(), source, objective, &options.label_order)?;
    let (frame, first) = match objective {
        Objective::CausalLm { bos: true } => {
            let (bos, hint) = (model.tokenizer()?.bos_id(), "score the texts without it");
            (
                None,
                Some(special(model.outline(), bos, "beginning-of-text", hint)?),
            )
        }
        Objective::MaskedLm { .. } => {
            let tokenizer = model.tokenizer()?;
            let hint = "take a checkpoint with its tokenizer's special tokens";
            let cls = special(
                model.outline(),
                tokenizer.cls_id(),
                "beginning (`[CLS]`)",
                hint,
            )?;
            let sep = special(model.outline(), tokenizer.sep_id(), "end (`[SEP]`)", hint)?;
            (Some((cls, sep)), None)
        }
        _ => (None, None),
    };
    let options = DocumentOptions {
        max_length,
        too_long,
        stride: options.stride,
        frame,
        first,
    };
    if !source.has_token_ids() {
        model.tokenizer()?;
    }
    Ok((Preparer::documents(model, options)?, targets))
}

/// A document while its windows are handed out.
#[derive(Debug)]
struct Document {
    index: u64,
    line: u64,
    pieces: Pieces,
    /// Where each token ends in the text, in bytes; empty where there is no text.
    ends: Vec<usize>,
    cut: usize,
    /// Windows so far.
    number: usize,
    /// Windows with targets so far.
    given: usize,
}

impl Document {
    /// A window as the model takes it, or nothing if no token of it is a target.
    fn passage(
        &self,
        mut piece: Piece,
        targets: &Targets,
        source: &Source,
    ) -> Result<Option<Passage<ExampleItem>>, Error> {
        let target = targets.of(&mut piece, None, source.path(), self.index)?;
        let count = match &target {
            Some(Target::Tokens(tokens)) => tokens.iter().flatten().count(),
            _ => 0,
        };
        Ok((count > 0).then(|| Passage {
            target,
            item: ExampleItem {
                index: self.index,
                line: self.line,
                window: piece.number,
                label: None,
                gold: Gold::Nothing,
                targets: count,
                bytes: self.bytes(piece.window),
                truncated: if piece.number == 0 { self.cut } else { 0 },
            },
            sequence: LoadedModel::sequence(piece.encoding),
        }))
    }

    /// Bytes of text that the counted tokens of a window stand for, the first token of a document
    /// left out (it is no target).
    fn bytes(&self, window: Window) -> usize {
        let end = |tokens: usize| {
            tokens
                .checked_sub(1)
                .and_then(|at| self.ends.get(at))
                .copied()
        };
        match (end(window.fresh.max(1)), end(window.end)) {
            (Some(from), Some(to)) => to.saturating_sub(from),
            _ => 0,
        }
    }
}

/// Hands out the windows of all documents in file order, in the memory of one document.
#[derive(Debug)]
pub(super) struct WindowReader<'a> {
    source: &'a Source,
    preparer: &'a Preparer,
    targets: &'a Targets,
    reader: ExampleReader,
    document: Option<Document>,
    marks: Marks<Mark>,
    pub(super) counts: DocumentCounts,
}

impl<'a> WindowReader<'a> {
    /// `place`: where to begin, and how many windows there are before; those of documents alone are counted.
    pub(super) fn new(
        source: &'a Source,
        preparer: &'a Preparer,
        targets: &'a Targets,
        place: Option<(u64, &Mark)>,
    ) -> Result<Self, Error> {
        let mut counts = DocumentCounts::default();
        let reader = match place {
            Some((windows, mark)) => {
                counts.windows = windows;
                counts.documents = mark.examples();
                source.open_at(mark)?
            }
            None => source.open()?,
        };
        Ok(Self {
            source,
            preparer,
            targets,
            reader,
            document: None,
            marks: Marks::default(),
            counts,
        })
    }

    /// The reader of the file, for its account at the end, and the places of documents by the windows before.
    pub(super) fn into_parts(self) -> (ExampleReader, Marks<Mark>) {
        (self.reader, self.marks)
    }

    fn begin(&mut self, example: &Example) -> Result<(), Error> {
        let pieces = match self.preparer.pieces(example) {
            Ok(Fate::Studied(pieces)) => pieces,
            // Nobody asks that documents be left out.
            Ok(Fate::LeftOut(_)) => return Ok(()),
            Err(error) => return Err(blame(self.source, example.line, error)),
        };
        let cut = pieces.whole().truncated;
        self.document = Some(Document {
            index: self.counts.documents,
            line: example.line,
            ends: match self.targets {
                Targets::Next if example.token_ids.is_none() => {
                    let offsets = pieces.whole().byte_offsets(&example.text, None);
                    offsets.into_iter().map(|(_, end)| end).collect()
                }
                _ => Vec::new(),
            },
            cut,
            pieces,
            number: 0,
            given: 0,
        });
        self.counts.documents += 1;
        if cut > 0 {
            self.counts.cut += 1;
            self.counts.tokens_cut += cut as u64;
        }
        Ok(())
    }

    /// The next window of the document at hand.
    fn window(&mut self) -> Result<Option<Passage<ExampleItem>>, Error> {
        let Some(document) = &mut self.document else {
            return Ok(None);
        };
        while let Some(piece) = document.pieces.next() {
            document.number += 1;
            let prepared = document.passage(piece, self.targets, self.source)?;
            if let Some(prepared) = prepared {
                document.given += 1;
                self.counts.windows += 1;
                self.counts.targets += prepared.item.targets as u64;
                return Ok(Some(prepared));
            }
        }
        match document.given {
            0 => self.counts.without_targets += 1,
            given => self.counts.windows_without_targets += (document.number - given) as u64,
        }
        self.counts.windowed += u64::from(document.given > 1);
        self.document = None;
        Ok(None)
    }
}

impl Iterator for WindowReader<'_> {
    type Item = Result<Passage<ExampleItem>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(prepared) = self.window().transpose() {
                return Some(prepared);
            }
            let reader = &self.reader;
            self.marks.offer(self.counts.windows, || reader.mark());
            let begun = match self.reader.next()? {
                Ok(example) => self.begin(&example),
                Err(error) => Err(error.into()),
            };
            if let Err(error) = begun {
                return Some(Err(error));
            }
        }
    }
}
