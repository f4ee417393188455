//! [`Denylist`]: revocation marks in the memory of this process.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::{ArcSwap, ArcSwapOption};

use crate::claims::{Claims, SubjectId};
use crate::clock::{Clock, SystemClock};
use crate::revocation::table::{Marks, Table};
use crate::revocation::{
    Revocation, RevocationCheck, RevocationMark, RevocationStatus, RevocationTarget,
    RevocationWriter, RevokeError, RevokeFuture,
};

/// List of revoked tokens, sessions, subjects, clients and issuers in the memory of this process.
///
/// A mark is in force when the method that stores it returns, also for cached tokens. It is kept until
/// its tokens have expired, plus the maximum [`Leeway`](crate::policy::Leeway) of 300 s. Requests take
/// no lock.
///
/// The list is for one instance of a service. Clones share one list and are cheap: pass one to
/// [`JwtAuth::revocation`](crate::JwtAuth::revocation), and keep another one to revoke tokens with.
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
pub struct Denylist(Arc<Lists>);

struct Lists {
    capacity: usize,
    clock: Arc<dyn Clock>,
    /// Requests read it without a lock. The lock on `counts` admits one writer at a time.
    issuers: ArcSwap<HashMap<Box<str>, Arc<OfIssuer>>>,
    /// The number of changes.
    epoch: AtomicU64,
    /// The number of marks of each kind. A writer holds this lock during a change.
    counts: Mutex<[usize; KINDS]>,
}

/// The marks of one issuer.
struct OfIssuer {
    all: ArcSwapOption<Marks>,
    clients: Table,
    sessions: Table,
    subjects: Table,
    tokens: Table,
}

impl Denylist {
    /// Creates an empty list with a maximum number of tokens, and of as many sessions, subjects, clients
    /// and issuers each. Default: 100 000.
    ///
    /// A full list returns [`RevokeError::Full`]. It never drops a mark whose tokens may still be
    /// accepted.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self::of(capacity, Arc::new(SystemClock))
    }

    /// Creates an empty list of the same capacity. Marks expire by this clock. Default: the clock of the
    /// system.
    #[must_use]
    pub fn with_clock(self, clock: impl Clock) -> Self {
        Self::of(self.0.capacity, Arc::new(clock))
    }

    fn of(capacity: usize, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Lists {
            capacity,
            clock,
            issuers: ArcSwap::default(),
            epoch: AtomicU64::new(0),
            counts: Mutex::default(),
        }))
    }

    /// Revokes one token, by its issuer and `jti`.
    ///
    /// # Errors
    ///
    /// [`RevokeError`] if the token has no `jti` or no `exp`, or if the list is full.
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

    /// Revokes all tokens of a subject whose `iat` is not later than `issued_until`, and all without
    /// `iat`. `expires_at` is the latest `exp` of these tokens.
    ///
    /// `iat` is set by the clock of the issuer, and no leeway is added to it. If that clock is ahead,
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

    /// Stores any mark. If the target has a mark already, the later times count. A suspension and a
    /// revocation of one target are kept separately, and the revocation counts.
    ///
    /// # Errors
    ///
    /// [`RevokeError::Full`].
    pub fn mark(&self, mark: &RevocationMark) -> Result<(), RevokeError> {
        let lists = &*self.0;
        let mut counts = lists.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = kind_of(&mark.target);
        let known = lists.find(&mark.target);
        if known.is_none() && count(&counts, kind) >= lists.capacity {
            lists.forget_ended(&mut counts);
            if count(&counts, kind) >= lists.capacity {
                return Err(RevokeError::Full);
            }
        }
        let known = lists.find(&mark.target);
        let marks = known.unwrap_or_default().with(mark);
        lists.put(&mark.target, Some(marks));
        if let (None, Some(count)) = (known, counts.get_mut(kind)) {
            *count = count.saturating_add(1);
        }
        // After the change, so that a request that sees the new number sees the mark.
        lists.epoch.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Ends the suspension of this target. Returns `false` if there is none. A revocation is final and
    /// stays.
    pub fn lift(&self, target: &RevocationTarget) -> bool {
        let lists = &*self.0;
        let mut counts = lists.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mut marks) = lists.find(target) else {
            return false;
        };
        if !marks.end_suspension() {
            return false;
        }
        let left = (!marks.is_empty()).then_some(marks);
        lists.put(target, left);
        if let (None, Some(count)) = (left, counts.get_mut(kind_of(target))) {
            *count = count.saturating_sub(1);
        }
        lists.epoch.fetch_add(1, Ordering::Release);
        true
    }

    fn status(&self, token: &Claims) -> RevocationStatus {
        let issuers = self.0.issuers.load();
        let Some(of_issuer) = issuers.get(token.issuer()) else {
            return RevocationStatus::Active;
        };
        let all = of_issuer.all.load();
        let marks = [
            token.id().and_then(|id| of_issuer.tokens.get(id)),
            token.session_id().and_then(|id| of_issuer.sessions.get(id)),
            token
                .subject()
                .and_then(|name| of_issuer.subjects.get(name)),
            all.as_deref().copied(),
        ];
        // Several claims can name the client. A mark for any of these names applies.
        let clients = token.registered().clients();
        let clients = clients.filter_map(|id| of_issuer.clients.get(id));
        let mut status = RevocationStatus::Active;
        for marks in marks.into_iter().flatten().chain(clients) {
            if marks.revoke(token) {
                return RevocationStatus::Revoked;
            }
            if marks.suspend(token) {
                status = RevocationStatus::Suspended;
            }
        }
        status
    }
}

