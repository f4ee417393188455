//! [`Denylist`]: revocation marks in the memory of this process.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use crate::claims::{Claims, SubjectId};
use crate::clock::{Clock, SystemClock};
use crate::revocation::lists::Lists;
use crate::revocation::{
    Revocation, RevocationCheck, RevocationMark, RevocationTarget, RevocationWriter, RevokeError,
    RevokeFuture,
};

/// List of revoked tokens, sessions, subjects, clients and issuers in the memory of this process.
///
/// A mark takes effect before the method that stores it returns, even for cached tokens. It is kept
/// until its tokens have expired, plus the maximum [`Leeway`](crate::policy::Leeway) of 300 seconds.
/// Requests take no lock.
///
/// The list is for one instance of a service. Clones share one list and are cheap. Pass one clone
/// to [`JwtAuth::revocation`](crate::JwtAuth::revocation), and keep another clone to revoke tokens.
///
/// # Example: log out
///
/// ```
/// use tower_jwt_auth::Claims;
/// use tower_jwt_auth::revocation::Denylist;
///
/// # #[derive(Clone)] struct State { denylist: Denylist }
/// async fn log_out(state: State, token: Claims) -> Result<(), &'static str> {
///     state.denylist.revoke(&token).map_err(|_| "cannot be revoked")
/// }
/// ```
#[derive(Clone)]
pub struct Denylist(Arc<Shared>);

struct Shared {
    capacity: usize,
    clock: Arc<dyn Clock>,
    lists: Lists,
}

