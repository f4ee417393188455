//! A model of the threads of the cache and of a revocation, for [Loom]. Loom runs each history in
//! every order that the memory model allows.
//!
//! ```sh
//! cargo run --manifest-path model/Cargo.toml
//! ```
//!
//! The code is that of the crate, except `sync.rs`: here the atomics and the lock are those of
//! Loom, and a slot is a lock in place of an atomic pointer. The key is always the same. In the
//! first two histories the cache is full, so that a new entry takes the place of another one.
//!
//! [Loom]: https://docs.rs/loom

// The cache imports its random bytes and its hash under this name. Both are deterministic, because
// a history must be the same in every run.
extern crate self as aws_lc_rs;

mod digest;
mod rand;
mod sync;

/// Files of the crate.
#[path = "../../src"]
#[allow(
    dead_code,
    unexpected_cfgs,
    unused_imports,
    reason = "the model uses a part of them"
)]
mod own {
    pub(crate) mod cache;
    pub(crate) mod clock;
    pub(crate) mod epoch;
}

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use own::cache::{self, Cache, Grow, Growth, Lifetime, Limits};
use own::clock::{self, NumericDate};
use own::epoch::{ActiveAt, Epoch};
use sync::Slot;

impl Grow for u32 {
    fn growth(&self) -> Option<&Growth> {
        None
    }
}

fn main() {
    let histories: [(&str, fn()); 9] = [
        (
            "a reader finds its own token while another takes its place",
            replaced,
        ),
        (
            "a token that two bring at a time takes one place",
            brought_twice,
        ),
        ("two writers keep the books and the bounds", two_writers),
        (
            "removing a dead entry spares the one that came instead",
            renewed,
        ),
        ("a removed verdict does not come back", rejected),
        ("the newest generation counts", confirmed),
        ("a use while an entry is given up is no harm", marked),
        (
            "no request accepts a token after its mark was acknowledged",
            revoked,
        ),
        (
            "a late check does not hide a mark from the next request",
            checked_late,
        ),
    ];
    for (name, history) in histories {
        loom::model(history);
        println!("ok: {name}");
    }
}

fn replaced() {
    let cache = filled(1);
    put(&cache, 2, NOW); // it is stored when it comes the second time
    let writer = spawn(&cache, |cache| put(cache, 2, NOW));
    let reader = spawn(&cache, |cache| {
        assert!(matches!(get(cache, 1), None | Some(1)));
        assert!(matches!(get(cache, 2), None | Some(2)));
    });
    writer.join().unwrap();
    reader.join().unwrap();
    assert_eq!(held(&cache), 1);
    // The first entry stays if it was read before the second one was stored, because then it is in
    // use.
    let found = (get(&cache, 1), get(&cache, 2));
    assert!(matches!(found, (Some(1), None) | (None, Some(2))));
}

fn brought_twice() {
    let cache = filled(1);
    put(&cache, 2, NOW);
    let writers = [2, 2].map(|number| spawn(&cache, move |cache| put(cache, number, NOW)));
    for writer in writers {
        writer.join().unwrap();
    }
    assert_eq!(held(&cache), 1);
    assert_eq!((get(&cache, 1), get(&cache, 2)), (None, Some(2)));
}

fn two_writers() {
    let cache = filled(2);
    let writers = [2, 3].map(|number| spawn(&cache, move |cache| put(cache, number, NOW)));
    for writer in writers {
        writer.join().unwrap();
    }
    // The first writer takes the free place. If both were admitted while it was free, the second
    // takes the place of the old entry.
    let found = [1, 2, 3].map(|number| get(&cache, number).is_some());
    assert!(matches!(
        found,
        [true, true, false] | [true, false, true] | [false, true, true]
    ));
    assert_eq!(held(&cache), 2);
}

fn renewed() {
    let cache = Arc::new(empty(1));
    let short = Lifetime {
        from: NumericDate(0.0),
        until: NumericDate(20.0),
    };
    cache.put(token(1).as_bytes(), NOW, short, 0, 1, 1);
    let later = NumericDate(20.0);
    let find = move |cache: &Cache<u32>| {
        let found = cache.get(token(1).as_bytes(), later, |entry| Some(*entry.value()));
        assert!(matches!(found, None | Some(2)), "the old verdict is over");
        found
    };
    let reader = spawn(&cache, find);
    let writer = spawn(&cache, move |cache| {
        cache.put(token(1).as_bytes(), later, ALWAYS, 0, 2, 1);
        find(cache)
    });
    reader.join().unwrap();
    // If the reader held the lock, the new token was not stored.
    let renewed = writer.join().unwrap();
    assert_eq!(find(&cache), renewed);
    assert_eq!(held(&cache), usize::from(renewed.is_some()));
}

fn rejected() {
    let cache = filled(1);
    let rejecting = spawn(&cache, |cache| {
        cache.get(token(1).as_bytes(), NOW, |_| None::<()>);
    });
    let reader = spawn(&cache, |cache| {
        let first = get(cache, 1);
        let second = get(cache, 1);
        assert!(first.is_some() || second.is_none(), "it came back");
    });
    rejecting.join().unwrap();
    reader.join().unwrap();
    assert_eq!((get(&cache, 1), held(&cache)), (None, 0));
}

