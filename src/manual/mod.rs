//! The manual of a plugin: `signpost -manual NAME` prints it, and `docs/plugins` has it as a page.
//!
//! It is made of what the program has anyway: the doc comment of the plugin's file, its table of
//! options, and its rows of `docs/differences.md`.

pub mod differences;

use crate::chain::doc::{Line, Listed};
use crate::chain::setup::Registration;
use crate::corefile::nearest;
use crate::error::{Complaint, Result};
use crate::plugins::{self, ALL};
use differences::Difference;

/// Columns of a line of text.
const WIDTH: usize = 100;

/// The manual of a plugin as Markdown.
///
/// # Errors
/// There is no such plugin; the error suggests the nearest name and lists all names.
pub fn manual(name: &str) -> Result<String> {
    let plugin = ALL.iter().find(|plugin| plugin.name == name).ok_or_else(|| unknown(name))?;
    Ok(page(plugin))
}

fn unknown(name: &str) -> Complaint {
    let names = plugins::names();
    let near = nearest(name, names.iter().copied()).map(|near| format!("did you mean '{near}'?"));
    let all = format!("the plugins are {}", names.join(", "));
    Complaint::new(format!("Signpost has no plugin '{name}'")).hint(near.unwrap_or_default()).hint(all)
}

/// The page: what the doc comment says, with the options behind its section `Syntax`, and the
/// differences at the end.
fn page(plugin: &Registration) -> String {
    let mut sections = plugin.doc.split("\n## ");
    let mut page = format!("{}\n", sections.next().unwrap_or_default().trim());
    for section in sections {
        let (title, text) = section.split_once('\n').unwrap_or((section, ""));
        if title == "Syntax" {
            add(&mut page, title, &syntax(text, plugin.options));
            add(&mut page, "Options", &options(plugin.options));
        } else {
            add(&mut page, title, text);
        }
    }
    let rows = differences::all();
    let rows: String = rows.iter().filter(|row| row.is_about(plugin.name)).map(difference).collect();
    add(&mut page, "Differences from CoreDNS", if rows.is_empty() { "None." } else { &rows });
    page
}

/// Adds a section; one without text is left out.
fn add(page: &mut String, title: &str, text: &str) {
    if !text.trim().is_empty() {
        *page += &format!("\n## {title}\n\n{}\n", text.trim());
    }
}

/// The text of the section `Syntax`, with a line for each option at the end of its block.
fn syntax(text: &str, tables: &[&dyn Listed]) -> String {
    let (mut filled, mut tables) = (String::new(), tables.iter());
    for line in text.lines() {
        let table = line.starts_with('}').then(|| tables.next()).flatten();
        for Line { name, form, .. } in table.map(|table| table.lines()).unwrap_or_default() {
            filled += format!("    {name} {form}").trim_end();
            filled += "\n";
        }
        filled += &format!("{line}\n");
    }
    filled
}

/// A list of all options.
fn options(tables: &[&dyn Listed]) -> String {
    let shown = |Line { name, form, about }| item("- ", &format!("`{}`: {about}", format!("{name} {form}").trim_end()));
    tables.iter().flat_map(|table| table.lines()).map(shown).collect()
}

/// A row as an item of a list, with the other columns below its first one.
fn difference(row: &Difference) -> String {
    let told = |who: &str, text: &str| if text.is_empty() { String::new() } else { format!("{who}: {text}") };
    let columns =
        [row.what.to_owned(), told("CoreDNS", row.coredns), told("Signpost", row.signpost), told("Reason", row.why)];
    let columns = columns.iter().filter(|column| !column.is_empty()).enumerate();
    columns.map(|(at, column)| item(if at == 0 { "- " } else { "  - " }, column)).collect()
}

/// An item of a list, in lines of at most [`WIDTH`] columns.
fn item(bullet: &str, text: &str) -> String {
    let (mut lines, mut column) = (bullet.to_owned(), 0);
    let mut in_code = false;
    // A code span is not broken.
    let is_break = |letter| {
        in_code ^= letter == '`';
        letter == ' ' && !in_code
    };
    for word in text.split(is_break) {
        let width = word.chars().count();
        if column > 0 && bullet.len() + column + 1 + width > WIDTH {
            lines += &format!("\n{:1$}", "", bullet.len());
            column = 0;
        } else if column > 0 {
            lines += " ";
            column += 1;
        }
        lines += word;
        column += width;
    }
    lines + "\n"
}

#[cfg(test)]
mod tests;
