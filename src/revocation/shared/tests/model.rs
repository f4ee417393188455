//! The model of the store, and the way of an instance to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::revocation::RevocationTarget;
use crate::revocation::marks::Marks;
use crate::revocation::shared::entry::{Entry, Row, target_text};
use crate::revocation::shared::store::{
    Beat, Change, Connect, Head, Outcome, Store, StoreError, Wish, Written,
};

/// What the store has.
#[derive(Clone, Default)]
pub(super) struct Data {
    id: Option<Box<str>>,
    pub(super) number: u64,
    pub(super) run: u64,
    past: Vec<Head>,
    pub(super) rows: BTreeMap<String, (RevocationTarget, Marks)>,
    lifted: BTreeSet<String>,
    pub(super) log: Vec<(u64, Box<str>, RevocationTarget, Marks)>,
}

/// The model of the store: what the scripts do, in Rust.
#[derive(Default)]
pub(super) struct World {
    pub(super) data: Data,
    /// The run of the process, which a restart changes.
    pub(super) run: u64,
    ids: u64,
    pub(super) backup: Data,
    /// The store loses the next changes, right after it has confirmed them.
    pub(super) loses_next: bool,
}

impl World {
    fn new_id(&mut self) -> Box<str> {
        self.ids += 1;
        format!("id{}", self.ids).into()
    }

    /// What `head.lua` does.
    fn wake(&mut self, known: Option<&Head>) {
        let Some(id) = self.data.id.clone() else {
            self.data = Data {
                id: Some(self.new_id()),
                run: self.run,
                ..Data::default()
            };
            return;
        };
        let is_lost = known.is_some_and(|known| known.id == id && known.number > self.data.number);
        if self.data.run != self.run || is_lost {
            let number = self.data.number;
            self.data.past.insert(0, Head { id, number });
            self.data.past.truncate(8);
            self.data.id = Some(self.new_id());
            self.data.run = self.run;
        }
    }

    fn beat(&mut self, known: Option<&Head>) -> Beat {
        self.wake(known);
        Beat {
            head: self.head(),
            past: self.data.past.clone(),
        }
    }

    fn head(&self) -> Head {
        Head {
            id: self.data.id.clone().unwrap(),
            number: self.data.number,
        }
    }

    fn write(&mut self, changes: &[Change]) -> Written {
        self.wake(None);
        let before = self.loses_next.then(|| self.data.clone());
        let mut outcomes = Vec::new();
        for change in changes {
            let text = target_text(&change.target).unwrap();
            let known = self.data.rows.get(&text).map(|(_, marks)| *marks);
            let known = known.unwrap_or_default();
            let mut new = known;
            match &change.wish {
                Wish::Add(marks) | Wish::Restore(marks) => {
                    new = new.with_revocation(marks.revocation);
                    if matches!(change.wish, Wish::Add(_)) && marks.suspension.is_some() {
                        self.data.lifted.remove(&text);
                    }
                    let is_lifted = self.data.lifted.contains(&text);
                    if let Some(mark) = marks.suspension.filter(|_| !is_lifted) {
                        let later = new.suspension.map_or(mark, |known| known.later(mark));
                        new.suspension = Some(later);
                    }
                }
                Wish::Lift => {
                    new.suspension = None;
                    self.data.lifted.insert(text.clone());
                }
            }
            if new != known {
                self.data.number += 1;
                let id = self.data.id.clone().unwrap();
                let target = change.target.clone();
                self.data
                    .log
                    .push((self.data.number, id, target.clone(), new));
                self.data.rows.insert(text.clone(), (target, new));
                if new.end().is_none() {
                    self.data.rows.remove(&text);
                }
            }
            outcomes.push(Outcome::Stored {
                marks: new,
                has_changed: new != known,
            });
        }
        let written = Written {
            head: self.head(),
            outcomes,
        };
        if let Some(before) = before {
            (self.data, self.loses_next) = (before, false);
            self.run += 1;
        }
        written
    }
}

/// The way of one instance to the store.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) world: Arc<Mutex<World>>,
    pub(super) state: Arc<AtomicU8>,
}

pub(super) const UP: u8 = 0;
/// Errors at once.
pub(super) const CUT: u8 = 1;
/// No answers.
pub(super) const HUNG: u8 = 2;
/// The store gets what it is sent, but its answers are lost.
pub(super) const MUTE: u8 = 3;

impl Link {
    /// Some time on the way, which is other for each part of an operation.
    async fn pass(&self, is_answer: bool) -> Result<(), StoreError> {
        sleep(Duration::from_millis(1)).await;
        match self.state.load(Ordering::SeqCst) {
            CUT => Err(StoreError("cut".to_owned())),
            HUNG => std::future::pending().await,
            MUTE if is_answer => std::future::pending().await,
            _ => Ok(()),
        }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("model")
    }
}

impl Connect for Link {
    type Store = Self;

    async fn connect(&self) -> Result<Self, StoreError> {
        self.pass(true).await?;
        Ok(self.clone())
    }
}

impl Store for Link {
    async fn beat(&mut self, known: Option<&Head>) -> Result<Beat, StoreError> {
        self.pass(false).await?;
        let beat = self.world().beat(known);
        self.pass(true).await?;
        Ok(beat)
    }

    /// Two rows at a time, so that changes come between the pages.
    async fn page(&mut self, cursor: u64) -> Result<(u64, Vec<Row>), StoreError> {
        self.pass(false).await?;
        let at = usize::try_from(cursor).unwrap();
        let (rows, is_end) = {
            let world = self.world();
            let rows: Vec<_> = world
                .data
                .rows
                .values()
                .skip(at)
                .take(2)
                .cloned()
                .map(Ok)
                .collect();
            (rows, at + 2 >= world.data.rows.len())
        };
        self.pass(true).await?;
        Ok((if is_end { 0 } else { cursor + 2 }, rows))
    }

    async fn read(&mut self, after: u64, wait: Option<Duration>) -> Result<Vec<Entry>, StoreError> {
        let end = Instant::now() + wait.unwrap_or_default();
        loop {
            self.pass(false).await?;
            let entries: Vec<_> = {
                let world = self.world();
                let log = world.data.log.iter().filter(|(number, ..)| *number > after);
                log.take(3)
                    .map(|(number, store, target, marks)| Entry {
                        store: store.clone(),
                        number: *number,
                        row: Ok((target.clone(), *marks)),
                    })
                    .collect()
            };
            if !entries.is_empty() || Instant::now() >= end {
                self.pass(true).await?;
                return Ok(entries);
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn write(&mut self, changes: &[Change]) -> Result<Written, StoreError> {
        self.pass(false).await?;
        let written = self.world().write(changes);
        self.pass(true).await?;
        Ok(written)
    }
}