impl Lists {
    fn find(&self, target: &RevocationTarget) -> Option<Marks> {
        let issuers = self.issuers.load();
        let of_issuer = issuers.get(target.issuer())?;
        match of_issuer.table(target) {
            Some((table, name)) => table.get(name),
            None => of_issuer.all.load().as_deref().copied(),
        }
    }

    /// Replaces the marks of a target. `None` removes them.
    fn put(&self, target: &RevocationTarget, marks: Option<Marks>) {
        let of_issuer = self.of_issuer(target.issuer());
        match of_issuer.table(target) {
            Some((table, name)) => table.put(name, marks),
            None => of_issuer.all.store(marks.map(Arc::new)),
        }
        if of_issuer.is_empty() {
            let mut issuers = HashMap::clone(&self.issuers.load());
            issuers.remove(target.issuer());
            issuers.shrink_to_fit();
            self.issuers.store(Arc::new(issuers));
        }
    }

    /// The marks of an issuer, which is added if it is new.
    fn of_issuer(&self, issuer: &str) -> Arc<OfIssuer> {
        if let Some(of_issuer) = self.issuers.load().get(issuer) {
            return Arc::clone(of_issuer);
        }
        let new = Arc::new(OfIssuer::new());
        let mut issuers = HashMap::clone(&self.issuers.load());
        issuers.insert(issuer.into(), Arc::clone(&new));
        self.issuers.store(Arc::new(issuers));
        new
    }

    /// Removes marks whose tokens have expired, and issuers without marks.
    fn forget_ended(&self, counts: &mut [usize; KINDS]) {
        let now = self.clock.now();
        *counts = [0; KINDS];
        let mut issuers = HashMap::clone(&self.issuers.load());
        issuers.retain(|_, of_issuer| {
            let all = of_issuer.all.load_full();
            if all.is_some_and(|marks| marks.have_ended(now)) {
                of_issuer.all.store(None);
            }
            let has_all = usize::from(of_issuer.all.load().is_some());
            let tables = of_issuer.tables();
            let left = tables.map(|table| table.forget_ended(now));
            let left = [left[0], left[1], left[2], left[3], has_all];
            for (count, left) in counts.iter_mut().zip(left) {
                *count = count.saturating_add(left);
            }
            left.iter().any(|left| *left > 0)
        });
        self.issuers.store(Arc::new(issuers));
    }
}

impl OfIssuer {
    fn new() -> Self {
        Self {
            all: ArcSwapOption::empty(),
            clients: Table::new(),
            sessions: Table::new(),
            subjects: Table::new(),
            tokens: Table::new(),
        }
    }

    fn is_empty(&self) -> bool {
        let mut tables = self.tables().into_iter();
        self.all.load().is_none() && tables.all(|table| table.is_empty())
    }

    fn tables(&self) -> [&Table; KINDS - 1] {
        [&self.clients, &self.sessions, &self.subjects, &self.tokens]
    }

    /// The table for a target, and the name in it. `None` for the issuer itself.
    fn table<'t>(&self, target: &'t RevocationTarget) -> Option<(&Table, &'t str)> {
        match target {
            RevocationTarget::Client { client_id, .. } => Some((&self.clients, client_id)),
            RevocationTarget::Issuer { .. } => None,
            RevocationTarget::Session { session_id, .. } => Some((&self.sessions, session_id)),
            RevocationTarget::Subject(subject) => Some((&self.subjects, subject.subject())),
            RevocationTarget::Token { id, .. } => Some((&self.tokens, id)),
        }
    }
}

/// Prints the number of marks of each kind.
impl fmt::Debug for Denylist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.0.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = f.debug_struct("Denylist");
        for (name, count) in ["clients", "sessions", "subjects", "tokens", "issuers"]
            .into_iter()
            .zip(*counts)
        {
            out.field(name, &count);
        }
        out.finish()
    }
}

/// A list for up to 100 000 marks of each kind.
impl Default for Denylist {
    fn default() -> Self {
        Self::with_capacity(100_000)
    }
}

impl Revocation for Denylist {
    fn check(&self, token: &Claims) -> RevocationCheck {
        RevocationCheck::Ready(Ok(self.status(token)))
    }

    fn epoch(&self) -> Option<u64> {
        Some(self.0.epoch.load(Ordering::Acquire))
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

fn count(counts: &[usize; KINDS], kind: usize) -> usize {
    counts.get(kind).copied().unwrap_or_default()
}

/// The index of a kind in the counts. The order is that of [`OfIssuer::tables`].
fn kind_of(target: &RevocationTarget) -> usize {
    match target {
        RevocationTarget::Client { .. } => 0,
        RevocationTarget::Session { .. } => 1,
        RevocationTarget::Subject(_) => 2,
        RevocationTarget::Token { .. } => 3,
        RevocationTarget::Issuer { .. } => 4,
    }
}

/// The number of kinds of targets.
const KINDS: usize = 5;
