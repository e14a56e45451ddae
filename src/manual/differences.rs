//! The rows of `docs/differences.md` that are about plugins: what differs from CoreDNS on purpose.

const PAGE: &str = include_str!("../../docs/differences.md");

/// One row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Difference {
    /// The plugins that it is about, with commas between; `server` for every server block.
    pub plugins: &'static str,
    /// What differs; empty in tables without this column.
    pub what: &'static str,
    /// What CoreDNS does; empty where it has nothing of the kind.
    pub coredns: &'static str,
    /// What Signpost does.
    pub signpost: &'static str,
    /// Why; empty where the row says it already.
    pub why: &'static str,
}

impl Difference {
    /// Whether the row is about this plugin.
    #[must_use]
    pub fn is_about(&self, plugin: &str) -> bool {
        self.plugins.split(", ").any(|name| name == plugin)
    }
}

/// All rows, in the order of the page.
#[must_use]
pub fn all() -> Vec<Difference> {
    let (mut all, mut columns) = (Vec::new(), Vec::new());
    for line in PAGE.lines() {
        let cells = cells(line);
        match cells.first() {
            Some(&"plugin") => columns = cells,
            Some(&first) if !columns.is_empty() && !first.starts_with("--") => {
                let cell = |name| columns.iter().position(|column| *column == name).map_or("", |at| cells[at]);
                let [plugins, what, coredns] = ["plugin", "what", "CoreDNS"].map(cell);
                all.push(Difference { plugins, what, coredns, signpost: cell("Signpost"), why: cell("why") });
            }
            Some(_) => {}
            None => columns.clear(),
        }
    }
    all
}

/// The cells of a line of a table; none if the line is anything else.
fn cells(line: &str) -> Vec<&str> {
    let row = line.strip_prefix('|').and_then(|row| row.strip_suffix('|'));
    row.map(|row| row.split('|').map(str::trim).collect()).unwrap_or_default()
}
