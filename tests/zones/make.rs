//! Makes small zones and questions for them: every chain of aliases up to depth four with every way
//! to end, and random zones in which the same few names meet in all ways.

use signpost::wire::types::type_number;

/// One zone and its questions.
pub(crate) struct Case {
    /// Its name, without a dot at the end.
    pub(crate) zone: String,
    /// The file.
    pub(crate) text: String,
    /// What is asked.
    pub(crate) questions: Vec<Question>,
}

/// One question.
pub(crate) struct Question {
    pub(crate) name: String,
    pub(crate) qtype: &'static str,
}

impl Question {
    pub(crate) fn number(&self) -> u16 {
        type_number(self.qtype).expect("a type")
    }
}

/// How one name leads to the next.
const LINKS: [&str; 3] = ["CNAME", "wildcard", "DNAME"];

/// How a chain ends.
const ENDS: [&str; 10] = ["address", "wildcard", "cut", "glue", "empty", "missing", "outside", "loop", "parent", "two"];

/// Types that are asked for.
const TYPES: [&str; 8] = ["A", "TXT", "CNAME", "DNAME", "NS", "MX", "SOA", "DS"];

/// Types of questions about a chain, whose every name is asked for.
const FEW_TYPES: [&str; 3] = ["A", "CNAME", "NS"];

/// Returns zones with about so many questions: half of them about chains, the rest random.
pub(crate) fn cases(wanted: usize) -> Vec<Case> {
    let (mut all, mut asked) = (Vec::new(), 0);
    let chains: Vec<(Vec<&str>, &str)> = chains();
    // A prime stride visits all of them, and every depth early.
    let order = (0..chains.len()).map(|at| &chains[at * 389 % chains.len()]);
    for (links, end) in order {
        if asked * 2 >= wanted {
            break;
        }
        let case = chain(all.len(), links, end);
        asked += case.questions.len();
        all.push(case);
    }
    let mut random = Random(seed());
    while asked < wanted {
        let case = random_zone(all.len(), &mut random);
        asked += case.questions.len();
        all.push(case);
    }
    all
}

