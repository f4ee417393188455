//! [`Store`]: what the copy in memory needs of the store behind it.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use crate::revocation::RevocationTarget;
use crate::revocation::marks::Marks;
use crate::revocation::shared::entry::{Entry, Row};

/// A connection to the store.
pub(super) trait Store: Clone + Send + Sync + 'static {
    /// Asks a store that accepts writes for its head. If the store has lost changes that the caller knows,
    /// or runs in another process than before, it gets a new id first.
    fn beat(
        &mut self,
        known: Option<&Head>,
    ) -> impl Future<Output = Result<Beat, StoreError>> + Send;

    /// Some of the rows, and the cursor of the next ones. Cursor 0 is the beginning and the end.
    fn page(
        &mut self,
        cursor: u64,
    ) -> impl Future<Output = Result<(u64, Vec<Row>), StoreError>> + Send;

    /// The first changes after this number. Waits for some if there are none.
    fn read(
        &mut self,
        after: u64,
        wait: Option<Duration>,
    ) -> impl Future<Output = Result<Vec<Entry>, StoreError>> + Send;

    /// Makes all changes in one step.
    fn write(
        &mut self,
        changes: &[Change],
    ) -> impl Future<Output = Result<Written, StoreError>> + Send;
}

pub(super) trait Connect: fmt::Display + Send + Sync + 'static {
    type Store: Store;

    fn connect(&self) -> impl Future<Output = Result<Self::Store, StoreError>> + Send;
}

/// The state of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Another one after a loss of data.
    pub(super) id: Box<str>,
    /// The number of the last change.
    pub(super) number: u64,
}

/// The answer to a beat.
pub(super) struct Beat {
    pub(super) head: Head,
    /// The ids that the store had before, each with its last number.
    pub(super) past: Vec<Head>,
}

pub(super) struct Change {
    pub(super) target: RevocationTarget,
    pub(super) wish: Wish,
}

pub(super) enum Wish {
    /// Adds these marks.
    Add(Marks),
    /// Ends the suspension.
    Lift,
    /// Adds these marks after a loss. A suspension that was lifted since is left out.
    Restore(Marks),
}

/// The state after a write.
pub(super) struct Written {
    pub(super) head: Head,
    /// One for each change, in their order.
    pub(super) outcomes: Vec<Outcome>,
}

pub(super) enum Outcome {
    Full,
    Stored {
        /// All marks that the target has now.
        marks: Marks,
        has_changed: bool,
    },
    /// The target has marks of a newer version, which this version must not replace.
    Unknown,
}

/// Why the store did not do what it was asked for.
#[derive(Clone, Debug)]
pub(super) struct StoreError(pub(super) String);

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
