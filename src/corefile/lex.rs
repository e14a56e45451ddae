//! Splits text into words: blanks, comments and quotes, as CoreDNS's lexer reads them.

use std::sync::Arc;

use super::word::{Source, Word};

/// Returns all words of a file.
///
/// - Words end at white space of any kind; a carriage return outside quotes is ignored.
/// - `#` between words hides the rest of the line. Directly after a word it hides only the text up
///   to the next blank: `30#x y` is the two words `30` and `y`.
/// - `"` opens a quote only at the start of a word, and the closing quote ends the word. Only `\"`
///   is an escape. A quote that is never closed ends with the file.
/// - One byte order mark at the very start is skipped.
pub(super) fn lex(source: &Arc<Source>) -> Vec<Word> {
    let text = &source.text;
    let start = if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len_utf8() } else { 0 };
    let mut lexer = Lexer { source, at: start, line: 1 };
    let mut words = Vec::new();
    while let Some(word) = lexer.next() {
        words.push(word);
    }
    words
}

/// Decodes bytes as CoreDNS does: each byte that is not UTF-8 becomes one U+FFFD.
pub fn decode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    text
}

const BYTE_ORDER_MARK: char = '\u{feff}';

// ------------------------------------------------------------------------------------------------

struct Lexer<'a> {
    source: &'a Arc<Source>,
    at: usize,
    line: u32,
}

impl Lexer<'_> {
    fn next(&mut self) -> Option<Word> {
        self.skip_blanks_and_comments()?;
        let (start, line) = (self.at, self.line);
        let (text, end) = if self.peek() == Some('"') { (self.quoted()?, self.at) } else { self.plain() };
        Some(Word { text: text.into(), source: self.source.clone(), line, span: (start, end) })
    }

    /// Moves to the first character of a word. Returns `None` if no word is left.
    fn skip_blanks_and_comments(&mut self) -> Option<()> {
        loop {
            match self.peek()? {
                '#' => self.skip_while(|c| c != '\n'),
                c if c.is_whitespace() => self.advance(c),
                _ => return Some(()),
            }
        }
    }

    /// Reads a word without quotes; returns it and its end. Leaves the blank after it, and skips a
    /// comment attached to it.
    fn plain(&mut self) -> (String, usize) {
        let mut word = String::new();
        let mut end = self.at;
        while let Some(c) = self.peek() {
            match c {
                '\r' => {}
                '#' => {
                    // The end of the word also ends the comment, as in CoreDNS.
                    self.skip_while(|c| c == '\r' || !c.is_whitespace());
                    break;
                }
                c if c.is_whitespace() => break,
                c => {
                    word.push(c);
                    end = self.at + c.len_utf8();
                }
            }
            self.advance(c);
        }
        (word, end)
    }

    /// Reads a quoted word, without its quotes. Returns `None` if the file ends after an opening
    /// quote.
    fn quoted(&mut self) -> Option<String> {
        self.advance('"');
        let mut word = String::new();
        while let Some(c) = self.peek() {
            self.advance(c);
            match c {
                '"' => return Some(word),
                '\\' => {
                    let Some(escaped) = self.peek() else { break };
                    self.advance(escaped);
                    if escaped != '"' {
                        word.push('\\');
                    }
                    word.push(escaped);
                }
                c => word.push(c),
            }
        }
        (!word.is_empty()).then_some(word)
    }

    fn peek(&self) -> Option<char> {
        self.source.text[self.at..].chars().next()
    }

    fn advance(&mut self, c: char) {
        self.at += c.len_utf8();
        if c == '\n' {
            self.line = self.line.saturating_add(1);
        }
    }

    fn skip_while(&mut self, hidden: impl Fn(char) -> bool) {
        while let Some(c) = self.peek().filter(|&c| hidden(c)) {
            self.advance(c);
        }
    }
}

// ------------------------------------------------------------------------------------------------

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<(u32, String)> {
        let source = Arc::new(Source { name: "Corefile".into(), text: text.to_owned(), imported: false });
        lex(&source).iter().map(|word| (word.line, word.text.to_string())).collect()
    }

    fn texts(text: &str) -> Vec<String> {
        words(text).into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn blanks_of_any_kind_separate_words() {
        assert_eq!(texts("a\tb\u{a0}c\u{2003}d\u{85}e\u{b}f"), ["a", "b", "c", "d", "e", "f"]);
        assert_eq!(texts("a\u{200b}b"), ["a\u{200b}b"], "a zero-width space is no blank");
    }

    #[test]
    fn carriage_returns_vanish_outside_quotes() {
        assert_eq!(words("a\r\nb\rc"), [(1, "a".to_owned()), (2, "bc".to_owned())]);
        assert_eq!(texts("\"a\rb\""), ["a\rb"]);
    }

    #[test]
    fn a_comment_between_words_hides_the_line() {
        assert_eq!(words("a # b c\nd"), [(1, "a".to_owned()), (2, "d".to_owned())]);
    }

    #[test]
    fn a_comment_glued_to_a_word_ends_at_the_next_blank() {
        assert_eq!(texts("30#x y"), ["30", "y"]);
        assert_eq!(texts("foo#bar\r#baz\nqux"), ["foo", "qux"]);
    }

    #[test]
    fn quotes_open_at_the_start_of_a_word_only() {
        assert_eq!(texts("\"a b\"c \"\" d\"e f\""), ["a b", "c", "", "d\"e", "f\""]);
    }

    #[test]
    fn only_a_quote_can_be_escaped() {
        assert_eq!(texts(r#""say \"hi\" \n \\""#), [r#"say "hi" \n \\"#]);
    }

    #[test]
    fn line_breaks_in_quotes_are_counted() {
        assert_eq!(words("\"a\nb\" c\nd"), [(1, "a\nb".to_owned()), (2, "c".to_owned()), (3, "d".to_owned())]);
    }

    #[test]
    fn an_unclosed_quote_ends_with_the_file() {
        assert_eq!(texts("a \"b c"), ["a", "b c"]);
        assert_eq!(texts("a \""), ["a"]);
        assert_eq!(texts("\"b\\"), ["b"]);
    }

    #[test]
    fn one_byte_order_mark_is_skipped() {
        assert_eq!(texts("\u{feff}a"), ["a"]);
        assert_eq!(texts("\u{feff}\u{feff}a"), ["\u{feff}a"]);
    }

    #[test]
    fn every_byte_that_is_not_utf_8_becomes_one_replacement() {
        assert_eq!(decode(b"a\xe2\x82b"), "a\u{fffd}\u{fffd}b");
    }
}
