//! [`Order`]: what is known of the order of changes.

use std::collections::HashMap;
use std::time::SystemTime;

use crate::revocation::shared::store::Head;

/// What the order of the changes depends on. Its lock is held during a change of the lists.
#[derive(Default)]
pub(super) struct Order {
    /// The last change that was applied in the order of the log.
    pub(super) position: Option<Head>,
    /// Changes of this process that are ahead of the position: the number of each target.
    pub(super) own: HashMap<Box<str>, Head>,
    /// The store that has all marks of this copy, and the greatest number that is known of it.
    pub(super) home: Option<Head>,
    /// The latest time at which a mark was left out or removed, because it had ended.
    pub(super) ended_by: Option<SystemTime>,
}

/// How the copy stands to a store.
pub(super) enum Standing {
    /// It lacks the changes after this number.
    Behind(u64),
    Current,
    /// It does not know what it lacks.
    Lost,
}

impl Order {
    pub(super) fn standing(&self, head: &Head) -> Standing {
        match &self.position {
            Some(position) if position.id == head.id && position.number == head.number => {
                Standing::Current
            }
            Some(position) if position.id == head.id && position.number < head.number => {
                Standing::Behind(position.number)
            }
            _ => Standing::Lost,
        }
    }

    pub(super) fn knows(&mut self, id: &str, number: u64) {
        if let Some(home) = self.home.as_mut().filter(|home| *home.id == *id) {
            home.number = home.number.max(number);
        }
    }

    /// The changes of this process after the head belong to what is known of the store.
    pub(super) fn set_home(&mut self, head: &Head) {
        let own = self.own.values().filter(|own| own.id == head.id);
        let number = own.map(|own| own.number).chain([head.number]).max();
        self.home = Some(Head {
            id: head.id.clone(),
            number: number.unwrap_or(head.number),
        });
    }

    /// Notes that a mark was left out or removed at this time, because it had ended.
    pub(super) fn dropped_ended(&mut self, now: SystemTime) {
        self.ended_by = self.ended_by.max(Some(now));
    }

    /// Whether this process has changed the target after this head. Numbers of two stores cannot be
    /// compared.
    pub(super) fn is_ahead(&self, target: &str, head: &Head) -> bool {
        let own = self.own.get(target);
        own.is_some_and(|own| own.id == head.id && own.number > head.number)
    }
}
