//! [`Lists`]: the marks of all kinds of target.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::claims::Claims;
#[cfg(feature = "redis")]
use crate::claims::SubjectId;
use crate::epoch::Epoch;
use crate::revocation::marks::Marks;
#[cfg(feature = "redis")]
use crate::revocation::table::PARTS;
use crate::revocation::table::Table;
use crate::revocation::{RevocationStatus, RevocationTarget};

/// The marks of all kinds of target, in memory. Requests take no lock.
pub(super) struct Lists {
    clients: Table,
    issuers: Table,
    sessions: Table,
    subjects: Table,
    tokens: Table,
    epoch: Epoch,
    writing: Mutex<()>,
}

impl Lists {
    pub(super) fn new() -> Self {
        Self {
            clients: Table::new(),
            issuers: Table::new(),
            sessions: Table::new(),
            subjects: Table::new(),
            tokens: Table::new(),
            epoch: Epoch::new(),
            writing: Mutex::default(),
        }
    }

    /// Rises with every change.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.get()
    }

    pub(super) fn status(&self, token: &Claims) -> RevocationStatus {
        let issuer = token.issuer();
        // The claim is read only if there are marks of its kind.
        let of = |table: &Table, name: fn(&Claims) -> Option<&str>| {
            let name = (!table.is_empty()).then(|| name(token)).flatten()?;
            table.get(issuer, name)
        };
        // Several claims can name the client. A mark for any of these names applies.
        let has_clients = !self.clients.is_empty();
        let clients = has_clients.then(|| token.registered().clients());
        let mut clients = clients.into_iter().flatten();
        let mut status = RevocationStatus::Active;
        let mut is_revoked_by = |marks: Option<Marks>| {
            if marks.is_some_and(|marks| marks.suspends(token)) {
                status = RevocationStatus::Suspended;
            }
            marks.is_some_and(|marks| marks.revokes(token))
        };
        if is_revoked_by(of(&self.tokens, Claims::id))
            || is_revoked_by(of(&self.sessions, Claims::session_id))
            || is_revoked_by(of(&self.subjects, Claims::subject))
            || is_revoked_by(of(&self.issuers, |_| Some("")))
            || clients.any(|id| is_revoked_by(self.clients.get(issuer, id)))
        {
            return RevocationStatus::Revoked;
        }
        status
    }

    /// Held during a change. Requests do not take it.
    pub(super) fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The table for a target, and its name there.
    pub(super) fn table<'t>(&self, target: &'t RevocationTarget) -> (&Table, &'t str) {
        match target {
            RevocationTarget::Client { client_id, .. } => (&self.clients, client_id),
            RevocationTarget::Issuer { .. } => (&self.issuers, ""),
            RevocationTarget::Session { session_id, .. } => (&self.sessions, session_id),
            RevocationTarget::Subject(subject) => (&self.subjects, subject.subject()),
            RevocationTarget::Token { id, .. } => (&self.tokens, id),
        }
    }

    pub(super) fn tables(&self) -> [(&'static str, &Table); 5] {
        [
            ("clients", &self.clients),
            ("issuers", &self.issuers),
            ("sessions", &self.sessions),
            ("subjects", &self.subjects),
            ("tokens", &self.tokens),
        ]
    }

    /// The number of parts that [`part`](Self::part) has.
    #[cfg(feature = "redis")]
    pub(super) fn parts(&self) -> usize {
        self.tables().len().saturating_mul(PARTS)
    }

    /// The targets in one part of all tables, with their marks.
    #[cfg(feature = "redis")]
    pub(super) fn part(&self, at: usize) -> Vec<(RevocationTarget, Marks)> {
        let [clients, issuers, sessions, subjects, tokens] = self.tables().map(|(_, table)| table);
        let (kind, at) = (at.checked_div(PARTS), at.checked_rem(PARTS).unwrap_or(0));
        let (table, target): (_, MakeTarget) = match kind {
            Some(0) => (clients, |issuer, client_id| RevocationTarget::Client {
                issuer,
                client_id,
            }),
            Some(1) => (issuers, |issuer, _| RevocationTarget::Issuer { issuer }),
            Some(2) => (sessions, |issuer, session_id| RevocationTarget::Session {
                issuer,
                session_id,
            }),
            Some(3) => (subjects, |issuer, subject| {
                RevocationTarget::Subject(SubjectId::new(&issuer, &subject))
            }),
            _ => (tokens, |issuer, id| RevocationTarget::Token { issuer, id }),
        };
        let rows = table.part(at).into_iter();
        rows.map(|(issuer, name, marks)| (target(issuer, name), marks))
            .collect()
    }

    /// Removes marks whose tokens have expired.
    pub(super) fn forget_ended(&self, now: SystemTime) {
        self.tables()
            .iter()
            .for_each(|(_, table)| table.forget_ended(now));
    }

    /// Called after each change, so that a request that sees the new number sees the change.
    pub(super) fn changed(&self) {
        self.epoch.raise();
    }
}

/// Makes a target of an issuer and a name.
#[cfg(feature = "redis")]
type MakeTarget = fn(Box<str>, Box<str>) -> RevocationTarget;
