//! Plays a scenario: starts its server, and does what each section says.

use std::path::Path;
use std::time::{Duration, Instant};

use super::ask::{Question, SILENCE};
use super::pages;
use super::pki::Pki;
use super::script::{Script, Section};
use super::support::{Server, free_port};

/// How long no reply means that there is none, and how late one may be where one is wanted.
const QUIET: Duration = Duration::from_millis(500);
const LATE: Duration = Duration::from_secs(5);

/// Plays a scenario.
///
/// # Errors
/// Returns the place of the first section that does not hold, what was wanted and what was got.
pub(crate) fn play(program: &Path, script: &Script) -> Result<(), String> {
    let ports = Ports::new(script);
    let corefile = script.of("Corefile").next().ok_or("there is no section Corefile")?;
    let mut files: Vec<(String, String)> =
        script.of("file").map(|section| (section.word(1).to_owned(), ports.fill(&section.text))).collect();
    files.extend(certificates(script));
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let server = Server::try_start(program, &ports.fill(&corefile.text), &files)
        .map_err(|printed| corefile.failure(&format!("the server does not listen:\n{printed}")))?;
    let game = Game { ports: Ports { own: Some(server.port), ..ports }, patience: script.patience, server };
    script.sections.iter().try_for_each(|section| game.play(section))
}

/// Returns the files of all certificates.
fn certificates(script: &Script) -> Vec<(String, String)> {
    let pki = Pki::new();
    let mut names = vec!["ca.pem".to_owned()];
    for section in script.of("certificate") {
        let hosts: Vec<&str> = section.words[2..].iter().map(String::as_str).collect();
        pki.issue(section.word(1), &hosts);
        names.extend(["pem", "key"].map(|kind| format!("{}.{kind}", section.word(1))));
    }
    let read = |name: String| (std::fs::read_to_string(pki.path(&name)).expect("a file of ours"), name);
    names.into_iter().map(read).map(|(text, name)| (name, text)).collect()
}

/// The ports of a scenario.
struct Ports {
    /// PORT, once the server has it.
    own: Option<u16>,
    /// PORT2 and so on, as far as the scenario names them.
    others: Vec<(String, u16)>,
}

impl Ports {
    fn new(script: &Script) -> Self {
        let names = (2..=9).map(|number| format!("PORT{number}"));
        let is_named = |name: &String| {
            let mut texts = script.sections.iter().flat_map(|section| section.words.iter().chain([&section.text]));
            texts.any(|text| text.contains(name.as_str()))
        };
        Self { own: None, others: names.filter(is_named).map(|name| (name, free_port())).collect() }
    }

    /// Returns the text with the numbers of ports for their names.
    fn fill(&self, text: &str) -> String {
        let others =
            self.others.iter().fold(text.to_owned(), |text, (name, port)| text.replace(name, &port.to_string()));
        self.own.map_or(others.clone(), |port| others.replace("PORT", &port.to_string()))
    }
}

/// A scenario that is being played.
struct Game {
    server: Server,
    ports: Ports,
    patience: Duration,
}

impl Game {
    fn play(&self, section: &Section) -> Result<(), String> {
        let text = self.ports.fill(&section.text);
        let path = self.server.folder.path().join(section.word(1));
        match section.kind() {
            "ask" => self.ask(section, text.trim_end()),
            "page" => self.page(section, &text),
            "log" => self.until(section, &text, || self.server.output(), has_lines),
            "change" if section.word(1) == "Corefile" => {
                self.server.rewrite(&text);
                Ok(())
            }
            "change" => std::fs::write(path, text).map_err(|error| section.failure(&error.to_string())),
            "remove" => std::fs::remove_file(path).map_err(|error| section.failure(&error.to_string())),
            "Corefile" | "file" | "certificate" => Ok(()),
            other => Err(section.failure(&format!("there is no section `{other}`"))),
        }
    }

    fn ask(&self, section: &Section, wanted: &str) -> Result<(), String> {
        let words: Vec<String> = section.words[1..].iter().map(|word| self.ports.fill(word)).collect();
        let question = Question::new(&words, self.server.port).map_err(|why| section.failure(&why))?;
        let patience = if wanted == SILENCE { QUIET } else { LATE };
        self.until(section, wanted, || question.ask(patience), |got, wanted| got == wanted)
    }

    fn page(&self, section: &Section, wanted: &str) -> Result<(), String> {
        let port = self.ports.fill(section.word(1)).parse::<u16>();
        let port = port.map_err(|_| section.failure("the first word is a port of the Corefile, PORT2 for one"))?;
        let get = || match pages::get(([127, 0, 0, 1], port).into(), section.word(2), self.patience) {
            Ok((status, page)) => format!("{status}\n{page}"),
            Err(error) => error,
        };
        let fits = |got: &str, wanted: &str| got.lines().next() == wanted.lines().next() && has_lines(got, wanted);
        self.until(section, wanted, get, fits)
    }

    /// Looks at what the server does until it fits.
    fn until(
        &self,
        section: &Section,
        wanted: &str,
        get: impl Fn() -> String,
        fits: impl Fn(&str, &str) -> bool,
    ) -> Result<(), String> {
        let end = Instant::now() + self.patience;
        loop {
            let got = get();
            if fits(&got, wanted) {
                return Ok(());
            }
            if Instant::now() > end {
                let wanted_lines: String = wanted.lines().map(indented).collect();
                let got = got.lines().filter(|line| is_near(line, &got, wanted)).map(indented).collect::<String>();
                return Err(section.failure(&format!("wanted:\n{wanted_lines}got:\n{got}")));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn indented(line: &str) -> String {
    format!("    {line}\n")
}

/// Whether a line is shown where others were wanted. Of a page of many metrics, those of the wanted
/// names are enough.
fn is_near(line: &str, all: &str, wanted: &str) -> bool {
    fn name(line: &str) -> &str {
        line.split(['{', ' ']).next().unwrap_or_default()
    }
    all.lines().count() < 50 || wanted.lines().any(|wanted| name(wanted) == name(line))
}

/// Whether each wanted line is a part of a line of the text, and what stands behind `! ` is not.
fn has_lines(text: &str, wanted: &str) -> bool {
    let has = |part: &str| text.lines().any(|line| line.contains(part));
    wanted.lines().all(|wanted| wanted.strip_prefix("! ").map_or_else(|| has(wanted), |part| !has(part)))
}
