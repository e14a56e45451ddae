//! Rows that need their own network: this program starts itself again inside a new network
//! namespace, runs one row there, and prints the finding as a line of JSON.

use std::process::{Command, Stdio};

use super::ROWS;
use super::row::Found;
use super::server::{Kind, Run};

/// Names the row to run inside, `D13`, and how: `Signpost long`.
const ROW: &str = "FAULTS_ROW";
const HOW: &str = "FAULTS_HOW";

/// Precedes the finding.
const MARK: &str = "FOUND ";

/// Runs a row in its own namespace.
pub(crate) fn find(id: &str, run: Run) -> Found {
    let program = std::env::current_exe().expect("this program");
    let script = "ip link set lo up && exec \"$0\"";
    let how = format!("{} {}", run.kind.name(), if run.long { "long" } else { "short" });
    let output = Command::new("unshare")
        .args(["--net", "sh", "-c", script])
        .arg(program)
        .envs([(ROW, id), (HOW, &how)])
        .stdin(Stdio::null())
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) => return Found::skipped(format!("unshare: {error}")),
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let found = text.lines().find_map(|line| line.strip_prefix(MARK));
    match found.and_then(|json| serde_json::from_str(json).ok()) {
        Some(found) => found,
        None => {
            let said = String::from_utf8_lossy(&output.stderr);
            Found::skipped(format!("no network namespace: {}", said.lines().next().unwrap_or("no reason was given")))
        }
    }
}

/// Inside a namespace: runs the requested row; returns whether there was one.
pub(crate) fn inside() -> bool {
    let (Ok(id), Ok(how)) = (std::env::var(ROW), std::env::var(HOW)) else { return false };
    let row = ROWS.iter().copied().flatten().find(|row| row.id == id).expect("a row");
    let kind = if how.starts_with(Kind::Signpost.name()) { Kind::Signpost } else { Kind::CoreDns };
    let found = row.find_here(&Run { kind, long: how.ends_with("long") });
    println!("{MARK}{}", serde_json::to_string(&found).expect("JSON"));
    true
}
