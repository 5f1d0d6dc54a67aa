//! Making room for another extraction in the same folder.

use std::fs;
use std::io;
use std::path::Path;

use super::Format;

/// Files beside the shards.
const OTHERS: [&str; 2] = ["index.json", "tokens.json"];

/// Removes what an earlier extraction has left in a folder: shards, tables and indices, and nothing
/// else. A folder of tables goes too if nothing else is in it.
///
/// # Errors
/// What the file system refuses.
pub fn remove(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if is_table(name) {
                remove_shards(&path)?;
            }
        } else if is_shard(name) || OTHERS.contains(&name) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

fn remove_shards(folder: &Path) -> io::Result<()> {
    let mut others = false;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(is_shard) {
            fs::remove_file(entry.path())?;
        } else {
            others = true;
        }
    }
    if others {
        return Ok(());
    }
    fs::remove_dir(folder)
}

/// `shard-00012.npz` or the like.
fn is_shard(name: &str) -> bool {
    let rest = name.strip_prefix("shard-");
    rest.and_then(|rest| rest.split_once('.'))
        .is_some_and(|(number, extension)| {
            let formats = [Format::Safetensors, Format::Npz, Format::Parquet];
            number.len() >= 5
                && number.bytes().all(|byte| byte.is_ascii_digit())
                && formats.iter().any(|format| format.extension() == extension)
        })
}

fn is_table(name: &str) -> bool {
    const TABLES: [&str; 10] = [
        "examples",
        "tokens",
        "words",
        "queries",
        "keys",
        "values",
        "attention_scores",
        "attentions",
        "head_outputs",
        "head_contributions",
    ];
    TABLES.contains(&name.strip_prefix("gradients_").unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_files_stay() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        };
        let gone = [
            "index.json",
            "shard-00000.safetensors",
            "shard-123456.npz",
            "tokens/shard-00001.parquet",
            "gradients_keys/shard-00001.parquet",
        ];
        let kept = [
            "notes.txt",
            "shard-1.npz",
            "shard-00000.txt",
            "shard-0000x.npz",
            "mine/shard-00001.parquet",
            "words/notes.txt",
        ];
        gone.iter().chain(&kept).for_each(|name| write(name));
        remove(folder.path()).unwrap();
        for name in gone {
            assert!(!folder.path().join(name).exists(), "{name}");
        }
        for name in kept {
            assert!(folder.path().join(name).exists(), "{name}");
        }
        assert!(!folder.path().join("tokens").exists());
    }
}
