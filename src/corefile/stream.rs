//! The words that are still to be parsed. Imports are pushed on top rather than spliced in, so the
//! cost of an import does not depend on how much follows it.

use std::sync::Arc;

use super::word::Word;

/// A stream of words that remembers one word, as the grammar needs.
pub(super) struct Stream {
    /// The remaining words of the file and of each import in it, none of them empty; the last is
    /// read first.
    frames: Vec<(Arc<[Word]>, usize)>,
    /// A word that was given back.
    unread: Option<Word>,
    current: Option<Word>,
    previous: Option<Word>,
}

impl Stream {
    pub(super) fn new(words: Vec<Word>) -> Self {
        let mut stream = Stream { frames: Vec::new(), unread: None, current: None, previous: None };
        stream.push(words.into());
        stream
    }

    /// Puts words before all that is left.
    pub(super) fn push(&mut self, words: Arc<[Word]>) {
        if !words.is_empty() {
            self.frames.push((words, 0));
        }
    }

    /// Moves to the next word. At the end it stays at the last one and returns false.
    pub(super) fn next(&mut self) -> bool {
        let Some(word) = self.unread.take().or_else(|| self.pop()) else {
            return false;
        };
        self.previous = self.current.replace(word);
        true
    }

    /// Moves to the next word if it is on the same line.
    pub(super) fn next_on_line(&mut self) -> bool {
        match (&self.current, self.peek()) {
            (Some(current), Some(next)) if current.same_line_as(next) => self.next(),
            _ => false,
        }
    }

    /// Gives the current word back: it becomes the next one again.
    pub(super) fn step_back(&mut self) {
        self.unread = self.current.take();
        self.current = self.previous.take();
    }

    /// Continues as if `word` was the last one read (an import statement leaves no trace).
    pub(super) fn rewind_to(&mut self, word: Option<Word>) {
        self.current = word;
        self.previous = None;
    }

    /// Returns the current word; `None` before the first one.
    pub(super) fn current(&self) -> Option<&Word> {
        self.current.as_ref()
    }

    pub(super) fn current_mut(&mut self) -> Option<&mut Word> {
        self.current.as_mut()
    }

    pub(super) fn previous(&self) -> Option<&Word> {
        self.previous.as_ref()
    }

    /// Returns the text of the current word as it was read.
    pub(super) fn text(&self) -> &str {
        self.current.as_ref().map_or("", Word::as_str)
    }

    /// Returns whether the current word begins a line. The very first word does.
    pub(super) fn at_line_start(&self) -> bool {
        match (&self.previous, &self.current) {
            (Some(previous), Some(current)) => previous.line_breaks_before(current),
            _ => true,
        }
    }

    /// Returns the unread words, for hints; the nearest first.
    pub(super) fn rest(&self) -> impl Iterator<Item = &Word> {
        let frames = self.frames.iter().rev().flat_map(|(words, at)| &words[*at..]);
        self.unread.iter().chain(frames)
    }

    fn peek(&self) -> Option<&Word> {
        self.rest().next()
    }

    fn pop(&mut self) -> Option<Word> {
        let (words, at) = self.frames.last_mut()?;
        let word = words[*at].clone();
        *at += 1;
        if *at == words.len() {
            self.frames.pop();
        }
        Some(word)
    }
}
