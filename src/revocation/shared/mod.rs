//! [`RedisDenylist`]: revocation marks that all instances of a service share.

mod answers;
mod entry;
mod follow;
mod near;
mod order;
mod server;
mod settings;
mod status;
mod store;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

#[cfg(any(test, feature = "_fuzz"))]
pub(crate) use self::answers::fuzz;
use self::follow::{First, Follower};
use self::near::Near;
use self::server::Server;
pub use self::settings::RedisSettings;
pub use self::status::{RedisFailure, RedisStatus};
use self::store::{Change, Connect, Wish};
use self::writer::Writer;
use crate::claims::{Claims, SubjectId};
use crate::error::config::ConfigError;
use crate::revocation::marks::Marks;
use crate::revocation::{
    Revocation, RevocationCheck, RevocationMark, RevocationStatus, RevocationTarget,
    RevocationWriter, RevokeError, RevokeFuture,
};

/// List of revoked tokens, sessions, subjects, clients and issuers that all instances of a service share,
/// on Redis (6.2 or later) or Valkey.
///
/// Each instance has a copy of the marks in memory, and one task that follows the changes. No request
/// waits for Redis. A stored mark takes effect on this instance at once, and on the other instances
/// when they have read it. This usually takes milliseconds, and never longer than
/// [`max_lag`](RedisSettings::max_lag): an instance whose copy may be older than that answers requests
/// with 503.
///
/// A mark is stored by one script, so it is stored completely or not at all. If a mark is not stored,
/// the caller gets an error: [`RevokeError::Full`] or [`RevokeError::Unavailable`].
///
/// If Redis loses marks, for example because it restarts empty or fails over to a replica that was
/// behind, the instances detect this. They keep enforcing the marks that they know, and write them
/// back. Only marks that no running instance has seen are lost. To detect a loss, their scripts call
/// `INFO`, which an ACL must allow. A primary that is cut off from its replicas may answer for some
/// time after one of them has replaced it, without the later marks. Set `min-replicas-to-write` on it,
/// so that its instances answer with 503.
///
/// Redis contains the issuer and the `jti`, `sid`, `sub` or client id of each mark as plain text, and its
/// times, until its tokens have expired. It contains the names of lifted suspensions for a day. It never
/// contains a token. Whoever can write to these keys can revoke tokens and lift suspensions, so protect
/// them with a password or an ACL, and with TLS if the network is not yours. Use a `maxmemory-policy` that
/// does not evict keys without an expiry.
///
/// Clones share one list and are cheap. Pass one clone to
/// [`JwtAuth::revocation`](crate::JwtAuth::revocation), and keep another clone to revoke tokens. The
/// task ends when the last clone is dropped.
///
/// # Example
///
/// ```no_run
/// use tower_jwt_auth::{Claims, JwtAuth};
/// use tower_jwt_auth::revocation::{RedisDenylist, RevokeError};
///
/// # async fn app(auth: JwtAuth) -> Result<(), Box<dyn std::error::Error>> {
/// let client = redis::Client::open("redis://redis.internal:6379")?;
/// let denylist = RedisDenylist::new(client, "calendar")?.connect().await?;
/// let auth = auth.revocation(denylist.clone());
/// # Ok(()) }
///
/// async fn log_out(denylist: RedisDenylist, token: Claims) -> Result<(), RevokeError> {
///     denylist.revoke(&token).await
/// }
/// ```
#[derive(Clone)]
pub struct RedisDenylist(Arc<Shared<Server>>);

/// The list with any store behind it.
struct Shared<C: Connect> {
    near: Arc<Near>,
    writer: Arc<Writer<C>>,
    /// Changes run here, so that they do not end with the request that asked for them.
    runtime: Handle,
    first: watch::Receiver<First>,
    task: JoinHandle<()>,
}

impl<C: Connect> Shared<C> {
    /// Starts the task.
    fn start(connect: C, near: Near, runtime: Handle) -> Self {
        near.progress().source = connect.to_string();
        let (connect, near) = (Arc::new(connect), Arc::new(near));
        let (sender, first) = watch::channel(First::Running);
        let follower = Follower::new(Arc::clone(&connect), Arc::clone(&near), sender);
        let task = runtime.spawn(follower.run());
        Self {
            writer: Arc::new(Writer::new(connect, Arc::clone(&near))),
            near,
            runtime,
            first,
            task,
        }
    }

    /// Waits until the marks are loaded, or the first attempt has failed.
    async fn loaded(&self) -> Result<(), String> {
        let mut first = self.first.clone();
        let ended = first
            .wait_for(|first| !matches!(first, First::Running))
            .await;
        match ended.as_deref() {
            Ok(First::Loaded) => Ok(()),
            Ok(First::Failed(reason)) => Err(reason.clone()),
            Ok(First::Running) | Err(_) => Err("the task has ended".to_owned()),
        }
    }

