//! Probes: questions about random texts of this service, which tell whether failures are those of the
//! endpoint or of tokens.

use std::sync::Arc;

use aws_lc_rs::rand::fill;
use base64_simd::URL_SAFE_NO_PAD;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};

use crate::clock::Clock;
use crate::introspection::breaker::Probe;
use crate::introspection::failure::AskFailure;
use crate::introspection::state::State;
use crate::introspection::{Answer, Introspection};
use crate::issuer::{Audience, Issuer};

/// A probe that is running. It fails if its task ends early.
pub(super) struct Probing {
    state: Arc<State>,
    probe: Option<Probe>,
}

impl Probing {
    pub(super) fn new(state: &Arc<State>, probe: Probe) -> Self {
        Self {
            state: Arc::clone(state),
            probe: Some(probe),
        }
    }

    fn end(mut self, issuer: &Issuer, answer: &Result<Answer, AskFailure>) {
        if let Some(probe) = self.probe.take() {
            self.state.judge_probe(probe, issuer, answer);
        }
    }
}

impl Drop for Probing {
    fn drop(&mut self) {
        if let Some(probe) = self.probe.take() {
            let failure = AskFailure::new("the probe has ended without an answer");
            self.state
                .breaker
                .probe_failed(probe, &failure, Instant::now());
        }
    }
}

/// What is needed to ask an issuer.
#[derive(Clone)]
pub(super) struct Prober {
    introspection: Introspection,
    pub(super) issuer: Issuer,
    audience: Audience,
    clock: Arc<dyn Clock>,
}

impl Prober {
    pub(super) fn new(
        introspection: &Introspection,
        issuer: &Issuer,
        audience: &Audience,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        Self {
            introspection: introspection.clone(),
            issuer: issuer.clone(),
            audience: audience.clone(),
            clock: Arc::clone(clock),
        }
    }

    /// Asks about one text, within the timeout.
    pub(super) async fn ask(&self, text: &str) -> Result<Answer, AskFailure> {
        let limit = self.introspection.settings.timeout;
        let asked = self
            .introspection
            .ask(text, &self.issuer, &self.audience, &self.clock);
        match timeout(limit, asked).await {
            Ok(answer) => answer.map_err(AskFailure::within_longest_pause),
            Err(_) => Err(AskFailure::no_answer_within(limit)),
        }
    }

    /// Asks about a random text in a task. Any answer means that the endpoint works, because a random text is
    /// a token of no issuer, and so it is not active (RFC 7662, section 2.2).
    pub(super) fn start(&self, runtime: &Handle, probing: Probing) {
        let prober = self.clone();
        runtime.spawn(async move {
            let answer = match random_text(prober.introspection.token_prefix()) {
                Ok(text) => prober.ask(&text).await,
                Err(failure) => Err(failure),
            };
            let has_failed = matches!(&answer, Err(failure) if !failure.may_be_the_token);
            probing.end(&prober.issuer, &answer);
            if has_failed {
                prober.introspection.endpoint.place.forget().await;
            }
        });
    }
}

/// A text that looks like a token of the issuer.
fn random_text(prefix: &str) -> Result<String, AskFailure> {
    let mut random = [0_u8; 24];
    fill(&mut random).map_err(|_| AskFailure::new("the system has no random bytes"))?;
    let mut text = prefix.to_owned();
    URL_SAFE_NO_PAD.encode_append(random, &mut text);
    Ok(text)
}
