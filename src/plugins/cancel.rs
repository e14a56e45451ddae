//! # cancel — limit how long a query may wait
//!
//! A query that still waits when its time is over, usually for an upstream, is answered with
//! SERVFAIL at once. The time counts from the moment the query was received.
//!
//! ## Syntax
//!
//! ```text
//! cancel [DURATION]
//! ```
//!
//! The default is 5.001 s, since no client waits longer than 5 s.
//!
//! ## Examples
//!
//! ```corefile
//! example.org {
//!     cancel 1s
//!     whoami
//! }
//! ```

use std::time::Duration;

use crate::chain::doc::doc_of;
use crate::chain::setup::{Registration, Setup};
use crate::chain::{Here, Plugin, Query, Step};
use crate::corefile::value;
use crate::error::Result;

/// The registration of this plugin.
pub const PLUGIN: Registration = Registration { name: "cancel", setup, doc: doc_of!("cancel.rs"), options: &[] };

/// Just longer than any client waits.
const DEFAULT: Duration = Duration::from_millis(5001);

struct Cancel(Duration);

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let mut cursor = s.cursor();
    let mut patience = DEFAULT;
    while cursor.next_occurrence() {
        match cursor.args()[..] {
            [] => patience = DEFAULT,
            [word] => {
                let span = value::duration(word.as_str())
                    .map_err(|_| cursor.error_at(word, format!("invalid duration: {}", value::quote(word.as_str()))))?;
                let positive = span.duration().filter(|duration| !duration.is_zero());
                patience = positive.ok_or_else(|| {
                    cursor.error_at(word, format!("invalid negative duration: {}", value::quote(word.as_str())))
                })?;
            }
            _ => return Err(cursor.arg_err()),
        }
    }
    s.chain(Cancel(patience));
    Ok(())
}

impl Plugin for Cancel {
    fn ask(&self, query: &mut Query<'_>, _: &Here<'_>) -> Step {
        query.patience = Some(self.0);
        Step::Next
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::chain::listener::Listener;
    use crate::chain::site::{Chain, Site};
    use crate::chain::{Proto, query};
    use crate::corefile::address::Transport;
    use crate::testing::{kept, packet};
    use crate::wire::name::Name;
    use crate::wire::question::Question;
    use crate::wire::types::{rcode, rtype};

    struct Never;

    impl Plugin for Never {
        fn ask(&self, _: &mut Query<'_>, _: &Here<'_>) -> Step {
            Step::Wait(Box::pin(std::future::pending()))
        }
    }

    #[test]
    fn a_plugin_that_never_answers_is_cancelled() {
        let seats: Vec<(&'static str, Arc<dyn Plugin>)> =
            vec![("cancel", Arc::new(Cancel(Duration::from_millis(20)))), ("never", Arc::new(Never))];
        let site = Site { zones: vec![Name::ROOT], chain: Arc::new(Chain::new(seats)), ordinal: 0 };
        let listener = Arc::new(Listener::new(Transport::Dns, String::new(), 53, vec![Arc::new(site)]));
        let packet = packet("a.example.", "A");
        let any = "127.0.0.1:53".parse().expect("an address");
        let client = query::Client { peer: any, local: any, proto: Proto::Udp };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let reply = runtime.block_on(kept::reply(&packet, client, &listener));
        let (query, reply) = reply.expect("a reply");
        assert_eq!((reply.rcode(), reply.cause()), (rcode::SERVFAIL, Some("context deadline exceeded")));
        assert_eq!(query.inner(&Question::new(Name::ROOT, rtype::A)).patience, Some(Duration::from_millis(20)));
    }
}