/// The zones of `ZONES_SEED`; without it the same in each run.
fn seed() -> u64 {
    std::env::var("ZONES_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(0x5EED)
}

/// All chains of up to four links.
fn chains() -> Vec<(Vec<&'static str>, &'static str)> {
    let mut chains: Vec<Vec<&str>> = vec![vec![]];
    let mut last = chains.clone();
    for _ in 0..4 {
        let longer = last.iter().flat_map(|chain| LINKS.map(|link| [chain.as_slice(), &[link]].concat()));
        last = longer.collect();
        chains.extend(last.iter().cloned());
    }
    chains.into_iter().flat_map(|chain| ENDS.map(|end| (chain.clone(), end))).collect()
}

fn head(number: usize) -> (String, String) {
    let zone = format!("z{number}.test");
    let text = "$TTL 300\n@ SOA ns h 1 3600 600 86400 60\n@ NS ns\nns A 10.0.0.53\n".to_owned();
    (zone, text)
}

/// A zone with one chain: `x.n0` leads to `x.n1` and so on.
fn chain(number: usize, links: &[&str], end: &str) -> Case {
    let (zone, mut text) = head(number);
    for (at, link) in links.iter().enumerate() {
        let next = at + 1;
        text += &match *link {
            "CNAME" => format!("x.n{at} CNAME x.n{next}\n"),
            "wildcard" => format!("*.n{at} CNAME x.n{next}\n"),
            _ => format!("n{at} DNAME n{next}\n"),
        };
    }
    let last = links.len();
    text += &match end {
        "address" => format!("x.n{last} A 10.0.0.1\n"),
        "wildcard" => format!("*.n{last} A 10.0.0.2\n"),
        "cut" => format!("n{last} NS ns.n{last}\nns.n{last} A 10.0.0.3\n"),
        "glue" => format!("x.n{last} NS ns\nx.n{last} NS y.x.n{last}\ny.x.n{last} A 10.0.0.4\n"),
        "empty" => format!("z.x.n{last} A 10.0.0.5\n"),
        "outside" => format!("x.n{last} CNAME x.outside.example.\n"),
        "loop" => format!("x.n{last} CNAME x.n0\n"),
        "parent" => format!("n{last} A 10.0.0.6\n"),
        "two" => format!("x.n{last} A 10.0.0.7\nx.n{last} MX 5 ns\n"),
        _ => String::new(),
    };
    let names = (0..=last).flat_map(|at| ["x", "y", "z.x", "ns", "*"].map(|front| format!("{front}.n{at}.{zone}")));
    let names = names.chain((0..=last).map(|at| format!("n{at}.{zone}"))).chain([zone.clone()]);
    let ask = |name: String| FEW_TYPES.map(|qtype| Question { name: name.clone(), qtype });
    Case { questions: names.flat_map(ask).collect(), zone, text }
}

//----------- Random zones ---------------------------------------------------

/// Labels of random names.
const LABELS: [&str; 4] = ["a", "b", "*", "c"];

fn random_zone(number: usize, random: &mut Random) -> Case {
    let (zone, mut text) = head(number);
    let mut owners: Vec<(String, &str)> = Vec::new();
    for _ in 0..3 + random.below(6) {
        let owner = random.name(&LABELS);
        let kind = ["A", "TXT", "CNAME", "DNAME", "NS", "MX", "CNAME", "DNAME", "A"][random.below(9)];
        if !fits(&owners, &owner, kind) {
            continue;
        }
        let target = random.name(&LABELS);
        text += &match kind {
            "A" => format!("{owner} A 10.0.1.{}\n", random.below(250)),
            "TXT" => format!("{owner} TXT t{}\n", random.below(99)),
            "MX" => format!("{owner} MX 5 {target}\n"),
            kind => format!("{owner} {kind} {target}\n"),
        };
        owners.push((owner, kind));
    }
    let mut names: Vec<String> = Vec::new();
    for (owner, _) in &owners {
        for front in ["", "a.", "b.a.", "*.", "d."] {
            names.push(format!("{front}{owner}.{zone}"));
        }
    }
    names.extend(["a", "b", "c", "d", "a.a", "b.c", "d.d"].map(|name| format!("{name}.{zone}")));
    names.push(zone.clone());
    names.sort();
    names.dedup();
    let ask = |name: String| TYPES.map(|qtype| Question { name: name.clone(), qtype });
    Case { questions: names.into_iter().flat_map(ask).collect(), zone, text }
}

/// Whether a zone stays one that NSD and Knot take: a CNAME stands alone, a name has one DNAME, and
/// nothing is below a DNAME (RFC 6672 section 2.4).
fn fits(owners: &[(String, &str)], owner: &str, kind: &str) -> bool {
    let below = |name: &str, above: &str| name.strip_suffix(above).is_some_and(|front| front.ends_with('.'));
    let at = |wanted: &str| owners.iter().any(|(name, kind)| name == owner && *kind == wanted);
    let is_hidden = owners.iter().any(|(name, kind)| *kind == "DNAME" && below(owner, name));
    let hides = kind == "DNAME" && owners.iter().any(|(name, _)| below(name, owner));
    match kind {
        _ if at("CNAME") || is_hidden || hides => false,
        "CNAME" => owners.iter().all(|(name, _)| name != owner),
        "DNAME" => !at("DNAME"),
        _ => true,
    }
}

/// xorshift, the same zones in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    /// A name of up to three labels, with `*` at the left end alone.
    fn name(&mut self, labels: &[&str]) -> String {
        let count = 1 + self.below(3);
        let mut name = labels[self.below(labels.len())].to_owned();
        for _ in 1..count {
            name = format!("{name}.{}", ["a", "b", "c"][self.below(3)]);
        }
        name
    }
}
