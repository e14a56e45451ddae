//! The parts of the manuals are complete, and the pages and lists of the repository say the same.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::*;
use crate::plugins::{COREDNS, KNOWN, names, refused};
use crate::testing::Server;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Names of what is in a folder, up to the first dot.
fn names_in(folder: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(root().join(folder)).expect("a folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    names.map(|name| name.split('.').next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_page_has_options_from_the_table_and_differences_from_the_rows() {
    let page = manual("health").expect("a plugin");
    let sections: Vec<&str> = page.lines().filter(|line| line.starts_with('#')).collect();
    assert_eq!(sections[1..], ["## Syntax", "## Options", "## Examples", "## Metrics", "## Differences from CoreDNS"]);
    assert!(page.starts_with("# health"), "{page}");
    assert!(page.contains("\nhealth [ADDRESS] [{\n    lameduck DURATION\n}]\n"), "{page}");
    assert!(page.contains("\n- `lameduck DURATION`: How long queries are still answered"), "{page}");
    assert!(page.contains("\n- CoreDNS: after lameduck its sockets close\n  - Signpost: while clients"), "{page}");
    assert!(manual("bufsize").expect("a plugin").ends_with("\n## Differences from CoreDNS\n\nNone.\n"));
}

#[test]
fn an_unknown_plugin_is_told_with_the_nearest_and_all_names() {
    let error = manual("foward").expect_err("no such plugin").to_string();
    let (first, all) = error.rsplit_once('\n').expect("hints");
    assert_eq!(first, "Signpost has no plugin 'foward'\nhelp: did you mean 'forward'?");
    assert_eq!(all, format!("help: the plugins are {}", names().join(", ")));
}

#[test]
fn long_items_are_wrapped_below_their_bullet() {
    let text = item("  - ", &"word ".repeat(30));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines.len(), lines[0].len(), &lines[1][..9]), (2, 98, "    word "));
}

#[test]
fn each_manual_is_complete() {
    for plugin in ALL {
        let name = plugin.name;
        let page = page(plugin);
        assert!(
            plugin.doc.starts_with(&format!("# {name} — ")),
            "{name}: its file does not begin with its name and a headline"
        );
        for section in ["Syntax", "Examples"] {
            assert!(page.contains(&format!("\n## {section}\n")), "{name}: no section `{section}`");
        }
        let own = plugin.doc.contains("## Differences") || plugin.doc.contains("## Options");
        assert!(!own, "{name}: options stand in its table, differences in docs/differences.md");
        let blocks = plugin.doc.split("\n## ").find(|section| section.starts_with("Syntax\n")).unwrap_or_default();
        let blocks = blocks.lines().filter(|line| line.starts_with('}')).count();
        assert_eq!(blocks, plugin.options.len(), "{name}: blocks in its syntax, and tables of options");
    }
}

#[test]
fn each_page_of_docs_plugins_is_the_manual() {
    let names: BTreeSet<String> = ALL.iter().map(|plugin| plugin.name.to_owned()).collect();
    assert_eq!(names_in("docs/plugins"), names, "run `just manuals`");
    for plugin in ALL {
        let path = format!("docs/plugins/{}.md", plugin.name);
        assert!(text(&path) == page(plugin), "{path} is not what `signpost -manual` prints: run `just manuals`");
    }
}

#[test]
fn each_row_of_the_differences_is_about_a_plugin_that_exists() {
    let all = differences::all();
    assert!(all.len() > 120, "{} rows", all.len());
    let is_known = |name: &str| name == "server" || ALL.iter().any(|plugin| plugin.name == name);
    for row in all {
        assert!(row.plugins.split(", ").all(is_known), "{row:?}");
        assert!(!row.signpost.is_empty() && [row.what, row.coredns, row.why] != [""; 3], "{row:?}");
    }
    let rows = text("docs/differences.md");
    let tables = rows.split("\n\n").filter(|table| table.starts_with('|'));
    for table in tables {
        let bars: BTreeSet<usize> = table.lines().map(|line| line.matches('|').count()).collect();
        assert_eq!(bars.len(), 1, "a cell holds a bar:\n{table}");
    }
}

#[test]
fn plugins_stand_in_the_order_of_coredns_and_in_every_list() {
    let ordered: Vec<_> = ALL.iter().map(|plugin| plugin.name).filter(|name| COREDNS.contains(name)).collect();
    let as_there: Vec<_> = COREDNS.iter().copied().filter(|name| ordered.contains(name)).collect();
    assert_eq!(ordered, as_there);
    let names = names_in("src/plugins");
    let is_plugin = |name: &&String| !name.ends_with("_tests") && !["mod", "refused"].contains(&name.as_str());
    // `grpc` has its file in the folder of `forward`.
    assert_eq!(names.iter().filter(is_plugin).count() + 1, ALL.len());
}

/// Rows of `docs/plugins.md`: a plugin, whether it is served, and a remark.
fn rows_of_plugins(page: &str) -> Vec<[&str; 3]> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix('|'));
    let cells = rows.filter_map(|row| <[&str; 3]>::try_from(row.split('|').map(str::trim).collect::<Vec<_>>()).ok());
    cells.filter(|[plugin, ..]| *plugin != "plugin").collect()
}

