//! Settings from the configuration file, in TOML.

use std::{io::Read as _, path::Path, sync::Arc};

use toml::de::DeTable;

use super::{
    ConfigError, Raw, nearest,
    raw::{Form, Given, KEYS, Origin, Source},
};

/// A configuration has some dozen lines; a larger file is another one.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Reads the settings in a file.
///
/// # Errors
/// When it cannot be read, is not TOML, has a key that is no setting, or a value of another kind;
/// each with its line.
pub(crate) fn read_file(path: &Path) -> Result<Raw, ConfigError> {
    let fail = |why: String| {
        ConfigError::one(format!("cannot read the configuration file {}: {why}", path.display()))
    };
    let file = std::fs::File::open(path).map_err(|error| fail(error.to_string()))?;
    let mut text = String::new();
    let length = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
    match length {
        Ok(length) if u64::try_from(length).is_ok_and(|length| length <= FILE_BYTES_MAX) => {
            parse(&text, path)
        }
        Ok(_) => Err(fail("it is larger than 1 MB, which no configuration is".to_owned())),
        Err(error) => Err(fail(error.to_string())),
    }
}

/// The settings in the text of a file.
pub(super) fn parse(text: &str, path: &Path) -> Result<Raw, ConfigError> {
    let table = DeTable::parse(text).map_err(|error| {
        let line = line_of(text, error.span().map_or(0, |span| span.start));
        let what = error.message().trim().replace('\n', "; ");
        ConfigError::one(format!("{}:{line}: the file is not valid TOML: {what}", path.display()))
    })?;
    let table = table.into_inner();
    let mut source = File { text, file: path.into(), table, problems: Vec::new() };
    source.check_keys();
    let raw = Raw::read(&mut source);
    if source.problems.is_empty() { Ok(raw) } else { Err(ConfigError(source.problems)) }
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

struct File<'a> {
    text: &'a str,
    file: Arc<Path>,
    table: DeTable<'a>,
    problems: Vec<String>,
}

impl File<'_> {
    fn check_keys(&mut self) {
        for key in self.table.keys() {
            let name = key.get_ref();
            if KEYS.contains(&name.as_ref()) {
                continue;
            }
            let line = line_of(self.text, key.span().start);
            let hint = match nearest(name, KEYS.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known keys are {}", KEYS.join(", ")),
            };
            self.problems
                .push(format!("{}:{line}: unknown key `{name}`; {hint}", self.file.display()));
        }
    }
}

impl Source for File<'_> {
    fn value<T: Form>(&mut self, key: &'static str) -> Option<Given<T>> {
        let (name, value) = self.table.iter().find(|(name, _)| name.get_ref() == key)?;
        let line = line_of(self.text, name.span().start);
        match T::from_toml(value.get_ref()) {
            Some(value) => {
                let file = Arc::clone(&self.file);
                Some(Given { value, from: Origin::File { key, file, line } })
            }
            None => {
                let found = value.get_ref().type_str();
                self.problems.push(format!(
                    "{}:{line}: `{key}` is of the type {found}: expected {}",
                    self.file.display(),
                    T::EXPECTED
                ));
                None
            }
        }
    }
}
