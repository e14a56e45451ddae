//! What is wrong with the connection to the API server, and what to do, in words for operators.
//!
//! The causes of a lost connection come as text alone: kube wraps hyper's errors, and those wrap
//! rustls's and the system's. So they are told apart by their text, and `tests/behaviour/api.rs`
//! holds the words of today's crates.

use std::error::Error;
use std::fmt;

use hyper::StatusCode;

use super::failure::Failure;
use super::resource::Resource;
use super::server::{Server, TOKEN};

/// A failure of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words {
    /// What is wrong, as the server says it where it says something.
    pub(super) said: String,
    /// The same for readers who do not know the request.
    pub(super) wrong: String,
    /// What to do, if that is known.
    pub(super) advice: String,
}

impl Words {
    /// `verb` is what was tried: `list` or `watch`.
    pub(super) fn of(failure: &Failure, resource: &Resource, verb: &str, server: &Server) -> Self {
        let said = failure.to_string();
        match failure {
            Failure::Unreachable(text) => {
                let said = format!("{} cannot be reached: {text}", server.url);
                Self { wrong: said.clone(), said, advice: unreachable(text, server) }
            }
            Failure::Refused { status: 401, message, .. } => {
                let wrong = format!("{} does not know who we are (401 Unauthorized)", server.url);
                Self { said, wrong, advice: refused(401, message, resource, server) }
            }
            Failure::Refused { status, message, .. } => {
                let name = match resource.group {
                    "" => resource.plural.to_owned(),
                    group => format!("{}.{group}", resource.plural),
                };
                let reason = StatusCode::from_u16(*status).ok().and_then(|status| status.canonical_reason());
                let mut wrong = format!("cannot {verb} {name} ({status} {})", reason.unwrap_or_default());
                // What it says of missing rights is what the advice says.
                if *status != 403 && !message.is_empty() {
                    wrong = format!("{wrong}: {message}");
                }
                Self { said, wrong, advice: refused(*status, message, resource, server) }
            }
            Failure::Gone(_) | Failure::Garbled(_) => {
                let wrong = format!("cannot read {} of {}: {said}", resource.plural, server.url);
                Self { said, wrong, advice: "is that a Kubernetes API server?".to_owned() }
            }
        }
    }

    /// The message for readers who do not know the request.
    pub(super) fn alone(&self) -> String {
        join(&self.wrong, &self.advice)
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&join(&self.said, &self.advice))
    }
}

fn join(what: &str, advice: &str) -> String {
    if advice.is_empty() { what.to_owned() } else { format!("{what}; {advice}") }
}

fn refused(status: u16, message: &str, resource: &Resource, server: &Server) -> String {
    let Resource { plural, group, .. } = resource;
    match status {
        403 => {
            // `pods is forbidden: User "system:serviceaccount:kube-system:coredns" cannot list
            // resource ...`
            let user = message.split_once("User \"").and_then(|(_, rest)| rest.split_once('"'));
            let user = user.map_or("our service account", |(user, _)| user);
            format!("grant the verbs list and watch on {plural} in API group \"{group}\" to {user}")
        }
        401 if server.is_pod => {
            format!("the token in {TOKEN} is not accepted: if the ServiceAccount was made anew, make the Pod anew")
        }
        401 => format!("the credentials are not accepted, they come from {}", server.credentials),
        400 if message.contains("HTTPS server") => {
            format!("it wants https://, and credentials: `tls` ({})", server.url)
        }
        404 => format!("is {} a Kubernetes API server, of 1.21 or newer?", server.url),
        _ => String::new(),
    }
}

fn unreachable(text: &str, server: &Server) -> String {
    let has = |part: &str| text.contains(part);
    match () {
        () if has("certificate: UnknownIssuer") || has("certificate: BadSignature") => {
            format!("its certificate is not from the CA {}", server.ca)
        }
        () if has("certificate expired") || has("certificate not valid yet") => {
            "renew its certificate (`kubeadm certs check-expiration`), or set the clock of this node".to_owned()
        }
        () if has("certificate not valid for name") => "use a name or address that its certificate has".to_owned(),
        () if has("fatal alert") => format!("it does not accept our certificate, {}", server.credentials),
        () if has("corrupt message") || has("InvalidContentType") => "it does not speak TLS there".to_owned(),
        () if has("dns error") => "give its address, or a resolver that does not need this server".to_owned(),
        () if has("refused") => match server.is_pod {
            true => "is the API server up, and kube-proxy (or what stands for it) on this node?".to_owned(),
            false => "is the API server up, and this its address?".to_owned(),
        },
        () if has("no answer") || has("timed out") || has("deadline") || has("unreachable") || has("no route") => {
            "look at the network of this node: routes, NetworkPolicy, firewall, kube-proxy".to_owned()
        }
        () => String::new(),
    }
}

