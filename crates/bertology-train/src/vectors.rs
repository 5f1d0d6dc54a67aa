//! Word vectors from a text file: a word and its numbers a line, as GloVe writes them; the header line of
//! word2vec's text format is tolerated.

use std::collections::{BTreeMap, HashSet};
use std::io::{BufRead, BufReader};
use std::path::Path;

use bertology::LoadedModel;
use bertology::checkpoint::Parameter;

use crate::{Error, Sentence};

/// Vectors of the words that were asked for.
#[derive(Debug, Clone)]
pub struct WordVectors {
    dim: usize,
    values: BTreeMap<String, Vec<f32>>,
    lines: u64,
}

impl WordVectors {
    /// Reads those vectors of a file whose word is among `wanted` (lower-cased); the rest of the file is only
    /// looked through.
    ///
    /// A word may hold spaces: the numbers are the last fields of a line. Of a word that occurs twice the
    /// first line counts.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::NoVectors`], or [`Error::Vectors`]: a line that is shorter than the first, or a
    /// wanted word's number that is none.
    pub fn read(path: &Path, wanted: &HashSet<String>) -> Result<Self, Error> {
        let file = bertology_file::open(path).map_err(Error::io("read", path))?;
        let mut reader = BufReader::with_capacity(1 << 20, file);
        let mut found = Self {
            dim: 0,
            values: BTreeMap::new(),
            lines: 0,
        };
        let mut header = None;
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            let read = reader
                .read_until(b'\n', &mut line)
                .map_err(Error::io("read", path))?;
            if read == 0 {
                break;
            }
            let fault = |what: String| Error::Vectors {
                path: path.to_owned(),
                line: number,
                what,
            };
            // Files of vectors hold words in doubtful encodings; such a word is nobody's.
            let text = String::from_utf8_lossy(&line);
            let text = text.trim_end_matches(['\n', '\r', ' ', '\t']);
            if text.is_empty() {
                continue;
            }
            if number == 1 {
                header = word2vec_header(text);
                if header.is_some() {
                    continue;
                }
            }
            if found.dim == 0 {
                found.dim = match header {
                    Some(dim) => dim,
                    None => text.split([' ', '\t']).count() - 1,
                };
                if found.dim == 0 {
                    return Err(fault(
                        "a word without numbers; write a word and its vector".into(),
                    ));
                }
            }
            let mut fields = text.rsplitn(found.dim + 1, [' ', '\t']);
            let numbers: Vec<&str> = fields.by_ref().take(found.dim).collect();
            let (Some(word), true) = (fields.next(), numbers.len() == found.dim) else {
                return Err(fault(format!(
                    "{} numbers, but the lines before have {}; the file may be cut off",
                    text.split([' ', '\t']).count() - 1,
                    found.dim
                )));
            };
            found.lines += 1;
            if !wanted.contains(word) || found.values.contains_key(word) {
                continue;
            }
            let vector = numbers
                .iter()
                .rev()
                .map(|number| match number.parse::<f32>() {
                    Ok(value) if value.is_finite() => Ok(value),
                    _ => Err(fault(format!(
                        "`{number}` in the vector of `{word}` is not a number"
                    ))),
                })
                .collect::<Result<Vec<_>, _>>()?;
            found.values.insert(word.to_owned(), vector);
        }
        if found.lines == 0 {
            return Err(Error::NoVectors { path: path.into() });
        }
        Ok(found)
    }

    /// Length of a vector.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Lines of the file that hold a vector.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// The words that were wanted and found, in order, with their vectors.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[f32])> {
        self.values
            .iter()
            .map(|(word, vector)| (word.as_str(), vector.as_slice()))
    }

    /// The vector of a word, lower-cased before it is looked up; nothing if the file has none.
    #[must_use]
    pub fn get(&self, word: &str) -> Option<&[f32]> {
        self.values.get(&word.to_lowercase()).map(Vec::as_slice)
    }
}

/// Where the vectors of words come from.
#[derive(Debug, Clone)]
pub enum Vectors {
    /// No probe reads words.
    None,
    /// From a file; a word that it does not have is zero.
    File(WordVectors),
    /// The model's own embedding layer: the mean of the rows of a word's tokens, without positions or norm; a word
    /// without tokens is zero.
    Embeddings {
        /// `[token, dim]`.
        table: Vec<f32>,
        /// Length of a row.
        dim: usize,
    },
}

