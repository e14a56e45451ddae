//! Reading the Corefile.

use std::io::{self, IsTerminal, Read};
use std::path::Path;
use std::sync::OnceLock;

use crate::args::Args;
use crate::chain::setup::Registration;
use crate::corefile::{self, Corefile, Vocabulary};
use crate::error::{Complaint, Error, Result, is_out_of_files, words};
use crate::host::metrics::Metrics;
use crate::node::source;

/// Where configurations come from, at start and at each reload.
pub struct Loader {
    source: Source,
    served: Vec<&'static str>,
    elsewhere: &'static [&'static str],
}

enum Source {
    File(String),
    /// Made from the template of a node cache.
    Node(Box<source::NodeCorefile>),
    /// Standard input can be read only once: its text, once it has been read.
    Stdin(OnceLock<String>),
    BuiltIn,
}

impl Loader {
    /// Returns a loader for what the command line names.
    #[must_use]
    pub fn new(args: &Args, plugins: &[Registration], elsewhere: &'static [&'static str], metrics: &Metrics) -> Self {
        let conf = args.conf.as_deref();
        let source = match conf {
            _ if let Some(flags) = &args.node => {
                Source::Node(Box::new(source::NodeCorefile::new(flags, conf, &args.port, metrics)))
            }
            Some("stdin") if !io::stdin().is_terminal() => Source::Stdin(OnceLock::new()),
            Some("stdin") => Source::BuiltIn,
            Some(path) => Source::File(path.to_owned()),
            None if Path::new("Corefile").exists() => Source::File("Corefile".into()),
            None => Source::BuiltIn,
        };
        Self { source, served: plugins.iter().map(|plugin| plugin.name).collect(), elsewhere }
    }

    /// Returns the Corefile's name for messages.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.source {
            Source::File(path) => path,
            Source::Node(_) | Source::BuiltIn => "the Corefile",
            Source::Stdin(_) => "stdin",
        }
    }

    /// Reads and parses the current Corefile. This may block for as long as the file system does.
    ///
    /// # Errors
    /// The file is missing, or the first error in it.
    pub fn load(&self) -> Result<Corefile> {
        let (name, text) = match &self.source {
            Source::File(path) => (path.clone(), read(path)?),
            Source::Node(source) => {
                let (name, bytes) = source.read()?;
                (name, corefile::decode(&bytes))
            }
            Source::Stdin(text) => ("stdin".into(), from_stdin(text)?),
            Source::BuiltIn => (String::new(), String::new()),
        };
        let vocabulary = Vocabulary { served: &self.served, elsewhere: self.elsewhere };
        corefile::parse(&text, &name, &|name: &str| std::env::var(name).ok(), &vocabulary)
    }
}

fn from_stdin(text: &OnceLock<String>) -> Result<String> {
    if let Some(text) = text.get() {
        return Ok(text.clone());
    }
    let mut bytes = Vec::new();
    let read = io::stdin().read_to_end(&mut bytes);
    read.map_err(|source| Error::Io { what: "read the Corefile from standard input".into(), source })?;
    Ok(text.get_or_init(|| corefile::decode(&bytes)).clone())
}

fn read(path: &str) -> Result<String> {
    let bytes = std::fs::read(path).map_err(|error| unreadable(path, &error))?;
    // Otherwise it would be read as zones with NULs in them.
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(Error::Other(format!(
            "{path}: this is UTF-16\nhelp: a Corefile is UTF-8: `iconv -f UTF-16 -t UTF-8`"
        )));
    }
    Ok(corefile::decode(&bytes))
}

/// Returns why a Corefile cannot be read, and what to do.
fn unreadable(path: &str, error: &io::Error) -> Error {
    let help = match error.kind() {
        // The file is not the cause: the system's message names it.
        _ if is_out_of_files(error) => String::new(),
        io::ErrorKind::IsADirectory => {
            format!("name the file in it: -conf {}/Corefile", path.trim_end_matches('/'))
        }
        io::ErrorKind::PermissionDenied => "the user of the process must be able to read it".to_owned(),
        _ => "-conf FILE names the Corefile; in a pod it is mounted at /etc/coredns/Corefile".to_owned(),
    };
    let message = format!("loading Corefile via flag: open {path}: {}", words(error));
    Complaint::new(message).hint(help).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_is_about_what_is_wrong() {
        let said = |number| unreadable("/etc/coredns/Corefile", &io::Error::from_raw_os_error(number)).to_string();
        assert!(said(2).ends_with("no such file or directory\nhelp: -conf FILE names the Corefile; in a pod it is mounted at /etc/coredns/Corefile"));
        assert!(said(13).ends_with("permission denied\nhelp: the user of the process must be able to read it"));
        for number in [24, 23] {
            let said = said(number);
            assert!(!said.contains("-conf") && said.contains("`ulimit -n`, LimitNOFILE in systemd"), "{said}");
        }
    }
}
