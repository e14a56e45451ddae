//! The reading of one watch: its events, its silences, and the audits that fall into its time.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::audit::{Claim, Due};
use super::body::BodyReader;
use super::failure::Failure;
use super::phase::{Gap, Stop};
use super::probe::probe;
use super::stream::Stream;

/// Where the reading of one watch stands.
pub(super) struct Following {
    began: Instant,
    /// When the server should have ended it by.
    ends: Instant,
    /// The last event.
    heard: Instant,
    /// The last object of the list.
    pub(super) added: Instant,
    asking: Option<Asking>,
    /// The version of the watch when it began to ask.
    asked_at: Option<u64>,
}

type Asking = Pin<Box<dyn Future<Output = Result<Option<Claim>, Failure>> + Send>>;

impl Following {
    fn new(life: Duration) -> Self {
        let began = Instant::now();
        let ends = began + life + Duration::from_secs(30);
        Self { began, ends, heard: began, added: began, asking: None, asked_at: None }
    }

    fn wake(&self, stream: &Stream) -> Instant {
        let timing = &stream.api.timing;
        if stream.phase.is_listing() {
            return self.ends.min(self.added + timing.bookmark);
        }
        let wake = self.ends.min(self.heard + timing.silence);
        stream.audit.wake().map_or(wake, |audit| wake.min(audit))
    }

    async fn claim(&mut self) -> Result<Option<Claim>, Failure> {
        match &mut self.asking {
            Some(asking) => asking.await,
            None => Ok(None),
        }
    }
}

impl Stream {
    /// Reads a watch to its end; while the phase is a list, the watch begins with that.
    pub(super) async fn follow(&mut self, mut body: BodyReader, life: Duration) -> Result<(), Stop> {
        self.answered();
        self.audit.begin(Instant::now(), &self.api.timing);
        let mut state = Following::new(life);
        let form = body.form;
        loop {
            let wake = state.wake(self);
            tokio::select! {
                event = body.event() => match event? {
                    Some(event) => {
                        state.heard = Instant::now();
                        self.pace.succeeded();
                        if !self.phase.is_listing() {
                            self.works();
                        }
                        self.event(event, form, &mut state).await?;
                    }
                    None if state.heard == state.began && state.began.elapsed() < Duration::from_secs(1) => {
                        return Err(Failure::Unreachable("the watch ended as soon as it began".to_owned()).into());
                    }
                    None if self.phase.is_listing() => {
                        return Err(Failure::Unreachable("a list broke off".to_owned()).into());
                    }
                    None => return Err(Stop::Ended),
                },
                claim = state.claim(), if state.asking.is_some() => {
                    state.asking = None;
                    self.claimed(claim, state.asked_at).await?;
                }
                () = sleep_until(wake) => self.awake(&mut state)?,
            }
        }
    }

    /// Takes the answer to an audit's question; the watch was at `asked_at` when it was asked.
    async fn claimed(&mut self, claim: Result<Option<Claim>, Failure>, asked_at: Option<u64>) -> Result<(), Stop> {
        let now = Instant::now();
        let claim = match claim {
            Ok(claim) => claim,
            // A server that does not answer is not one to wait for events of.
            Err(failure @ Failure::Unreachable(_)) => return Err(failure.into()),
            Err(failure) => {
                if matches!(failure, Failure::Refused { status: 403, .. }) {
                    self.tell_audit(&failure);
                }
                None
            }
        };
        let (Some(claim), Some(asked_at), Some(here)) = (claim, asked_at, self.phase.number()) else {
            self.audit.later(now, &self.api.timing);
            return Ok(());
        };
        if asked_at > claim.version {
            return Err(Stop::Missed(Gap::Rewound));
        }
        if here > claim.version {
            // It is ahead already: alive, but the numbers cannot be compared any more.
            self.audit.later(now, &self.api.timing);
            return Ok(());
        }
        self.audit.claimed(claim, now, &self.api.timing);
        self.compare(here, false).await
    }

    /// It is time for something.
    fn awake(&mut self, state: &mut Following) -> Result<(), Stop> {
        let (now, timing) = (Instant::now(), &self.api.timing);
        if now >= state.ends {
            return Err(Failure::Unreachable("the watch did not end when it should".to_owned()).into());
        }
        if self.phase.is_listing() {
            return if now >= state.added + timing.bookmark { Err(Stop::NoBookmark) } else { Ok(()) };
        }
        let silent = now >= state.heard + timing.silence;
        if silent {
            // It is asked once for each silence.
            state.heard = now;
        }
        match self.audit.due(now, silent) {
            Due::Ask => {
                state.asked_at = self.phase.number();
                let (api, resource) = (self.api.clone(), self.resource.clone());
                state.asking = Some(Box::pin(async move { probe(&api, &resource).await }));
            }
            Due::Late => return Err(Stop::Missed(Gap::Late)),
            Due::Nothing => {}
        }
        Ok(())
    }
}
