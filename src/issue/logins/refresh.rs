//! [`Logins::refresh`].

use crate::issue::logins::login::{LoginTokens, RefreshRequest};
use crate::issue::logins::refresh_error::RefreshError;
use crate::issue::logins::refresh_keys::Genuine;
use crate::issue::logins::rules::Step;
use crate::issue::logins::session::Row;
use crate::issue::logins::settings::GRACE;
use crate::issue::logins::unanswered::Write;
use crate::issue::logins::{ATTEMPTS, CONTENDED, Logins};
use crate::scope::ScopeSet;
use crate::telemetry;

impl Logins {
    /// Exchanges a refresh token for new tokens.
    ///
    /// A malformed or forged token is rejected without a request to the store. The claims are created and
    /// the access token is signed before the session is written. A failure up to that point leaves the
    /// session unchanged, so the same request can be repeated. If the response is lost after that, the
    /// same request gets the same refresh token during the [grace period](Self::grace).
    ///
    /// # Errors
    ///
    /// [`RefreshError`].
    ///
    /// # Example
    ///
    /// ```
    /// use tower_jwt_auth::issue::{Logins, LoginTokens, RefreshError, RefreshRequest};
    ///
    /// async fn fewer_scopes(logins: &Logins, token: &str) -> Result<LoginTokens, RefreshError> {
    ///     logins.refresh(RefreshRequest::new(token, "web").scope("calendar:read")).await
    /// }
    /// ```
    pub async fn refresh<'a>(
        &self,
        request: impl Into<RefreshRequest<'a>>,
    ) -> Result<LoginTokens, RefreshError> {
        let result = self.try_refresh(&request.into()).await;
        match &result {
            Ok(_) => telemetry::refreshed(),
            Err(error) => {
                let now = self.now() / 1_000;
                let status = error.status().as_u16();
                let budget = match status {
                    500.. => &self.0.lines.failures,
                    _ => &self.0.lines.rejections,
                };
                telemetry::refresh_rejected(error.kind(), status, error, budget.spend(now));
            }
        }
        result
    }

    async fn try_refresh(&self, request: &RefreshRequest<'_>) -> Result<LoginTokens, RefreshError> {
        let token = self.0.keys.verify(request.token)?;
        let session_id = token.family.session_id();
        // The grace is for requests that come close to each other, however long the store or the source of
        // the claims takes.
        let arrived = self.now();
        for _ in 0..ATTEMPTS {
            let row = self.load(&session_id).await?;
            let row = row.ok_or(RefreshError::Unknown)?;
            if let Some(tokens) = self.attempt(row, token, request, arrived).await? {
                return Ok(tokens);
            }
        }
        Err(RefreshError::unavailable(CONTENDED))
    }

    /// `None` if the session was changed since it was read.
    async fn attempt(
        &self,
        mut row: Row,
        token: Genuine,
        request: &RefreshRequest<'_>,
        arrived: u64,
    ) -> Result<Option<LoginTokens>, RefreshError> {
        let settings = &*self.0;
        let now = self.now();
        if let Some(ended) = row.data.ended {
            if !ended.is_marked {
                self.finish_end(row).await?;
            }
            return Err(RefreshError::Ended);
        }
        if row.data.client_id != request.client_id {
            return Err(RefreshError::Client);
        }
        if row.data.binding.is_some() && row.data.binding != request.binding {
            return Err(RefreshError::Binding);
        }
        if settings.lifetimes.is_expired(&row.data, now) {
            return Err(RefreshError::Expired);
        }
        if settings.lifetimes.is_idle(&row.data, now) {
            return Err(RefreshError::Idle);
        }
        let rotates = settings.rotates_bound || row.data.binding.is_none();
        // A token that stays the same may be used at any rate. Not every use is a write.
        let grace = match rotates {
            true => settings.grace,
            false => settings.grace.max(GRACE),
        };
        let step = row.progress().step(token.generation, arrived, grace);
        let is_unanswered = step == Step::Reuse && self.was_not_answered(&row, token, now);
        let step = match step {
            Step::Reuse if is_unanswered => Step::Repeat,
            Step::Reuse if grace > 0 && now.abs_diff(arrived) >= grace => {
                // The session may have advanced twice while this request waited.
                return Err(RefreshError::unavailable(TOO_LONG));
            }
            Step::Reuse => return self.reused(row).await,
            step => step,
        };
        let scopes = narrowed(row.data.scopes.as_ref(), request.scope)?;
        // All that can fail comes before the write. Afterwards the client needs the answer.
        let end = match step {
            Step::Repeat => settings.lifetimes.end(&row.data),
            _ => settings.lifetimes.end_after(&row.data, now),
        };
        let access = self.access_token(&row, scopes.as_ref(), end).await?;
        let issued = self.now();
        if issued.abs_diff(now) > LONGEST_ATTEMPT {
            // The session may have ended so long ago that its mark would not last for this token.
            return Err(RefreshError::unavailable(TOO_LONG));
        }
        if step != Step::Repeat {
            if step == Step::CatchUp {
                telemetry::sessions_set_back(&row.id);
            }
            if rotates {
                let next = token.generation.checked_add(1);
                row.data.generation = next.ok_or(RefreshError::Expired)?;
            }
            // The grace begins when the successor can be had.
            row.data.advanced_at = issued;
            // Whatever happens before the answer, also if this future is dropped: the write may have been made.
            let sent = settings.unanswered.sent(&row.id, written(&row));
            let is_made = self.write(&mut row).await?;
            sent.answered(is_made);
            if !is_made {
                return Ok(None);
            }
        }
        if is_unanswered {
            settings.unanswered.used(&row.id, issued);
        }
        let mut tokens = self.login_tokens(&row, token.family, access);
        // Without rotation, a token that advances stays the same, and its cookie lasts longer.
        tokens.is_new = step != Step::Repeat || *tokens.refresh != request.token;
        Ok(Some(tokens))
    }

    /// Whether this is the previous token of a session whose last write got no answer, so that nobody has got
    /// the current one from here.
    fn was_not_answered(&self, row: &Row, token: Genuine, now: u64) -> bool {
        token.generation.checked_add(1) == Some(row.data.generation)
            && self
                .0
                .unanswered
                .has(&row.id, written(row), now, self.0.grace)
    }

    /// Ends a session whose token was used again.
    async fn reused(&self, row: Row) -> Result<Option<LoginTokens>, RefreshError> {
        let id = row.id.clone();
        let Some(ended) = self.end_row(row).await? else {
            return Ok(None);
        };
        telemetry::refresh_reused(&id);
        self.finish_end(ended).await?;
        Err(RefreshError::Reused)
    }
}

fn written(row: &Row) -> Write {
    Write {
        generation: row.data.generation,
        advanced_at: row.data.advanced_at,
    }
}

/// The scopes of the access token: those of the session, or the requested ones of them.
fn narrowed(
    scopes: Option<&ScopeSet>,
    requested: Option<&str>,
) -> Result<Option<ScopeSet>, RefreshError> {
    // A parameter without a value counts as left out (RFC 6749, section 3.2).
    let Some(requested) = requested.filter(|text| !text.is_empty()) else {
        return Ok(scopes.cloned());
    };
    let requested = ScopeSet::parse(requested).map_err(|_| RefreshError::Scope)?;
    let has = |scope: &str| scopes.is_some_and(|known| known.iter().any(|one| one == scope));
    if requested.iter().all(has) {
        Ok(Some(requested))
    } else {
        Err(RefreshError::Scope)
    }
}

/// The longest time between reading a session and issuing a token for it, in milliseconds. Marks of ended
/// sessions last longer than their tokens by more than this.
const LONGEST_ATTEMPT: u64 = 30_000;
const TOO_LONG: &str = "it took too long";
