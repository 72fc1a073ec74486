//! What the tasks do, and the plain count that the result is checked against.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use crate::{Failure, options::Text};

/// How often each word occurs.
pub(crate) type Counts = BTreeMap<String, u64>;

/// The map task: counts the words of one text into one file.
pub(crate) fn map(arguments: &[String]) -> Result<(), Failure> {
    let [text, part] = arguments else { return Err("usage: wordcount map TEXT PART".into()) };
    write_counts(Path::new(part), &count(Path::new(text))?)
}

/// The reduce task: adds up the parts.
pub(crate) fn reduce(arguments: &[String]) -> Result<(), Failure> {
    let [result, parts @ ..] = arguments else {
        return Err("usage: wordcount reduce RESULT PART...".into());
    };
    let mut sum = Counts::new();
    for part in parts {
        for (word, count) in read_counts(Path::new(part))? {
            *sum.entry(word).or_default() += count;
        }
    }
    write_counts(Path::new(result), &sum)
}

/// The plain count.
pub(crate) fn count_files(texts: &[Text]) -> Result<Counts, Failure> {
    let mut sum = Counts::new();
    for text in texts {
        for (word, count) in count(&text.path)? {
            *sum.entry(word).or_default() += count;
        }
    }
    Ok(sum)
}

/// Reads what [`map`] or [`reduce`] wrote.
pub(crate) fn read_counts(file: &Path) -> Result<Counts, Failure> {
    let mut counts = Counts::new();
    for line in read(file)?.lines() {
        let (count, word) = line.split_once(' ').ok_or_else(|| format!("bad line {line:?}"))?;
        counts.insert(word.to_owned(), count.parse()?);
    }
    Ok(counts)
}

fn count(text: &Path) -> Result<Counts, Failure> {
    let mut counts = Counts::new();
    for word in read(text)?.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        *counts.entry(word.to_lowercase()).or_default() += 1;
    }
    Ok(counts)
}

/// Writes beside and renames, so that a task that is killed leaves no half of a part.
fn write_counts(file: &Path, counts: &Counts) -> Result<(), Failure> {
    let lines: String = counts.iter().map(|(word, count)| format!("{count} {word}\n")).collect();
    let fresh = PathBuf::from(format!("{}.new-{}", file.display(), std::process::id()));
    fs::write(&fresh, lines)?;
    fs::rename(&fresh, file)?;
    Ok(())
}

fn read(file: &Path) -> Result<String, Failure> {
    let bytes =
        fs::read(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