fn confirmed() {
    let cache = filled(1);
    let confirming = [5, 6].map(|generation| {
        spawn(&cache, move |cache| {
            cache.get(token(1).as_bytes(), NOW, |entry| {
                entry.confirm(generation);
                assert!(entry.generation() >= generation);
                Some(())
            });
        })
    });
    for thread in confirming {
        thread.join().unwrap();
    }
    let generation = cache.get(token(1).as_bytes(), NOW, |entry| Some(entry.generation()));
    assert_eq!(generation, Some(6));
}

fn marked() {
    let cache = filled(2);
    let reader = spawn(&cache, |cache| get(cache, 1));
    let writer = spawn(&cache, |cache| {
        put(cache, 2, NOW);
        put(cache, 3, NOW);
        put(cache, 3, NOW);
    });
    reader.join().unwrap();
    writer.join().unwrap();
    let found = [1, 2, 3].map(|number| get(&cache, number));
    assert_eq!(found.iter().flatten().count(), held(&cache));
    assert!(held(&cache) <= 2);
}

/// A cached token, a list with at most one mark, and whether the mark was acknowledged.
struct Revocation {
    mark: Slot<()>,
    epoch: Epoch,
    active_at: ActiveAt,
    is_acknowledged: AtomicBool,
}

impl Revocation {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            mark: Slot::empty(),
            epoch: Epoch::new(),
            active_at: ActiveAt::never(),
            is_acknowledged: AtomicBool::new(false),
        })
    }

    fn revoke(&self) {
        self.mark.swap(Some(std::sync::Arc::new(())));
        self.epoch.raise();
        self.is_acknowledged.store(true, Ordering::Release);
    }

    /// The decision on one request, as in the verifier.
    fn accepts(&self) -> bool {
        let is_acknowledged = self.is_acknowledged.load(Ordering::Acquire);
        let known = self.active_at.is_known().then(|| 1 + self.epoch.get());
        let accepts = known.is_some_and(|epoch| self.active_at.is(epoch)) || {
            let epoch = 1 + self.epoch.get();
            let is_active = self.mark.load().is_none();
            if is_active {
                self.active_at.note(epoch);
            }
            is_active
        };
        assert!(!(is_acknowledged && accepts), "accepted after its mark");
        accepts
    }
}

fn revoked() {
    let world = Revocation::new();
    assert!(world.accepts());
    let writer = {
        let world = Arc::clone(&world);
        thread::spawn(move || world.revoke())
    };
    let reader = {
        let world = Arc::clone(&world);
        thread::spawn(move || {
            let first = world.accepts();
            assert!(first || !world.accepts(), "accepted again");
        })
    };
    writer.join().unwrap();
    reader.join().unwrap();
    assert!(!world.accepts());
}

fn checked_late() {
    let world = Revocation::new();
    let reader = {
        let world = Arc::clone(&world);
        thread::spawn(move || world.accepts())
    };
    world.revoke();
    assert!(!world.accepts());
    reader.join().unwrap();
    assert!(!world.accepts());
}

/// A cache of one bucket with room for this number of tokens, after a sweep. So a sweep happens in
/// one history only.
fn empty(entries: usize) -> Cache<u32> {
    let cache = Cache::new(Limits {
        entries,
        bytes: 1_000,
    });
    cache.prepare();
    assert_eq!(get(&cache, 0), None);
    cache
}

/// The same with the first token in it.
fn filled(entries: usize) -> Arc<Cache<u32>> {
    let cache = empty(entries);
    put(&cache, 1, NumericDate(NOW.0 - 1.0));
    Arc::new(cache)
}

fn spawn<R: 'static>(
    cache: &Arc<Cache<u32>>,
    act: impl FnOnce(&Cache<u32>) -> R + 'static,
) -> thread::JoinHandle<R> {
    let cache = Arc::clone(cache);
    thread::spawn(move || act(&cache))
}

fn put(cache: &Cache<u32>, number: u32, now: NumericDate) {
    cache.put(token(number).as_bytes(), now, ALWAYS, 0, number, 1);
}

fn get(cache: &Cache<u32>, number: u32) -> Option<u32> {
    cache.get(token(number).as_bytes(), NOW, |entry| {
        assert_eq!(*entry.value(), number, "the value of another token");
        Some(*entry.value())
    })
}

/// The number of entries, as `Debug` prints it. Each entry has the weight 1.
fn held(cache: &Cache<u32>) -> usize {
    let books = format!("{cache:?}");
    let number = |name: &str| -> usize {
        let (_, rest) = books.split_once(name).unwrap();
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap();
        digits.parse().unwrap()
    };
    assert_eq!(number("Cache { entries: "), number(", bytes: "));
    number("Cache { entries: ")
}

fn token(number: u32) -> String {
    format!("eyJhbGciOiJIUzI1NiJ9.e30.{}{number:08}", "s".repeat(40))
}

const NOW: NumericDate = NumericDate(10.0);
const ALWAYS: Lifetime = Lifetime {
    from: NumericDate(0.0),
    until: NumericDate(100.0),
};
