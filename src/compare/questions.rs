//! The questions: lines `NAME TYPE`, or the query log of a server.

use std::collections::HashSet;
use std::fmt;

use hickory_proto::rr::{Name, RecordType};

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Question {
    /// The name, absolute.
    pub name: Name,
    /// The type.
    pub qtype: RecordType,
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.qtype)
    }
}

/// Reads a file, or standard input for `-`. Each question is kept once, in the order of the file.
///
/// # Errors
/// What the system says about the file, or that it has no questions.
pub fn read(path: &str) -> Result<Vec<Question>, String> {
    let text = if path == "-" { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(path) };
    let questions = parse(&text.map_err(|error| format!("{path}: {error}"))?);
    if questions.is_empty() {
        return Err(format!("{path}: no question in it: lines `NAME TYPE`, or those that the log plugin writes"));
    }
    Ok(questions)
}

/// Returns the questions in a text; other lines, such as those of a log, are skipped.
#[must_use]
pub fn parse(text: &str) -> Vec<Question> {
    let mut known = HashSet::new();
    text.lines().filter_map(question).filter(|question| known.insert(question.clone())).collect()
}

fn question(line: &str) -> Option<Question> {
    // `... - 4711 "AAAA IN example.org. udp 40 false 1232" NOERROR ...`
    let (name, qtype) = match line.split_once('"').and_then(|(_, rest)| rest.split_once('"')) {
        Some((quoted, _)) => {
            let mut words = quoted.split(' ');
            let (qtype, class, name) = (words.next()?, words.next()?, words.next()?);
            (name, Some(qtype).filter(|_| class == "IN")?)
        }
        None => {
            let mut words = line.split_whitespace();
            (words.next()?, words.next()?)
        }
    };
    let mut name = Name::from_ascii(name).ok()?;
    name.set_fqdn(true);
    Some(Question { name, qtype: qtype.to_ascii_uppercase().parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_questions_and_a_query_log_are_both_read() {
        let text = "# names
web.default.svc.cluster.local A
web.default.svc.cluster.local. a NOERROR 1
.:53
[INFO] plugin/reload: Running configuration SHA512 = 1b2c
[INFO] 10.244.0.5:43211 - 4711 \"AAAA IN example.org. udp 40 false 1232\" NOERROR qr,rd,ra 68 0.012s
[INFO] 10.244.0.5:43211 - 4712 \"TXT CH version.bind. udp 30 false 512\" NOERROR qr,aa,rd 68 0.0001s
";
        let questions: Vec<String> = parse(text).iter().map(Question::to_string).collect();
        assert_eq!(questions, ["web.default.svc.cluster.local. A", "example.org. AAAA"]);
    }
}