#[test]
fn the_page_of_plugins_says_what_is_served_and_what_a_corefile_gets() {
    let page = text("docs/plugins.md");
    let rows = rows_of_plugins(&page);
    assert_eq!(rows.iter().map(|[plugin, ..]| *plugin).collect::<Vec<_>>(), COREDNS, "the plugins in CoreDNS's order");
    for [plugin, served, remark] in rows {
        let is_served = ALL.iter().any(|known| known.name == plugin);
        assert_eq!(is_served, served != "no", "{plugin}");
        assert!(["yes", "partly", "no"].contains(&served) && (served != "partly" || !remark.is_empty()), "{plugin}");
        if is_served {
            continue;
        }
        let error = Server::with_plugins(&KNOWN, &format!(". {{\n{plugin}\n}}\n")).err().expect("refused").to_string();
        let usual = format!("CoreDNS has the plugin '{plugin}', Signpost does not have it yet");
        let message = remark.strip_prefix('`').and_then(|rest| rest.split('`').next()).unwrap_or(&usual);
        assert!(error.contains(message), "{plugin}: {error}");
    }
}

/// Returns what stands between backquotes on a page.
fn code_spans(page: &str) -> impl Iterator<Item = &str> {
    page.split('`').skip(1).step_by(2)
}

/// Returns whether a file of the repository has a test of this name: a function of Rust or Python,
/// or a row of `tests/faults`.
fn has_test(file: &str, name: &str) -> bool {
    let forms = [format!("fn {name}("), format!("def {name}("), format!("id: \"{name}\"")];
    std::fs::read_to_string(root().join(file)).is_ok_and(|text| forms.iter().any(|form| text.contains(form)))
}

/// Checks that what stands between backquotes exists: `FILE`, or a test as `FILE::TEST`.
fn check_exist<'a>(place: &str, spans: impl Iterator<Item = &'a str>) {
    for span in spans {
        match span.split_once("::") {
            Some((file, name)) => assert!(has_test(file, name), "{place}: {file} has no test {name}"),
            None => assert!(root().join(span).is_file(), "{place}: {span} does not exist"),
        }
    }
}

/// Returns the cells of the rows of a page's tables, without the heads, which begin with `head`.
fn rows_of<'a>(page: &'a str, head: &str) -> Vec<Vec<&'a str>> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    rows.map(|row| row.split(" | ").collect::<Vec<_>>()).filter(|row| row[0] != head).collect()
}

#[test]
fn each_row_of_the_ledger_has_a_state_and_tests_that_exist() {
    let page = text("docs/security.md");
    let rows = rows_of(&page, "id");
    assert!(rows.len() > 100, "{} rows", rows.len());
    for row in rows {
        let [id, _, state, how, tests] = row[..] else { panic!("five cells: {row:?}") };
        assert!(["not concerned", "mended", "partly", "not met"].contains(&state), "{id}: {state}");
        let names_tests = tests.starts_with('`');
        let says_none = tests == "no test" || tests == "none needed" && state == "not concerned";
        assert!(!how.is_empty() && (names_tests || says_none), "{id}: {tests}");
        check_exist(id, code_spans(tests));
    }
    let named: Vec<_> = code_spans(&page).filter(|span| span.contains("::")).collect();
    assert!(named.len() > 100, "{} tests", named.len());
    check_exist("docs/security.md", named.into_iter());
}

/// The list of faults: how many each letter has. There is no D3 and no G3.
const FAULTS: &[(char, u32)] = &[('A', 20), ('B', 12), ('C', 18), ('D', 15), ('E', 17), ('F', 9), ('G', 12)];

#[test]
fn each_fault_is_run_or_has_a_state_and_tests_that_exist() {
    let others = text("tests/faults/others.md");
    assert!(text("docs/faults.md").contains(others.trim()), "the second table of docs/faults.md is another one");
    let rows = rows_of(&others, "row");
    for row in &rows {
        let [id, _, _, state, tests, missing] = row[..] else { panic!("six cells: {row:?}") };
        assert!(["held", "partly", "not shown", "cannot be run here"].contains(&state), "{id}: {state}");
        assert_eq!(state == "held", missing == "nothing", "{id}: {state}, but what is missing: {missing}");
        assert_eq!(["held", "partly"].contains(&state), tests != "no test", "{id}: {state}, but {tests}");
        check_exist(id, code_spans(tests));
    }
    let files = names_in("tests/faults/rows");
    let run: String = files.iter().map(|name| text(format!("tests/faults/rows/{name}.rs"))).collect();
    let all = FAULTS.iter().flat_map(|(letter, last)| (1..=*last).map(move |number| format!("{letter}{number}")));
    for id in all.filter(|id| !["D3", "G3"].contains(&id.as_str())) {
        let runs = run.matches(&format!("id: \"{id}\"")).count();
        let others = rows.iter().filter(|row| row[0] == id).count();
        assert_eq!(runs + others, 1, "{id}: {runs} rows of tests/faults/rows, {others} of tests/faults/others.md");
    }
}

#[test]
fn directives_that_coredns_lacks_too_stand_on_the_page_of_plugins() {
    let page = text("docs/plugins.md");
    let (_, lacking) = page.split_once("lacks too").expect("the second table");
    for known in refused::REFUSED.iter().filter(|known| !COREDNS.contains(&known.name)) {
        assert!(lacking.contains(known.name), "{} is not on the page", known.name);
    }
}
