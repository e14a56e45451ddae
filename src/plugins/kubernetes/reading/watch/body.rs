//! The body of an answer: all of it, or event by event.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::Response;
use kube::client::Body;
use memchr::memchr;

use super::failure::Failure;
use super::form::Form;
use super::words::root_cause;

/// The longest event and the longest page that are believed (etcd takes objects up to 1.5 MB by
/// default).
const LONGEST: usize = 256 << 20;

/// A body that is being read.
pub(super) struct BodyReader {
    /// How it is written.
    pub(super) form: Form,
    body: Body,
    buffer: Vec<u8>,
    /// How much of the buffer has been given out.
    taken: usize,
    /// How much of it has been searched for line ends.
    searched: usize,
}

impl BodyReader {
    pub(super) fn new(response: Response<Body>) -> Self {
        let form = Form::of(response.headers());
        Self { form, body: response.into_body(), buffer: Vec::new(), taken: 0, searched: 0 }
    }

    /// Everything, if no part of it keeps us waiting longer than `patience`.
    pub(super) async fn all(&mut self, patience: Duration) -> Result<Vec<u8>, Failure> {
        loop {
            let more = tokio::time::timeout(patience, self.more()).await;
            let more = more.map_err(|_| Failure::Unreachable(format!("an answer stopped for {patience:?}")))?;
            if !more? {
                return Ok(std::mem::take(&mut self.buffer));
            }
        }
    }

    /// The next event of a watch. Returns `None` at the end. May be dropped and called again.
    pub(super) async fn event(&mut self) -> Result<Option<&[u8]>, Failure> {
        let (start, end, next) = loop {
            let found = match self.form {
                Form::Json => self.line(),
                Form::Protobuf => self.frame()?,
            };
            if let Some(found) = found {
                break found;
            }
            if self.taken > 0 {
                self.buffer.drain(..self.taken);
                self.searched -= self.taken;
                self.taken = 0;
            }
            if !self.more().await? {
                // An event that was cut off is dropped.
                return Ok(None);
            }
        };
        (self.taken, self.searched) = (next, next);
        Ok(Some(&self.buffer[start..end]))
    }

    /// Where the next line begins and ends, and what comes after it.
    fn line(&mut self) -> Option<(usize, usize, usize)> {
        let Some(at) = memchr(b'\n', &self.buffer[self.searched..]) else {
            self.searched = self.buffer.len();
            return None;
        };
        let end = self.searched + at;
        Some((self.taken, end, end + 1))
    }

    /// Likewise the next event that has its length before it.
    fn frame(&self) -> Result<Option<(usize, usize, usize)>, Failure> {
        let Some((len, rest)) = self.buffer[self.taken..].split_first_chunk() else { return Ok(None) };
        let len = u32::from_be_bytes(*len) as usize;
        if len > LONGEST {
            return Err(Failure::Garbled(format!("an event of {len} octets")));
        }
        let start = self.taken + 4;
        Ok((rest.len() >= len).then_some((start, start + len, start + len)))
    }

    /// Waits for more; false at the end.
    async fn more(&mut self) -> Result<bool, Failure> {
        let frame = match self.body.frame().await {
            None => return Ok(false),
            Some(Err(error)) => return Err(Failure::Unreachable(root_cause(&error))),
            Some(Ok(frame)) => frame,
        };
        if let Some(data) = frame.data_ref() {
            if self.buffer.len() + data.len() > LONGEST {
                return Err(Failure::Garbled(format!("an answer or event of more than {LONGEST} octets")));
            }
            // A long event leaves a large buffer behind; it is given back.
            if self.buffer.is_empty() && self.buffer.capacity() > 1 << 20 {
                self.buffer = Vec::new();
            }
            self.buffer.extend_from_slice(data);
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::CONTENT_TYPE;

    use super::*;

    async fn events(form: &str, body: &[u8]) -> Result<Vec<String>, Failure> {
        let response = Response::builder().header(CONTENT_TYPE, form).body(Body::from(body.to_vec()));
        let mut reading = BodyReader::new(response.expect("a response"));
        let mut events = Vec::new();
        while let Some(event) = reading.event().await? {
            events.push(String::from_utf8_lossy(event).into_owned());
        }
        Ok(events)
    }

    #[tokio::test]
    async fn what_was_cut_off_is_no_event() {
        let lines = events("application/json", b"one\n\ntwo\nthr").await.expect("no failure");
        assert_eq!(lines, ["one", "", "two"]);
        let protobuf = "application/vnd.kubernetes.protobuf;stream=watch";
        let frames = events(protobuf, b"\0\0\0\x03one\0\0\0\0\0\0\0\x03two\0\0\0\x03th").await.expect("no failure");
        assert_eq!(frames, ["one", "", "two"]);
        assert!(events(protobuf, b"\0\0\0").await.expect("no failure").is_empty());
        assert!(matches!(events(protobuf, b"\xff\0\0\0").await, Err(Failure::Garbled(_))));
    }
}