/// What lies at the bottom of an error: `connection refused`.
pub(super) fn root_cause(error: &kube::Error) -> String {
    let mut cause: &dyn Error = error;
    let mut texts = Vec::new();
    loop {
        texts.push(cause.to_string());
        let Some(next) = cause.source() else { break };
        cause = next;
    }
    let last = texts.pop().unwrap_or_default();
    // rustls points to its manual.
    let last = last.split(": https://").next().unwrap_or_default();
    if let Some((system, _)) = last.split_once(" (os error") {
        return system.to_lowercase();
    }
    // Some errors quote their cause; the last that does not is the context, unless it is hyper's
    // for everything.
    let is_context =
        |text: &String| !text.contains(last) && !text.contains("client error") && text != "connection error";
    match texts.into_iter().rev().find(is_context) {
        Some(context) if context.len() < 80 => format!("{context}: {last}"),
        _ => last.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use kube::config::Config;

    use super::super::super::options::{ApiFrom, SourceOptions};
    use super::super::server::CA;
    use super::*;
    use crate::plugins::kubernetes::known::model::Kind;

    fn words(failure: &Failure) -> Words {
        let resource = Resource::new(Kind::Slice, &SourceOptions::default());
        let config = Config::new("https://10.96.0.1:443/x".parse().expect("a URL"));
        Words::of(failure, &resource, "watch", &Server::new(&ApiFrom::InCluster, &config))
    }

    #[test]
    fn a_missing_right_names_verb_resource_and_user() {
        let message = "endpointslices.discovery.k8s.io is forbidden: User \"system:serviceaccount:kube-system:coredns\" \
                       cannot watch resource \"endpointslices\" in API group \"discovery.k8s.io\" at the cluster scope";
        let words = words(&Failure::Refused { status: 403, message: message.to_owned(), retry_after: None });
        assert_eq!(
            words.alone(),
            "cannot watch endpointslices.discovery.k8s.io (403 Forbidden); grant the verbs list and watch on \
             endpointslices in API group \"discovery.k8s.io\" to system:serviceaccount:kube-system:coredns"
        );
        assert!(words.to_string().starts_with(message), "client-go's words stand in the log: {words}");
    }

    #[test]
    fn refusals_are_told_apart() {
        let refused = |status, message: &str| {
            words(&Failure::Refused { status, message: message.to_owned(), retry_after: None }).alone()
        };
        assert_eq!(
            refused(401, "Unauthorized"),
            format!(
                "https://10.96.0.1:443 does not know who we are (401 Unauthorized); the token in {TOKEN} is not accepted: if \
                 the ServiceAccount was made anew, make the Pod anew"
            )
        );
        assert!(
            refused(404, "")
                .ends_with("(404 Not Found); is https://10.96.0.1:443 a Kubernetes API server, of 1.21 or newer?")
        );
        assert!(
            refused(503, "apiserver is shutting down")
                .ends_with("(503 Service Unavailable): apiserver is shutting down")
        );
    }

    #[test]
    fn a_lost_connection_says_where_to_look() {
        let lost = |text: &str| words(&Failure::Unreachable(text.to_owned())).alone();
        assert_eq!(
            lost("connection refused"),
            "https://10.96.0.1:443 cannot be reached: connection refused; is the API server up, and kube-proxy (or what \
             stands for it) on this node?"
        );
        assert!(lost("no answer within 15s").contains("NetworkPolicy"));
        assert!(lost("invalid peer certificate: UnknownIssuer").contains(CA));
        assert_eq!(lost("something"), "https://10.96.0.1:443 cannot be reached: something");
    }
}