impl Denylist {
    /// Creates an empty list with this maximum number of tokens, and the same maximum for sessions,
    /// subjects, clients and issuers each. Default: 100 000.
    ///
    /// A full list returns [`RevokeError::Full`]. It never drops a mark whose tokens may still be
    /// accepted.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self::of(capacity, Arc::new(SystemClock))
    }

    /// Creates an empty list with the same capacity. Marks expire according to this clock. Default: the
    /// clock of the operating system.
    #[must_use]
    pub fn with_clock(self, clock: impl Clock) -> Self {
        Self::of(self.0.capacity, Arc::new(clock))
    }

    fn of(capacity: usize, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Shared {
            capacity,
            clock,
            lists: Lists::new(),
        }))
    }

    /// Revokes one token, by its issuer and `jti`.
    ///
    /// # Errors
    ///
    /// [`RevokeError`] if the token is a JWT without `jti`, or if the list is full.
    pub fn revoke<C>(&self, token: &Claims<C>) -> Result<(), RevokeError> {
        self.mark(&RevocationMark::token(token)?)
    }

    /// Revokes the token with this `jti` of this issuer. `expires_at` is its `exp`.
    ///
    /// # Errors
    ///
    /// [`RevokeError::Full`].
    pub fn revoke_id(
        &self,
        issuer: &str,
        id: &str,
        expires_at: SystemTime,
    ) -> Result<(), RevokeError> {
        self.mark(&RevocationMark::token_id(issuer, id, expires_at))
    }

    /// Revokes all tokens of a login session, by its `sid`. `expires_at` is the latest `exp` of these
    /// tokens.
    ///
    /// # Errors
    ///
    /// [`RevokeError::Full`].
    pub fn revoke_session(
        &self,
        issuer: &str,
        session_id: &str,
        expires_at: SystemTime,
    ) -> Result<(), RevokeError> {
        self.mark(&RevocationMark::session(issuer, session_id, expires_at))
    }

    /// Revokes all tokens of a subject whose `iat` is not later than `issued_until`, and all its
    /// tokens without `iat`. `expires_at` is the latest `exp` of these tokens.
    ///
    /// `iat` comes from the clock of the issuer, and no leeway is added. If that clock is ahead,
    /// choose a later `issued_until`.
    ///
    /// # Errors
    ///
    /// [`RevokeError::Full`].
    pub fn revoke_subject(
        &self,
        subject: SubjectId,
        issued_until: SystemTime,
        expires_at: SystemTime,
    ) -> Result<(), RevokeError> {
        self.mark(&RevocationMark::subject(subject, issued_until, expires_at))
    }

    /// Suspends one token, by its issuer and `jti`. [`lift`](Self::lift) ends the suspension.
    ///
    /// # Errors
    ///
    /// [`RevokeError`] if the token is a JWT without `jti`, or if the list is full.
    pub fn suspend<C>(&self, token: &Claims<C>) -> Result<(), RevokeError> {
        self.mark(&RevocationMark::token(token)?.suspension())
    }

    /// Suspends the token with this `jti` of this issuer. `expires_at` is its `exp`.
    /// [`lift`](Self::lift) ends the suspension.
    ///
    /// # Errors
    ///
    /// [`RevokeError::Full`].
    pub fn suspend_id(
        &self,
        issuer: &str,
        id: &str,
        expires_at: SystemTime,
    ) -> Result<(), RevokeError> {
        self.mark(&RevocationMark::token_id(issuer, id, expires_at).suspension())
    }

    /// Suspends all tokens of a login session, by its `sid`. `expires_at` is the latest `exp` of these
    /// tokens. [`lift`](Self::lift) ends the suspension.
    ///
    /// # Errors
    ///
    /// [`RevokeError::Full`].
    pub fn suspend_session(
        &self,
        issuer: &str,
        session_id: &str,
        expires_at: SystemTime,
    ) -> Result<(), RevokeError> {
        self.mark(&RevocationMark::session(issuer, session_id, expires_at).suspension())
    }

    /// Suspends all tokens of a subject whose `iat` is not later than `issued_until`, and all its
    /// tokens without `iat`. The times have the same meaning as in
    /// [`revoke_subject`](Self::revoke_subject).
    ///
    /// # Example: suspend an account, and lift the suspension
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use tower_jwt_auth::claims::SubjectId;
    /// use tower_jwt_auth::revocation::{Denylist, RevocationTarget};
    ///
    /// let denylist = Denylist::default();
    /// let alice = SubjectId::new("https://login.example.com", "alice");
    /// let now = SystemTime::now();
    /// let end = now + Duration::from_secs(3600); // the latest `exp` of its tokens
    /// denylist.suspend_subject(alice.clone(), now, end)?;
    /// assert!(denylist.lift(&RevocationTarget::Subject(alice)));
    /// # Ok::<(), tower_jwt_auth::revocation::RevokeError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`RevokeError::Full`].
    pub fn suspend_subject(
        &self,
        subject: SubjectId,
        issued_until: SystemTime,
        expires_at: SystemTime,
    ) -> Result<(), RevokeError> {
        self.mark(&RevocationMark::subject(subject, issued_until, expires_at).suspension())
    }

    /// Stores any mark, including a mark for a client or an issuer. If the target already has a mark,
    /// the later times apply. A suspension and a revocation of the same target are kept separately, and
    /// the revocation has priority.
    ///
    /// # Errors
    ///
    /// [`RevokeError::Full`].
    pub fn mark(&self, mark: &RevocationMark) -> Result<(), RevokeError> {
        let lists = &self.0.lists;
        let _writing = lists.writing();
        let (table, name) = lists.table(&mark.target);
        let issuer = mark.target.issuer();
        if table.get(issuer, name).is_none() && table.len() >= self.0.capacity {
            lists.forget_ended(self.0.clock.now());
            if table.len() >= self.0.capacity {
                return Err(RevokeError::Full);
            }
        }
        let known = table.get(issuer, name).unwrap_or_default();
        table.put(issuer, name, known.with(mark));
        lists.changed();
        Ok(())
    }

    /// Ends the suspension of this target. Returns `false` if the target is not suspended. A
    /// revocation is final and is not changed.
    #[expect(clippy::must_use_candidate, reason = "it changes the list")]
    pub fn lift(&self, target: &RevocationTarget) -> bool {
        let lists = &self.0.lists;
        let _writing = lists.writing();
        let (table, name) = lists.table(target);
        let Some(mut marks) = table.get(target.issuer(), name) else {
            return false;
        };
        if !marks.end_suspension() {
            return false;
        }
        table.put(target.issuer(), name, marks);
        lists.changed();
        true
    }
}

/// Prints the number of marks of each kind.
impl fmt::Debug for Denylist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Denylist");
        for (name, table) in self.0.lists.tables() {
            out.field(name, &table.len());
        }
        out.finish()
    }
}

/// Creates a list for up to 100 000 marks of each kind.
impl Default for Denylist {
    fn default() -> Self {
        Self::with_capacity(100_000)
    }
}

impl Revocation for Denylist {
    fn check(&self, token: &Claims) -> RevocationCheck {
        RevocationCheck::Ready(Ok(self.0.lists.status(token)))
    }

    fn epoch(&self) -> Option<u64> {
        Some(self.0.lists.epoch())
    }
}

impl RevocationWriter for Denylist {
    fn write(&self, mark: RevocationMark) -> RevokeFuture {
        Box::pin(std::future::ready(self.mark(&mark)))
    }

    fn lift(&self, target: RevocationTarget) -> RevokeFuture {
        self.lift(&target);
        Box::pin(std::future::ready(Ok(())))
    }
}