    async fn write(&self, target: RevocationTarget, wish: Wish) -> Result<bool, RevokeError> {
        let writer = Arc::clone(&self.writer);
        let change = Change { target, wish };
        let writing = self
            .runtime
            .spawn(async move { writer.write(change).await });
        writing.await.unwrap_or_else(|_| {
            Err(RevokeError::Unavailable {
                reason: "the tokio runtime has ended".to_owned(),
            })
        })
    }

    async fn mark(&self, mark: RevocationMark) -> Result<(), RevokeError> {
        let marks = Marks::default().with(&mark);
        self.write(mark.target, Wish::Add(marks)).await.map(drop)
    }

    /// The number of changes before the check, and the check. The clock is read once.
    fn epoch_and_check(&self, token: &Claims) -> (Option<u64>, RevocationCheck) {
        // First, so that the lists are not read before the time at which they were found current.
        let relied_on = self.near.relied_on();
        let epoch = relied_on.is_ok().then(|| self.near.lists.epoch());
        let result = match self.near.lists.status(token) {
            // That is final. All else may have changed since the copy was current.
            RevocationStatus::Revoked => Ok(RevocationStatus::Revoked),
            status => relied_on.map(|()| status),
        };
        (epoch, RevocationCheck::Ready(result))
    }

    fn check(&self, token: &Claims) -> RevocationCheck {
        self.epoch_and_check(token).1
    }
}

impl<C: Connect> Drop for Shared<C> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl RedisDenylist {
    /// Creates the settings of a list that uses this client, which holds the address, the user, the
    /// password and the certificates. For TLS, add a TLS feature of the `redis` crate to your own
    /// dependencies, and use a `rediss://` URL.
    ///
    /// Instances with the same namespace share one list. The namespace in braces is the prefix of all
    /// keys, so all keys are in one slot of a Redis cluster. For a cluster, the client may connect to any
    /// node.
    ///
    /// # Errors
    ///
    /// [`ConfigError::SharedDenylist`] if the namespace is empty, longer than 128 bytes, or has
    /// characters other than visible ASCII without braces.
    #[expect(clippy::new_ret_no_self, reason = "it is a list once it is connected")]
    pub fn new(client: redis::Client, namespace: &str) -> Result<RedisSettings, ConfigError> {
        RedisSettings::new(client, namespace)
    }

    /// Revokes one token, by its issuer and `jti`.
    ///
    /// # Errors
    ///
    /// [`RevokeError`] if the token is a JWT without `jti`, or if the mark is not stored.
    pub async fn revoke<C>(&self, token: &Claims<C>) -> Result<(), RevokeError> {
        let mark = RevocationMark::token(token);
        self.0.mark(mark?).await
    }

    /// Revokes the token with this `jti` of this issuer. `expires_at` is its `exp`.
    ///
    /// # Errors
    ///
    /// [`RevokeError`] if the mark is not stored.
    pub async fn revoke_id(
        &self,
        issuer: &str,
        id: &str,
        expires_at: SystemTime,
    ) -> Result<(), RevokeError> {
        let mark = RevocationMark::token_id(issuer, id, expires_at);
        self.0.mark(mark).await
    }

    /// Revokes all tokens of a login session, by its `sid`. `expires_at` is the latest `exp` of these
    /// tokens.
    ///
    /// # Errors
    ///
    /// [`RevokeError`] if the mark is not stored.
    pub async fn revoke_session(
        &self,
        issuer: &str,
        session_id: &str,
        expires_at: SystemTime,
    ) -> Result<(), RevokeError> {
        let mark = RevocationMark::session(issuer, session_id, expires_at);
        self.0.mark(mark).await
    }

    /// Revokes all tokens of a subject whose `iat` is not later than `issued_until`, and all its
    /// tokens without `iat`. `expires_at` is the latest `exp` of these tokens.
    ///
    /// # Errors
    ///
    /// [`RevokeError`] if the mark is not stored.
    pub async fn revoke_subject(
        &self,
        subject: SubjectId,
        issued_until: SystemTime,
        expires_at: SystemTime,
    ) -> Result<(), RevokeError> {
        let mark = RevocationMark::subject(subject, issued_until, expires_at);
        self.0.mark(mark).await
    }

    /// Suspends one token, by its issuer and `jti`. [`lift`](Self::lift) ends the suspension.
    ///
    /// # Errors
    ///
    /// [`RevokeError`] if the token is a JWT without `jti`, or if the mark is not stored.
    pub async fn suspend<C>(&self, token: &Claims<C>) -> Result<(), RevokeError> {
        let mark = RevocationMark::token(token);
        self.0.mark(mark?.suspension()).await
    }

