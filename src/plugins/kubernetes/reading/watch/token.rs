//! A bearer token that stands in a file, as client-go takes it: read again for each request, white
//! space around it left out.
//!
//! kube sends the file as it is. A token that ends in a newline (`kubectl create token web >file`)
//! is not a valid header then.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use hyper::Request;
use hyper::header::{AUTHORIZATION, HeaderValue};
use kube::client::Body;
use tower::BoxError;
use tower::filter::{AsyncFilterLayer, AsyncPredicate};

use crate::error::words;

/// A file with a token, and the header that it last made.
pub(super) struct TokenFile {
    file: PathBuf,
    last: Mutex<HeaderValue>,
}

impl TokenFile {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read, or holds no token.
    pub(super) fn open(file: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(file);
        let text = text.map_err(|error| format!("open {}: {}", file.display(), words(&error)))?;
        let last = header(&text).map_err(|why| format!("{}: {why}", file.display()))?;
        Ok(Self { file: file.to_owned(), last: Mutex::new(last) })
    }

    /// Puts the token into every request.
    pub(super) fn layer(
        self,
    ) -> AsyncFilterLayer<impl AsyncPredicate<Request<Body>, Request = Request<Body>, Future: Send> + Clone + Send>
    {
        let token = Arc::new(self);
        AsyncFilterLayer::new(move |mut request: Request<Body>| {
            let token = token.clone();
            async move {
                request.headers_mut().insert(AUTHORIZATION, token.header().await);
                Ok::<_, BoxError>(request)
            }
        })
    }

    /// The header with the current token. While the file is missing or half written, the last token
    /// is used.
    async fn header(&self) -> HeaderValue {
        let now = tokio::fs::read_to_string(&self.file).await.ok().and_then(|text| header(&text).ok());
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(now) = now {
            *last = now;
        }
        last.clone()
    }
}

fn header(text: &str) -> Result<HeaderValue, &'static str> {
    let token = text.trim();
    if token.is_empty() {
        return Err("there is no token in it");
    }
    let mut header = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|_| "it holds more than a token: a line break or another control character stands inside")?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_around_a_token_is_left_out() {
        for text in ["abc.def", "abc.def\n", "abc.def\r\n", " \t\n abc.def \n\n"] {
            assert_eq!(header(text).expect("a header"), "Bearer abc.def", "{text:?}");
        }
        for (text, why) in [("", "no token"), (" \r\n", "no token"), ("abc\ndef", "line break"), ("abc\0", "control")] {
            assert!(header(text).expect_err("no token").contains(why), "{text:?}");
        }
    }

    #[tokio::test]
    async fn a_token_is_renewed_and_kept_while_the_file_is_half_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("token");
        let write = |text: &str| std::fs::write(&file, text).expect("written");
        write("first\n");
        let token = TokenFile::open(&file).expect("a token");
        assert_eq!(token.header().await, "Bearer first");
        for text in ["", "\n", "two\nlines"] {
            write(text);
            assert_eq!(token.header().await, "Bearer first");
        }
        write("second\r\n");
        assert_eq!(token.header().await, "Bearer second");
        std::fs::remove_file(&file).expect("removed");
        assert_eq!(token.header().await, "Bearer second");
        let why = TokenFile::open(&file).err().expect("no file");
        assert_eq!(why, format!("open {}: no such file or directory", file.display()));
        write("\n");
        let why = TokenFile::open(&file).err().expect("no token");
        assert_eq!(why, format!("{}: there is no token in it", file.display()));
    }
}
