//! Prints the tokens of a text file, one JSON object a text, for comparison with other tokenizers:
//! `encode FOLDER FILE [--plain] [--whole]`.
//!
//! Each line of the file is a text (lines end with `\n`; a `\r` before it belongs to the text);
//! with `--whole` the file is one. With `--plain` no special tokens are added.
//! `tools/parity/tokens.py` compares the output with transformers.

use std::error::Error;
use std::io::Write;

use bertology_tokenizer::Tokenizer;

fn main() -> Result<(), Box<dyn Error>> {
    let (mut paths, mut plain, mut whole) = (Vec::new(), false, false);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--plain" => plain = true,
            "--whole" => whole = true,
            flag if flag.starts_with("--") => return Err(format!("unknown option {flag}").into()),
            _ => paths.push(argument),
        }
    }
    let [folder, file] = paths.as_slice() else {
        return Err("usage: encode FOLDER FILE [--plain] [--whole]".into());
    };

    let tokenizer = Tokenizer::from_folder(folder)?;
    let text = std::fs::read_to_string(file)?;
    let texts: Vec<&str> = if whole {
        vec![&text]
    } else {
        text.split('\n').collect()
    };
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for text in texts {
        let encoding = if plain {
            tokenizer.encode_plain(text)?
        } else {
            tokenizer.encode(text, None, None)?
        };
        let object = serde_json::json!({
            "input_ids": encoding.ids,
            "token_type_ids": encoding.segment_ids,
            "offsets": encoding.offsets,
            "word_ids": encoding.words,
        });
        writeln!(out, "{object}")?;
    }
    out.flush()?;
    Ok(())
}
