//! Documents for language models: tokenised, divided into windows, and given targets.

use bertology_data::{Example, ExampleReader, Source};
use bertology_model::{Sequence, Target};
use bertology_tokenizer::Tokenizer;

use super::{DocumentCounts, ExampleItem, blame};
use crate::input::objective::{Hiding, Objective, TokenMasking};
use crate::input::supply::Passage;
use crate::input::windows::{TooLong, Window, Windows, windows};
use crate::random::Draws;
use crate::{Error, LoadedModel};

/// How documents become windows with targets.
#[derive(Debug, Clone)]
pub(super) struct TokenPlan {
    kind: Kind,
    too_long: TooLong,
    /// Tokens of a document in a window: what special tokens leave of the maximum length.
    room: usize,
    stride: usize,
    /// Rows of the model's vocabulary.
    vocabulary: usize,
    needs_tokenizer: bool,
}

/// Special tokens around each window of a masked language model.
const FRAME: usize = 2;

#[derive(Debug, Clone)]
enum Kind {
    Causal {
        /// Put in front of each document.
        bos: Option<u32>,
    },
    Masked {
        cls: u32,
        sep: u32,
        /// Tokens that are never targets.
        special: Vec<u32>,
        hiding: Option<(Hiding, u64)>,
    },
}

/// A special token that a tokenizer must have for an objective.
/// The id of a special token, if the model has a row for it.
pub(crate) fn special(
    model: &LoadedModel,
    id: Option<u32>,
    token: &'static str,
    hint: &'static str,
) -> Result<u32, Error> {
    let rows = model.architecture().vocab_size;
    match id {
        Some(id) if (id as usize) < rows => Ok(id),
        _ => Err(Error::NoSpecialToken {
            path: model.checkpoint().folder().to_owned(),
            token,
            hint,
        }),
    }
}

impl TokenPlan {
    /// The plan for a language-model objective.
    pub(super) fn new(
        model: &LoadedModel,
        objective: &Objective,
        token_ids: bool,
        max_length: usize,
        too_long: TooLong,
        stride: Option<usize>,
    ) -> Result<Self, Error> {
        let arch = model.architecture();
        let vocabulary = arch.vocab_size;
        let (kind, room, most) = match *objective {
            Objective::MaskedLm { masking } => {
                let kind = Kind::masked(model, masking)?;
                let room = max_length.saturating_sub(FRAME);
                (kind, room, room)
            }
            Objective::CausalLm { bos } => {
                let bos = bos
                    .then(|| {
                        let id = model.tokenizer()?.bos_id();
                        special(model, id, "beginning-of-text", "score the texts without it")
                    })
                    .transpose()?;
                // A window that begins with a token that counts would have no context for it.
                (
                    Kind::Causal { bos },
                    max_length,
                    max_length.saturating_sub(1),
                )
            }
            Objective::Labels => {
                return Err(Error::NoObjective {
                    path: model.checkpoint().folder().to_owned(),
                    found: arch.head.description(),
                });
            }
        };
        if most == 0 {
            return Err(Error::Option {
                option: "the maximum length",
                value: max_length.to_string(),
                reason: "it leaves no token to predict; give at least 2 tokens for a causal and 3 for \
                         a masked language model",
            });
        }
        let stride = match stride {
            None => (room / 2).max(1),
            Some(stride) if too_long != TooLong::Window => {
                return Err(Error::StrideOfNothing { stride });
            }
            Some(stride) if (1..=most).contains(&stride) => stride,
            Some(stride) => {
                return Err(Error::Stride {
                    stride,
                    most,
                    length: max_length,
                });
            }
        };
        Ok(Self {
            needs_tokenizer: !token_ids || !matches!(kind, Kind::Causal { .. }),
            kind,
            too_long,
            room,
            stride,
            vocabulary,
        })
    }

    pub(super) fn stride(&self) -> usize {
        self.stride
    }

