//! The format of a scenario: sections, each with words on its first line and text below.
//!
//! ```text
//! === Corefile                    The server's Corefile. PORT is its port, PORT2 to PORT9 are other free ones, in all sections.
//! === file PATH                   A file beside the Corefile.
//! === certificate NAME HOST...    NAME.pem and NAME.key, signed by the authority of ca.pem.
//! === ask NAME TYPE [WORDS]       A question, and its reply: see below.
//! === page PORT2 /PATH            What HTTP gets: the status, then parts of lines that the page must have.
//! === log                         Parts of lines that the server prints.
//! ! PART                          Below a page or a log: no line has this part once the wanted ones are there.
//! === change PATH                 Writes the file while the server runs; the Corefile too.
//! === remove PATH                 Removes it.
//! === coredns                     What CoreDNS shows in place of the section above.
//! === coredns not REASON          At the beginning: CoreDNS cannot play this scenario.
//! # A comment, in any section.
//! ```
//!
//! A question is asked, a page is read, until what comes is as written; the scenario fails after
//! [`PATIENCE`]. Words of a question, as those of `dig`: a class (`CH`), `@ADDRESS`,
//! `@ADDRESS:PORT2`, and
//! - `+tcp`: over TCP
//! - `+nsid`, `+bufsize=N`: with this option; with this payload size in place of 1232
//! - `+from=ADDRESS`: from another address of loopback
//! - `+do`: with signatures (the DO bit)
//! - `+order`: records as they came, not sorted
//! - `+nottl`: all TTLs are shown as 0
//! - `+sign=ALGORITHM:NAME:SECRET`: signed with this key (TSIG), `+ahead=SECONDS` by a clock that
//!   is ahead; the signature of the reply is checked
//!
//! The reply is written as `support::text` does. Below stand options of EDNS: `nsid TEXT` and
//! `error CODE TEXT`, of others `option CODE HEX`; and of a signed reply `tsig signed ERROR`, or
//! `tsig unsigned ERROR`. The client's port is shown as CLIENT, and `no
//! reply` means no reply within half a second.

use std::time::Duration;

use super::support::PATIENCE;

/// A scenario.
pub(crate) struct Script {
    /// Its sections, in their order.
    pub(crate) sections: Vec<Section>,
    /// How long the server may take until what comes is as written.
    pub(crate) patience: Duration,
}

/// One section.
pub(crate) struct Section {
    /// File and line of its first line.
    pub(crate) place: String,
    /// The words of its first line.
    pub(crate) words: Vec<String>,
    /// The lines below.
    pub(crate) text: String,
}

impl Script {
    /// Reads a scenario. `path` is what places are named after.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let mut sections: Vec<Section> = Vec::new();
        for (at, line) in text.lines().enumerate() {
            if let Some(head) = line.strip_prefix("=== ") {
                let words = head.split_whitespace().map(str::to_owned).collect();
                sections.push(Section { place: format!("{path}:{}", at + 1), words, text: String::new() });
            } else if let Some(section) = sections.last_mut()
                && !line.starts_with("# ")
            {
                section.text.push_str(line);
                section.text.push('\n');
            }
        }
        Self { sections, patience: PATIENCE }
    }

    /// Returns what Signpost plays.
    pub(crate) fn for_signpost(mut self) -> Self {
        self.sections.retain(|section| section.kind() != "coredns");
        self
    }

    /// Returns what CoreDNS plays, if it can.
    pub(crate) fn for_coredns(self) -> Option<Self> {
        let mut sections: Vec<Section> = Vec::new();
        for section in self.sections {
            match (section.kind(), sections.last_mut()) {
                ("coredns", _) if section.word(1) == "not" => return None,
                ("coredns", Some(above)) => above.text = section.text,
                _ => sections.push(section),
            }
        }
        Some(Self { sections, ..self })
    }

    /// Returns the same with another limit of time.
    pub(crate) fn patient_for(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Returns the sections of a kind.
    pub(crate) fn of(&self, kind: &str) -> impl Iterator<Item = &Section> {
        self.sections.iter().filter(move |section| section.kind() == kind)
    }
}

impl Section {
    /// Returns what kind of section it is.
    pub(crate) fn kind(&self) -> &str {
        self.word(0)
    }

    /// Returns a word of the first line; empty if there are not so many.
    pub(crate) fn word(&self, at: usize) -> &str {
        self.words.get(at).map_or("", String::as_str)
    }

    /// Returns the failure of this section: where it is, what it says, and why.
    pub(crate) fn failure(&self, why: &str) -> String {
        format!("{}: {}\n{why}", self.place, self.words.join(" "))
    }
}