    /// Suspends the token with this `jti` of this issuer. `expires_at` is its `exp`.
    /// [`lift`](Self::lift) ends the suspension.
    ///
    /// # Errors
    ///
    /// [`RevokeError`] if the mark is not stored.
    pub async fn suspend_id(
        &self,
        issuer: &str,
        id: &str,
        expires_at: SystemTime,
    ) -> Result<(), RevokeError> {
        let mark = RevocationMark::token_id(issuer, id, expires_at);
        self.0.mark(mark.suspension()).await
    }

    /// Suspends all tokens of a login session, by its `sid`. `expires_at` is the latest `exp` of these
    /// tokens. [`lift`](Self::lift) ends the suspension.
    ///
    /// # Errors
    ///
    /// [`RevokeError`] if the mark is not stored.
    pub async fn suspend_session(
        &self,
        issuer: &str,
        session_id: &str,
        expires_at: SystemTime,
    ) -> Result<(), RevokeError> {
        let mark = RevocationMark::session(issuer, session_id, expires_at);
        self.0.mark(mark.suspension()).await
    }

    /// Suspends all tokens of a subject whose `iat` is not later than `issued_until`, and all its tokens
    /// without `iat`. The times have the same meaning as in [`revoke_subject`](Self::revoke_subject).
    /// [`lift`](Self::lift) ends the suspension.
    ///
    /// # Errors
    ///
    /// [`RevokeError`] if the mark is not stored.
    pub async fn suspend_subject(
        &self,
        subject: SubjectId,
        issued_until: SystemTime,
        expires_at: SystemTime,
    ) -> Result<(), RevokeError> {
        let mark = RevocationMark::subject(subject, issued_until, expires_at);
        self.0.mark(mark.suspension()).await
    }

    /// Stores any mark. If the target already has a mark, the later times apply. A suspension and a
    /// revocation of the same target are kept separately, and the revocation has priority.
    ///
    /// The mark is stored even if this future is dropped before it is ready.
    ///
    /// # Errors
    ///
    /// [`RevokeError`] if the mark is not stored. After [`RevokeError::Unavailable`], it is not
    /// known whether the mark was stored. Storing it again is harmless.
    pub async fn mark(&self, mark: &RevocationMark) -> Result<(), RevokeError> {
        self.0.mark(mark.clone()).await
    }

    /// Ends the suspension of this target. Returns `false` if the target is not suspended. A
    /// revocation is final and is not changed.
    ///
    /// # Errors
    ///
    /// [`RevokeError::Unavailable`] if Redis does not answer.
    pub async fn lift(&self, target: &RevocationTarget) -> Result<bool, RevokeError> {
        self.0.write(target.clone(), Wish::Lift).await
    }

    /// Whether the marks are loaded, and the copy is not older than
    /// [`max_lag`](RedisSettings::max_lag). Use it in the readiness check of the service.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.0.near.is_behind()
    }

    /// The state of the list, for an operator.
    #[must_use]
    pub fn status(&self) -> RedisStatus {
        let near = &self.0.near;
        let progress = near.progress();
        RedisStatus {
            source: progress.source.clone(),
            connected_since: progress.connected_since,
            lag: near.lag(),
            is_behind: near.is_behind(),
            marks: near.len(),
            snapshots: progress.snapshots,
            skipped: progress.skipped,
            failing: progress.failing.clone(),
        }
    }
}

/// Prints the number of marks, and whether they are relied on. For the address, see
/// [`RedisDenylist::status`].
impl fmt::Debug for RedisDenylist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisDenylist")
            .field("marks", &self.0.near.len())
            .field("is_ready", &self.is_ready())
            .finish_non_exhaustive()
    }
}

impl Revocation for RedisDenylist {
    fn check(&self, token: &Claims) -> RevocationCheck {
        self.0.check(token)
    }

    fn epoch(&self) -> Option<u64> {
        self.0.near.epoch()
    }

    fn epoch_and_check(&self, token: &Claims) -> (Option<u64>, RevocationCheck) {
        self.0.epoch_and_check(token)
    }
}

impl RevocationWriter for RedisDenylist {
    fn write(&self, mark: RevocationMark) -> RevokeFuture {
        let list = Arc::clone(&self.0);
        Box::pin(async move { list.mark(mark).await })
    }

    fn lift(&self, target: RevocationTarget) -> RevokeFuture {
        let list = Arc::clone(&self.0);
        Box::pin(async move { list.write(target, Wish::Lift).await.map(drop) })
    }
}