    /// The tokenizer, where documents need one.
    pub(super) fn tokenizer<'a>(
        &self,
        model: &'a LoadedModel,
    ) -> Result<Option<&'a Tokenizer>, Error> {
        self.needs_tokenizer.then(|| model.tokenizer()).transpose()
    }

    fn document(
        &self,
        index: u64,
        example: Example,
        tokenizer: Option<&Tokenizer>,
    ) -> Result<Document, Error> {
        if example.pair.is_some() {
            return Err(Error::PairOfTexts);
        }
        let (mut ids, mut ends) = match (example.token_ids, tokenizer) {
            (Some(ids), _) => {
                let ids = self.checked(ids)?;
                (self.without_frame(ids), Vec::new())
            }
            (None, Some(tokenizer)) => self.plain(tokenizer, &example.text)?,
            // The plan asks for a tokenizer wherever there are texts.
            (None, None) => (Vec::new(), Vec::new()),
        };
        if let Kind::Causal { bos: Some(bos) } = self.kind {
            ids.insert(0, bos);
            if ends.len() + 1 == ids.len() {
                ends.insert(0, 0);
            }
        }
        let excess = ids.len().saturating_sub(self.room);
        if excess > 0 && self.too_long == TooLong::Error {
            let frame = match self.kind {
                Kind::Causal { .. } => 0,
                Kind::Masked { .. } => FRAME,
            };
            return Err(Error::TooLong {
                tokens: ids.len() + frame,
                limit: self.room + frame,
            });
        }
        let cut = if self.too_long == TooLong::Cut {
            excess
        } else {
            0
        };
        ids.truncate(ids.len() - cut);
        Ok(Document {
            index,
            line: example.line,
            windows: windows(ids.len(), self.room, self.stride),
            ids,
            ends,
            cut,
            number: 0,
            given: 0,
        })
    }

    /// The tokens of a text without special ones, and for causal models where each ends in the text,
    /// in bytes.
    fn plain(&self, tokenizer: &Tokenizer, text: &str) -> Result<(Vec<u32>, Vec<usize>), Error> {
        let encoding = tokenizer.encode_plain(text)?;
        let ends = match self.kind {
            Kind::Causal { .. } => {
                let offsets = encoding.byte_offsets(text, None);
                offsets.into_iter().map(|(_, end)| end).collect()
            }
            Kind::Masked { .. } => Vec::new(),
        };
        Ok((encoding.ids, ends))
    }

    fn checked(&self, ids: Vec<u32>) -> Result<Vec<u32>, Error> {
        match ids.iter().position(|id| *id as usize >= self.vocabulary) {
            Some(at) => Err(Error::TokenId {
                id: ids[at],
                column: at + 1,
                vocabulary: self.vocabulary,
            }),
            None => Ok(ids),
        }
    }

    /// Ids that come with their own special tokens around them get them back in every window.
    fn without_frame(&self, mut ids: Vec<u32>) -> Vec<u32> {
        if let Kind::Masked { cls, sep, .. } = &self.kind
            && ids.len() >= 2
            && ids.first() == Some(cls)
            && ids.last() == Some(sep)
        {
            ids.pop();
            ids.remove(0);
        }
        ids
    }

    /// A window as the model takes it, or nothing if no token of it is a target.
    fn prepare(
        &self,
        document: &Document,
        window: Window,
        number: usize,
    ) -> Option<Passage<ExampleItem>> {
        let part = &document.ids[window.range()];
        let (ids, targets) = match &self.kind {
            Kind::Causal { .. } => {
                let first = window.fresh.max(window.start + 1);
                let next = (window.start + 1..=window.end)
                    .map(|at| (first..window.end).contains(&at).then(|| document.ids[at]));
                (part.to_vec(), next.collect::<Vec<_>>())
            }
            Kind::Masked {
                cls,
                sep,
                special,
                hiding,
            } => {
                let mut ids = Vec::with_capacity(part.len() + FRAME);
                ids.push(*cls);
                ids.extend_from_slice(part);
                ids.push(*sep);
                let context = 1 + window.fresh - window.start;
                let candidates: Vec<usize> = (context..1 + part.len())
                    .filter(|at| !special.contains(&ids[*at]))
                    .collect();
                let whole = ids.clone();
                let selected = match hiding {
                    None => candidates,
                    Some((hiding, seed)) => {
                        let mut draws = Draws::of_window(*seed, document.index, number as u64);
                        hiding.hide(&mut ids, &candidates, &mut draws)
                    }
                };
                let mut targets = vec![None; ids.len()];
                for at in selected {
                    targets[at] = Some(whole[at]);
                }
                (ids, targets)
            }
        };
        let count = targets.iter().flatten().count();
        (count > 0).then(|| Passage {
            sequence: Sequence::new(ids),
            target: Some(Target::Tokens(targets)),
            item: ExampleItem {
                index: document.index,
                line: document.line,
                window: number,
                label: None,
                targets: count,
                bytes: document.bytes(window),
                truncated: if number == 0 { document.cut } else { 0 },
            },
        })
    }
}