impl Vectors {
    /// The embedding layer of a model.
    ///
    /// # Errors
    /// A checkpoint whose table cannot be read.
    pub fn embeddings(model: &LoadedModel) -> Result<Self, Error> {
        let table = model.checkpoint().values(Parameter::WordEmbeddings);
        let table = table
            .map_err(bertology::Error::from)?
            .ok_or(Error::NoEmbeddings)?;
        let dim = table.len() / model.architecture().vocab_size.max(1);
        Ok(Self::Embeddings { table, dim })
    }

    /// Length of a vector.
    #[must_use]
    pub fn dim(&self) -> usize {
        match self {
            Self::None => 0,
            Self::File(vectors) => vectors.dim(),
            Self::Embeddings { dim, .. } => *dim,
        }
    }

    /// The vectors of a sentence's words, `[word, dim]`; gives how many words have none.
    pub(crate) fn of(&self, sentence: &Sentence, out: &mut Vec<f32>) -> u64 {
        let mut unknown = 0;
        let dim = self.dim();
        let words = &sentence.words;
        for (word, unit) in words.words().enumerate() {
            let start = out.len();
            out.resize(start + dim, 0.0);
            let vector = &mut out[start..];
            let known = match self {
                Self::None => true,
                Self::File(vectors) => match vectors.get(&sentence.forms[word]) {
                    Some(found) => {
                        vector.copy_from_slice(found);
                        true
                    }
                    None => false,
                },
                Self::Embeddings { table, .. } => {
                    let tokens = &sentence.ids[words.tokens_of(unit)];
                    for id in tokens {
                        let row = &table[*id as usize * dim..][..dim];
                        for (sum, value) in vector.iter_mut().zip(row) {
                            *sum += value / tokens.len() as f32;
                        }
                    }
                    !tokens.is_empty()
                }
            };
            unknown += u64::from(!known);
        }
        unknown
    }
}

/// `400000 100`: number of words and length of a vector.
fn word2vec_header(text: &str) -> Option<usize> {
    let (count, dim) = text.split_once(' ')?;
    count.parse::<u64>().ok()?;
    dim.parse().ok().filter(|dim| *dim > 0)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(text: &str, wanted: &[&str]) -> Result<WordVectors, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let wanted = wanted.iter().map(|&word| word.to_owned()).collect();
        WordVectors::read(file.path(), &wanted).map_err(|error| error.to_string())
    }

    #[test]
    fn words_are_looked_up_in_lower_case() {
        let text = "the 1 2.5\ncat -1e-1 3\n. . 7 8\nthe 9 9\n\nThe 4 4\n";
        let found = read(text, &["the", "cat", ". .", "dog"]).unwrap();
        assert_eq!((found.dim(), found.lines()), (2, 5));
        assert_eq!(found.get("The"), Some(&[1.0, 2.5][..]));
        assert_eq!(found.get("cat"), Some(&[-0.1, 3.0][..]));
        assert_eq!(found.get(". ."), Some(&[7.0, 8.0][..]));
        assert_eq!(found.get("dog"), None);
    }

    #[test]
    fn the_header_of_word2vec_is_no_word() {
        let found = read("2 3\nthe 1 2 3\r\ncat 4 5 6\r\n", &["the", "2"]).unwrap();
        assert_eq!((found.dim(), found.lines()), (3, 2));
        assert_eq!(found.get("the"), Some(&[1.0, 2.0, 3.0][..]));
        assert_eq!(found.get("2"), None);
    }

    #[test]
    fn damage_is_an_error_with_its_line() {
        let fault = read("the 1 2\ncat 3\n", &["the"]).unwrap_err();
        assert!(fault.contains("line 2: 1 numbers"), "{fault}");
        let fault = read("the 1 2\ncat 3 x\n", &["cat"]).unwrap_err();
        assert!(fault.contains("line 2: `x`"), "{fault}");
        let fault = read("the 1 NaN\n", &["the"]).unwrap_err();
        assert!(fault.contains("`NaN`"), "{fault}");
        assert!(read("", &[]).unwrap_err().contains("no word vector"));
        assert!(read("the\n", &[]).unwrap_err().contains("without numbers"));
    }
}
