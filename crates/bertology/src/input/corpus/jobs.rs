//! What the workers take, in file order.

use bertology_data::{Example, ExampleReader};

use super::Prepared;
use super::documents::WindowReader;
use crate::Error;

/// About a batch of examples at a time.
#[derive(Debug)]
pub(crate) struct Jobs<'a> {
    batch_tokens: usize,
    max_length: usize,
    feed: Feed<'a>,
}

#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "one of them lives as long as a pass"
)]
enum Feed<'a> {
    Rows { reader: ExampleReader, next: u64 },
    Windows(WindowReader<'a>),
}

/// What one worker takes.
#[derive(Debug)]
pub(crate) enum Job {
    /// Rows with their place in the file, not yet encoded: that is for the workers.
    Rows(Vec<(u64, Example)>),
    /// Windows. A document is encoded before it is divided, so that a long one is shared between the
    /// workers.
    Windows(Vec<Prepared>),
}

impl<'a> Jobs<'a> {
    /// Labelled rows from the one at `skip` on.
    pub(super) fn of_rows(
        mut reader: ExampleReader,
        skip: u64,
        batch_tokens: usize,
        max_length: usize,
    ) -> Result<Self, Error> {
        for example in reader.by_ref().take(skip as usize) {
            example?;
        }
        Ok(Self {
            batch_tokens,
            max_length,
            feed: Feed::Rows { reader, next: skip },
        })
    }

    /// Windows from the one at `skip` on.
    pub(super) fn of_windows(
        mut windows: WindowReader<'a>,
        skip: u64,
        batch_tokens: usize,
        max_length: usize,
    ) -> Result<Self, Error> {
        for window in windows.by_ref().take(skip as usize) {
            window?;
        }
        Ok(Self {
            batch_tokens,
            max_length,
            feed: Feed::Windows(windows),
        })
    }
}

impl Iterator for Jobs<'_> {
    type Item = Result<Job, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut tokens = 0;
        match &mut self.feed {
            Feed::Rows { reader, next } => {
                let mut job = Vec::new();
                while tokens < self.batch_tokens {
                    match reader.next() {
                        None => break,
                        Some(Err(error)) => return Some(Err(error.into())),
                        Some(Ok(example)) => {
                            // English has about four bytes a token; a worker splits what was more.
                            let pair = example.pair.as_ref().map_or(0, String::len);
                            let bytes = example.text.len() + pair;
                            tokens += (3 + bytes / 4).min(self.max_length);
                            job.push((*next, example));
                            *next += 1;
                        }
                    }
                }
                (!job.is_empty()).then_some(Ok(Job::Rows(job)))
            }
            Feed::Windows(windows) => {
                let mut job = Vec::new();
                while tokens < self.batch_tokens {
                    match windows.next() {
                        None => break,
                        Some(Err(error)) => return Some(Err(error)),
                        Some(Ok(window)) => {
                            tokens += window.sequence.len();
                            job.push(window);
                        }
                    }
                }
                (!job.is_empty()).then_some(Ok(Job::Windows(job)))
            }
        }
    }
}
