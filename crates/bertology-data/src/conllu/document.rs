//! Sentences grouped into documents.

use std::path::Path;

use super::fault::TreebankFault;
use super::reader::{TreebankCounts, TreebankInfo, TreebankMark, TreebankReader};
use super::sentence::Sentence;
use crate::error::DataError;
use crate::source::DEFAULT_MAX_DOCUMENT_BYTES;

/// The sentences from one `# newdoc` to the next. A file without any is one document.
///
/// [`Document::mentions`] resolves its coreference.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Document {
    /// The name in `# newdoc id`, if it has one.
    pub id: Option<String>,
    /// The sentences, in order; at least one from a reader.
    pub sentences: Vec<Sentence>,
}

/// Hands out the documents of a treebank one by one, holding one at a time (and the sentence that
/// begins the next), of at most [`DEFAULT_MAX_DOCUMENT_BYTES`].
///
/// The first error ends the iteration.
#[derive(Debug)]
pub struct DocumentReader {
    sentences: TreebankReader,
    /// First sentence of the next document, the bytes of its lines, and the place before it.
    pending: Option<(Sentence, usize, TreebankMark)>,
    limit: Option<usize>,
    max_bytes: usize,
    ended: bool,
}

impl DocumentReader {
    pub(super) fn new(sentences: TreebankReader, limit: Option<usize>) -> Self {
        Self {
            sentences,
            pending: None,
            limit,
            max_bytes: DEFAULT_MAX_DOCUMENT_BYTES,
            ended: false,
        }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.sentences.path()
    }

    /// Bytes taken from the file so far, for a progress bar; runs ahead by the buffer's 16 KiB.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.sentences.bytes_read()
    }

    /// The place behind the last document.
    #[must_use]
    pub fn mark(&self) -> TreebankMark {
        let now = self.sentences.mark();
        match &self.pending {
            // Its sentences are read, but not handed out.
            Some((_, _, before)) => before.with_counts_of(&now),
            None => now,
        }
    }

    /// What was handed out so far.
    #[must_use]
    pub fn counts(&self) -> &TreebankCounts {
        self.sentences.counts()
    }

    /// Reads the rest of the file only to hash it, and gives the account of the whole.
    ///
    /// # Errors
    ///
    /// [`DataError::Io`] if the rest cannot be read.
    pub fn finish(self) -> Result<TreebankInfo, DataError> {
        self.sentences.finish_with_limit(self.limit)
    }

    fn read(&mut self) -> Result<Option<Document>, DataError> {
        let first = match self.pending.take() {
            Some((first, bytes, _)) => Some((first, bytes)),
            None => self.sentences.read()?,
        };
        let Some((first, mut bytes)) = first else {
            return Ok(None);
        };
        let id = first.new_document.as_ref();
        let mut document = Document {
            id: id.and_then(|start| start.id.clone()),
            sentences: vec![first],
        };
        loop {
            let before = self.sentences.mark();
            let Some((sentence, more)) = self.sentences.read()? else {
                break;
            };
            if sentence.new_document.is_some() {
                self.pending = Some((sentence, more, before));
                break;
            }
            document.sentences.push(sentence);
            bytes += more;
            if bytes > self.max_bytes {
                return Err(self.too_long(&document));
            }
        }
        for sentence in &document.sentences {
            self.sentences.hand_out(sentence);
        }
        Ok(Some(document))
    }

    fn too_long(&self, document: &Document) -> DataError {
        let first = document.sentences.first();
        DataError::Treebank {
            path: self.path().to_owned(),
            line: first.map_or(1, |sentence| sentence.line),
            sentence: first.and_then(|sentence| sentence.id.clone()),
            fault: Box::new(TreebankFault::DocumentTooLong {
                limit: self.max_bytes,
            }),
        }
    }
}

impl Iterator for DocumentReader {
    type Item = Result<Document, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let given = self.counts().documents;
        if self.ended || self.limit.is_some_and(|limit| given >= limit as u64) {
            return None;
        }
        let error = match self.read() {
            Ok(Some(document)) => return Some(Ok(document)),
            Ok(None) if given > 0 => {
                self.ended = true;
                return None;
            }
            Ok(None) => self.sentences.nothing_found(),
            Err(error) => error,
        };
        self.ended = true;
        Some(Err(error))
    }
}

impl std::iter::FusedIterator for DocumentReader {}

#[cfg(test)]
mod tests {
    use crate::conllu::Treebank;

    #[test]
    fn a_document_may_not_outgrow_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("one.conllu");
        let word = "1\ta\t_\t_\t_\t_\t0\troot\t_\t_\n\n";
        std::fs::write(&file, format!("# sent_id = s1\n{}", word.repeat(3))).unwrap();
        let mut documents = Treebank::new(&file).open_documents().unwrap();
        documents.max_bytes = 2 * (word.len() - 1);
        let error = documents.next().unwrap().unwrap_err().to_string();
        assert!(
            error.contains("line 1, sentence `s1`: the document that begins here is longer"),
            "{error}"
        );
        assert!(documents.next().is_none());
        documents = Treebank::new(&file).open_documents().unwrap();
        documents.max_bytes = 3 * (word.len() - 1);
        assert_eq!(documents.next().unwrap().unwrap().sentences.len(), 3);
    }
}
