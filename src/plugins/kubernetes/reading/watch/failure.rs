//! Why a request or a watch failed, and how the API server says so.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

/// Why a request or a watch failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// No answer, or one that broke off.
    Unreachable(String),
    /// An answer that says no.
    Refused { status: u16, message: String, retry_after: Option<Duration> },
    /// 410: the resourceVersion or the page token is too old, or unknown to this server.
    Gone(String),
    /// An answer that cannot be read.
    Garbled(String),
}

impl Failure {
    /// A word for failures of this sort, so that the log line about them is not repeated.
    pub(super) fn class(&self) -> String {
        match self {
            Self::Unreachable(_) => "unreachable".to_owned(),
            Self::Refused { status, .. } => status.to_string(),
            Self::Gone(_) => "gone".to_owned(),
            Self::Garbled(_) => "garbled".to_owned(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(text) | Self::Gone(text) | Self::Garbled(text) => f.write_str(text),
            Self::Refused { status, message, .. } if message.is_empty() => write!(f, "HTTP status {status}"),
            Self::Refused { message, .. } => f.write_str(message),
        }
    }
}

/// The `Status` that the API server answers with when it says no.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Status {
    message: Option<String>,
    reason: Option<String>,
    code: Option<u16>,
    details: Option<Details>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Details {
    retry_after_seconds: Option<u64>,
}

impl Status {
    /// A refusal that has nothing but a text.
    pub(super) fn of_text(message: String) -> Self {
        Self { message: Some(message), ..Self::default() }
    }

    /// As a failure; `code` and `retry_after` are what HTTP says.
    pub(super) fn into_failure(self, code: u16, retry_after: Option<Duration>) -> Failure {
        let status = self.code.filter(|_| code == 200).unwrap_or(code);
        let reason = self.reason.unwrap_or_default();
        let message = self.message.filter(|message| !message.is_empty()).unwrap_or_else(|| reason.clone());
        // A server whose etcd was restored from a backup has not come to our version yet.
        let unknown = message.contains("Too large resource version");
        if status == 410 || unknown || matches!(&*reason, "Expired" | "Gone") {
            return Failure::Gone(message);
        }
        let seconds = self.details.and_then(|details| details.retry_after_seconds).filter(|seconds| *seconds > 0);
        let retry_after = retry_after.or(seconds.map(Duration::from_secs));
        Failure::Refused { status, message, retry_after }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_told_apart() {
        let failure =
            |json: &str, code| serde_json::from_str::<Status>(json).expect("a status").into_failure(code, None);
        assert!(
            matches!(failure(r#"{"code": 410, "message": "too old"}"#, 200), Failure::Gone(text) if text == "too old")
        );
        assert!(matches!(failure(r#"{"reason": "Expired"}"#, 410), Failure::Gone(_)));
        let large = r#"{"message": "Too large resource version: 9, current: 3", "details": {"retryAfterSeconds": 1}}"#;
        assert!(matches!(failure(large, 504), Failure::Gone(_)));
        let busy = failure(r#"{"message": "busy", "details": {"retryAfterSeconds": 2}}"#, 429);
        assert_eq!(
            busy,
            Failure::Refused { status: 429, message: "busy".to_owned(), retry_after: Some(Duration::from_secs(2)) }
        );
        assert_eq!(failure("{}", 503).to_string(), "HTTP status 503");
    }
}
