//! The end of sessions.
//!
//! A session ends in three steps: its row is ended, a mark revokes its access tokens, and the row is told
//! that the mark is stored. If the process ends after the first step, no refresh token is good any more,
//! the access tokens end by themselves within minutes, and whoever touches the session next writes the mark.
//! In the other order, the session would come back to life when the mark ends.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::claims::SubjectId;
use crate::issue::logins::refresh_error::LoginError;
use crate::issue::logins::refresh_keys::Family;
use crate::issue::logins::session::{Ended, Row};
use crate::issue::logins::store::LoginStoreError;
use crate::issue::logins::{ATTEMPTS, CONTENDED, Logins};
use crate::issue::token::not_empty;
use crate::revocation::{RevocationMark, RevokeError};
use crate::telemetry;

impl Logins {
    /// Ends a session, to log out one device. When this returns, its refresh token is no longer accepted,
    /// and the layer of [`auth`](Self::auth) rejects its access tokens, including cached ones.
    ///
    /// The id is the `sid` of the access token: [`Claims::session_id`](crate::Claims::session_id). Ending a
    /// session again is harmless. This method does not check whose session it is. If the id comes from a
    /// request, first look for it in the [`sessions`](Self::sessions) of the subject.
    ///
    /// # Errors
    ///
    /// [`LoginError`]. After an error, the session may have ended only partly. The same applies if the future
    /// is dropped early, for example because the client closes the connection. Call this again to finish the
    /// work.
    pub async fn end(&self, session_id: &str) -> Result<(), LoginError> {
        Family::from_session_id(session_id).ok_or(LoginError::SessionId)?;
        let failure = match self.try_end(session_id).await {
            Ok(()) => return Ok(()),
            Err(failure) => failure,
        };
        self.report(&failure);
        Err(failure)
    }

    /// Ends the session of a refresh token, whatever its generation. Use it for a logout without an access
    /// token, or for a revocation endpoint. A token that was not created with these keys has no session, so
    /// this does nothing and returns no error ([RFC 7009, section 2.2]). Otherwise a browser with an unusable
    /// cookie could never sign out.
    ///
    /// # Errors
    ///
    /// The same as [`end`](Self::end).
    ///
    /// [RFC 7009, section 2.2]: https://www.rfc-editor.org/rfc/rfc7009#section-2.2
    pub async fn end_by_token(&self, refresh_token: &str) -> Result<(), LoginError> {
        match self.0.keys.verify(refresh_token) {
            Ok(token) => self.end(&token.family.session_id()).await,
            Err(_) => Ok(()),
        }
    }

    /// Ends all sessions of a subject, for example to sign out everywhere or after a change of the password.
    /// It revokes all access tokens of these sessions, and access tokens of the subject without a session.
    /// `iat` is in whole seconds, so a token without a session stays valid if it was issued in the current
    /// second.
    ///
    /// A session that begins right after this is not affected, even within the same second. Store a new
    /// password before you call this, so that no login with the old password can follow.
    ///
    /// # Errors
    ///
    /// [`LoginError::Issue`] if the subject is empty, and other kinds of [`LoginError`]. After an error, or
    /// if the future is dropped early, some sessions may have ended. Call this again to finish the work.
    pub async fn end_all(&self, subject: &str) -> Result<(), LoginError> {
        not_empty("subject", subject).inspect_err(|error| self.report(error))?;
        // Tokens of this second belong to sessions that are marked below, or to one that begins right after
        // this.
        let until = (self.now() / 1_000).saturating_sub(1);
        let mut result = Ok(());
        let rows = self.0.store.list(subject).await;
        for stored in rows.inspect_err(|error| self.report(error))? {
            let is_done = match Row::read(stored.clone()) {
                Ok(row) => {
                    let is_over = row.data.ended.is_some_and(|ended| ended.is_marked);
                    row.subject != subject || !self.is_own(&row) || is_over
                }
                Err(_) => false,
            };
            if !is_done && let Err(error) = self.end(&stored.id).await {
                result = Err(error);
            }
        }
        let subject = SubjectId::new(self.0.tokens.issuer().as_str(), subject);
        let until = SystemTime::UNIX_EPOCH + Duration::from_secs(until);
        let mark = RevocationMark::subject(subject, until, self.end_of_tokens());
        let marked = self.0.list.write(mark).await;
        if let Err(error) = &marked {
            self.report(error);
        }
        marked?;
        result
    }

    async fn try_end(&self, session_id: &str) -> Result<(), LoginError> {
        for _ in 0..ATTEMPTS {
            let Some(row) = self.load(session_id).await? else {
                // The store may have lost the session. Its tokens must not outlive it.
                return Ok(self.mark(session_id).await?);
            };
            if row.data.ended.is_some() {
                return Ok(self.finish_end(row).await?);
            }
            if let Some(ended) = self.end_row(row).await? {
                telemetry::session_ended();
                return Ok(self.finish_end(ended).await?);
            }
        }
        Err(LoginError::unavailable(CONTENDED))
    }

    /// The first step. `None` if the session was changed since it was read.
    pub(super) async fn end_row(&self, mut row: Row) -> Result<Option<Row>, LoginStoreError> {
        row.data.ended = Some(Ended {
            at: self.now(),
            is_marked: false,
        });
        Ok(self.write(&mut row).await?.then_some(row))
    }

    /// The second and the third step.
    pub(super) async fn finish_end(&self, mut row: Row) -> Result<(), RevokeError> {
        self.mark(&row.id).await?;
        if let Some(ended) = &mut row.data.ended
            && !ended.is_marked
        {
            ended.is_marked = true;
            // If this is not stored, the mark is written once more than needed.
            let _ = self.write(&mut row).await;
        }
        Ok(())
    }

    fn report(&self, failure: &impl fmt::Display) {
        let now = self.now() / 1_000;
        telemetry::end_failed(failure, self.0.lines.failed_ends.spend(now));
    }

    async fn mark(&self, session_id: &str) -> Result<(), RevokeError> {
        let issuer = self.0.tokens.issuer().as_str();
        let mark = RevocationMark::session(issuer, session_id, self.end_of_tokens());
        self.0.list.write(mark).await
    }

    /// When the last access token that is issued by now has expired.
    fn end_of_tokens(&self) -> SystemTime {
        let now = self.0.tokens.its_clock().now();
        let longest = self.0.tokens.token_lifetime().max(LONGEST_TOKEN);
        now.checked_add(longest + IN_FLIGHT).unwrap_or(now)
    }
}

/// Another instance, or an earlier configuration, may issue tokens up to the maximum.
const LONGEST_TOKEN: Duration = Duration::from_secs(3_600);
/// For a token that is issued while its session ends, and for differences of clocks.
const IN_FLIGHT: Duration = Duration::from_secs(60);