impl Kind {
    fn masked(model: &LoadedModel, masking: TokenMasking) -> Result<Self, Error> {
        let tokenizer = model.tokenizer()?;
        let frame = "take a checkpoint with its tokenizer's special tokens";
        let hiding = hiding(model, masking)?;
        Ok(Self::Masked {
            cls: special(model, tokenizer.cls_id(), "beginning (`[CLS]`)", frame)?,
            sep: special(model, tokenizer.sep_id(), "end (`[SEP]`)", frame)?,
            special: never_predicted(tokenizer),
            hiding,
        })
    }
}

/// How tokens are hidden, and with which seed; `None` where the text stays as it is.
pub(crate) fn hiding(
    model: &LoadedModel,
    masking: TokenMasking,
) -> Result<Option<(Hiding, u64)>, Error> {
    let TokenMasking::Random { probability, seed } = masking else {
        return Ok(None);
    };
    if !(probability > 0.0 && probability <= 1.0) {
        return Err(Error::Option {
            option: "the share of tokens to predict",
            value: probability.to_string(),
            reason: "give a number above 0 and at most 1, or leave the text unmasked",
        });
    }
    let tokenizer = model.tokenizer()?;
    let rows = model.architecture().vocab_size;
    let hiding = Hiding {
        probability,
        mask: special(
            model,
            tokenizer.mask_id(),
            "mask",
            "predict all tokens unmasked instead",
        )?,
        vocabulary: tokenizer.vocab_size().clamp(1, rows),
    };
    Ok(Some((hiding, seed)))
}

/// The special tokens, which a masked language model is never asked for.
pub(crate) fn never_predicted(tokenizer: &Tokenizer) -> Vec<u32> {
    let ids = [
        tokenizer.pad_id(),
        tokenizer.cls_id(),
        tokenizer.sep_id(),
        tokenizer.mask_id(),
        tokenizer.unk_id(),
        tokenizer.bos_id(),
        tokenizer.eos_id(),
    ];
    ids.into_iter().flatten().collect()
}

/// A document while its windows are handed out.
#[derive(Debug)]
struct Document {
    index: u64,
    line: u64,
    ids: Vec<u32>,
    /// Where each token ends in the text, in bytes; empty where there is no text.
    ends: Vec<usize>,
    cut: usize,
    windows: Windows,
    /// Of the next window.
    number: usize,
    /// Windows with targets so far.
    given: usize,
}

impl Document {
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
    plan: &'a TokenPlan,
    tokenizer: Option<&'a Tokenizer>,
    reader: ExampleReader,
    document: Option<Document>,
    pub(super) counts: DocumentCounts,
}

impl<'a> WindowReader<'a> {
    pub(super) fn new(
        source: &'a Source,
        plan: &'a TokenPlan,
        model: &'a LoadedModel,
    ) -> Result<Self, Error> {
        Ok(Self {
            source,
            plan,
            tokenizer: plan.tokenizer(model)?,
            reader: source.open()?,
            document: None,
            counts: DocumentCounts::default(),
        })
    }

    /// The reader of the file, for its account at the end.
    pub(super) fn into_reader(self) -> ExampleReader {
        self.reader
    }

    fn begin(&mut self, example: Example) -> Result<(), Error> {
        let line = example.line;
        let document = self
            .plan
            .document(self.counts.documents, example, self.tokenizer)
            .map_err(|error| blame(self.source, line, error))?;
        self.counts.documents += 1;
        if document.cut > 0 {
            self.counts.cut += 1;
            self.counts.tokens_cut += document.cut as u64;
        }
        self.document = Some(document);
        Ok(())
    }

    /// The next window of the document at hand.
    fn window(&mut self) -> Option<Passage<ExampleItem>> {
        let document = self.document.as_mut()?;
        while let Some(window) = document.windows.next() {
            let number = document.number;
            document.number += 1;
            if let Some(prepared) = self.plan.prepare(document, window, number) {
                document.given += 1;
                self.counts.windows += 1;
                self.counts.targets += prepared.item.targets as u64;
                return Some(prepared);
            }
        }
        match document.given {
            0 => self.counts.without_targets += 1,
            given => self.counts.windows_without_targets += (document.number - given) as u64,
        }
        self.counts.windowed += u64::from(document.given > 1);
        self.document = None;
        None
    }
}

impl Iterator for WindowReader<'_> {
    type Item = Result<Passage<ExampleItem>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(prepared) = self.window() {
                return Some(Ok(prepared));
            }
            let begun = match self.reader.next()? {
                Ok(example) => self.begin(example),
                Err(error) => Err(error.into()),
            };
            if let Err(error) = begun {
                return Some(Err(error));
            }
        }
    }
}
