//! A JSON document with holes: `{name}` within a string.

pub(crate) struct Template {
    /// Text and the hole behind it; the last has none.
    pieces: Vec<(String, String)>,
}

impl Template {
    pub(crate) fn new(text: &str) -> Self {
        let value: serde_json::Value = serde_json::from_str(text).expect("a template is JSON");
        // A hole for a list stands alone in it: its quotes go.
        let text = value.to_string().replace("[\"{endpoints}\"]", "[{endpoints}]");
        let mut pieces = Vec::new();
        let (mut rest, mut done) = (text.as_str(), 0);
        while let Some(at) = rest[done..].find('{').map(|at| at + done) {
            let inside = &rest[at + 1..];
            let len = inside.bytes().take_while(u8::is_ascii_lowercase).count();
            if len > 0 && inside[len..].starts_with('}') {
                pieces.push((rest[..at].to_owned(), inside[..len].to_owned()));
                (rest, done) = (&inside[len + 1..], 0);
            } else {
                done = at + 1;
            }
        }
        pieces.push((rest.to_owned(), String::new()));
        Self { pieces }
    }

    /// Writes the document; `fill` says whether it knew what belongs into a hole.
    pub(crate) fn write(&self, out: &mut Vec<u8>, fill: impl Fn(&str, &mut Vec<u8>) -> bool) {
        for (text, hole) in &self.pieces {
            out.extend_from_slice(text.as_bytes());
            assert!(hole.is_empty() || fill(hole, out), "nothing is known for {hole}");
        }
    }
}
