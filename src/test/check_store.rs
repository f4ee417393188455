//! [`check_store`]: finds what is wrong with a store of sessions.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::fill;
use base64_simd::URL_SAFE_NO_PAD;

use crate::issue::{LoginStore, LoginStoreError, StoredSession};
use crate::test::violation::Violation;

/// Checks your own [`LoginStore`], with up to 1 000 concurrent tasks. Returns what is wrong with it. If
/// the result is empty, the store can be used.
///
/// `make` returns a connected store. It is called once for each part of the check, and may return the
/// same store again. The check creates rows with random ids, so it can run against a database that
/// contains other rows. It does not remove these rows.
///
/// Call it in a tokio runtime with several threads, because race conditions of a store in memory
/// need threads.
///
/// # Panics
///
/// Panics outside a tokio runtime.
///
/// # Example
///
/// ```
/// use tower_jwt_auth::issue::MemoryLogins;
/// use tower_jwt_auth::test::check_store;
///
/// # tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap().block_on(async {
/// assert_eq!(check_store(async || MemoryLogins::default()).await, []);
/// # });
/// ```
pub async fn check_store<S: LoginStore>(make: impl AsyncFn() -> S) -> Vec<Violation> {
    let make = async || {
        let store: Arc<dyn LoginStore> = Arc::new(make().await);
        store
    };
    let mut found = Found::default();
    let parts = [
        stores_every_value(make().await).await,
        inserts_once(make().await).await,
        updates_the_expected_version(make().await).await,
        ends_for_good(make().await).await,
        lists_one_subject(make().await).await,
        has_one_winner(make().await).await,
        loses_no_step(make().await).await,
    ];
    for part in parts {
        found.end(part);
    }
    found.0
}

/// The result of a part: an error ends it.
type Part = Result<Vec<Violation>, Violation>;

#[derive(Default)]
struct Found(Vec<Violation>);

impl Found {
    fn add(&mut self, violation: Violation) {
        if !self.0.contains(&violation) {
            self.0.push(violation);
        }
    }

    fn check(&mut self, is_right: bool, violation: Violation) {
        if !is_right {
            self.add(violation);
        }
    }

    fn end(&mut self, part: Part) {
        match part {
            Ok(violations) => violations.into_iter().for_each(|one| self.add(one)),
            Err(violation) => self.add(violation),
        }
    }
}

/// Turns an error of the store into a violation.
trait OrFailed<T> {
    fn or_failed(self, operation: &'static str) -> Result<T, Violation>;
}

impl<T> OrFailed<T> for Result<T, LoginStoreError> {
    fn or_failed(self, operation: &'static str) -> Result<T, Violation> {
        let reason = |error: LoginStoreError| error.to_string();
        self.map_err(|error| Violation::Failed {
            operation,
            reason: reason(error),
        })
    }
}

async fn stores_every_value(store: Arc<dyn LoginStore>) -> Part {
    let mut found = Found::default();
    for (subject, data) in [
        ("plain", "{}".to_owned()),
        (
            "名前 'quoted\" \\ %_ \u{1f600}",
            "{\"a\":\"'\\\"\\\\ \u{1f600}\"}".to_owned(),
        ),
        ("", format!("\"{}\"", "x".repeat(64 * 1024))),
    ] {
        let mut session = session(subject);
        session.data = data;
        store.insert(session.clone()).await.or_failed("insert")?;
        match load(&store, &session.id).await? {
            Some(loaded) => found.check(loaded == session, Violation::Altered),
            None => found.add(Violation::Missing),
        }
    }
    Ok(found.0)
}

async fn inserts_once(store: Arc<dyn LoginStore>) -> Part {
    let mut found = Found::default();
    let first = session("alice");
    let takers = (0..TAKERS / 10).map(|number| {
        let session = StoredSession {
            data: number.to_string(),
            ..first.clone()
        };
        let inserting = store.insert(session.clone());
        async move { inserting.await.map(|()| session) }
    });
    let inserted = at_once(takers, "insert").await?;
    let mut winners = inserted.into_iter().filter_map(Result::ok);
    let winner = winners.next();
    found.check(winner.is_some(), Violation::Missing);
    found.check(winners.next().is_none(), Violation::Duplicate);
    found.check(
        load(&store, &first.id).await? == winner,
        Violation::Duplicate,
    );
    let mut second = session("mallory");
    second.id = first.id;
    let is_rejected = store.insert(second.clone()).await.is_err();
    found.check(is_rejected, Violation::Duplicate);
    found.check(
        load(&store, &second.id).await? == winner,
        Violation::Duplicate,
    );
    // An id that differs in case is another id.
    let mut other = session("bob");
    other.id = swapped_case(&second.id);
    store.insert(other.clone()).await.or_failed("insert")?;
    let both = [
        load(&store, &other.id).await?,
        load(&store, &second.id).await?,
    ];
    found.check(both == [Some(other), winner], Violation::Mixed);
    Ok(found.0)
}

async fn updates_the_expected_version(store: Arc<dyn LoginStore>) -> Part {
    let mut found = Found::default();
    let unknown = session("alice");
    found.check(load(&store, &unknown.id).await?.is_none(), Violation::Mixed);
    for expected in [0, 1, 2] {
        let is_updated = update(&store, &unknown, expected).await?;
        found.check(!is_updated, Violation::Inserted);
        found.check(
            load(&store, &unknown.id).await?.is_none(),
            Violation::Inserted,
        );
    }
    let mut stored = session("alice");
    let neighbor = session("alice");
    for session in [&stored, &neighbor] {
        store.insert(session.clone()).await.or_failed("insert")?;
    }
    for round in 0..20 {
        let next = next(&stored, &format!("round {round}"));
        for wrong in [
            0,
            stored.version.saturating_add(1),
            stored.version.saturating_add(2),
        ] {
            let is_updated = update(&store, &next, wrong).await?;
            found.check(!is_updated, Violation::LostUpdate);
        }
        found.check(
            update(&store, &next, stored.version).await?,
            Violation::LostUpdate,
        );
        // Two reads, because the second copy may be stale.
        for _ in 0..2 {
            found.check(
                load(&store, &next.id).await?.as_ref() == Some(&next),
                Violation::Stale,
            );
            let listed = list(&store, &next.subject).await?;
            found.check(listed.contains(&next), Violation::Stale);
        }
        stored = next;
    }
    let untouched = load(&store, &neighbor.id).await?;
    found.check(untouched == Some(neighbor), Violation::Altered);
    Ok(found.0)
}

async fn ends_for_good(store: Arc<dyn LoginStore>) -> Part {
    let mut found = Found::default();
    let first = session("alice");
    store.insert(first.clone()).await.or_failed("insert")?;
    let second = next(&first, "alive");
    let ended = next(&second, "ended");
    for (session, expected) in [(&second, first.version), (&ended, second.version)] {
        let is_updated = update(&store, session, expected).await?;
        found.check(is_updated, Violation::LostUpdate);
    }
    // Writers that have read the session before it ended.
    for (late, expected) in [
        (&second, first.version),
        (&next(&second, "late"), second.version),
    ] {
        let is_updated = update(&store, late, expected).await?;
        found.check(!is_updated, Violation::Returned);
    }
    let is_inserted = store.insert(first.clone()).await.is_ok();
    found.check(!is_inserted, Violation::Duplicate);
    for _ in 0..20 {
        let loaded = load(&store, &first.id).await?;
        found.check(loaded.as_ref() == Some(&ended), Violation::Returned);
        let listed = list(&store, &first.subject).await?;
        let is_alive = |one: &StoredSession| one.id == ended.id && *one != ended;
        found.check(!listed.iter().any(is_alive), Violation::Returned);
    }
    Ok(found.0)
}

async fn lists_one_subject(store: Arc<dyn LoginStore>) -> Part {
    let mut found = Found::default();
    let base = format!("alice-{}", random_id());
    let near = [
        base.clone(),
        format!("{base} "),
        format!(" {base}"),
        format!("{base}2"),
        base.to_uppercase(),
        format!("{}%", &base),
        base.replace('a', "_"),
        String::new(),
    ];
    let mut stored = Vec::new();
    for subject in near.iter().chain(&near) {
        let mut session = session("");
        session.subject.clone_from(subject);
        store.insert(session.clone()).await.or_failed("insert")?;
        stored.push(session);
    }
    for subject in &near {
        let listed = list(&store, subject).await?;
        let is_other = |one: &StoredSession| one.subject != *subject;
        let is_new = |one: &StoredSession| !stored.contains(one);
        found.check(!listed.iter().any(is_other), Violation::Leaked);
        // The empty subject may have rows of an earlier check.
        found.check(
            subject.is_empty() || !listed.iter().any(is_new),
            Violation::Leaked,
        );
        for session in stored.iter().filter(|one| one.subject == *subject) {
            let times = listed.iter().filter(|one| *one == session).count();
            found.check(times == 1, Violation::Missing);
        }
    }
    let nobody = list(&store, &format!("nobody-{}", random_id())).await?;
    found.check(nobody.is_empty(), Violation::Leaked);
    Ok(found.0)
}

/// Many tasks update one version.
async fn has_one_winner(store: Arc<dyn LoginStore>) -> Part {
    let mut found = Found::default();
    let first = session("alice");
    store.insert(first.clone()).await.or_failed("insert")?;
    let takers = (0..TAKERS).map(|number| {
        let store = Arc::clone(&store);
        let wanted = next(&first, &format!("taker {number}"));
        let expected = first.version;
        async move {
            if !update(&store, &wanted, expected).await? {
                return Ok((None, true));
            }
            let loaded = load(&store, &wanted.id).await?;
            let is_seen = loaded.as_ref() == Some(&wanted);
            Ok((Some(wanted), is_seen))
        }
    });
    let mut winners = Vec::new();
    for taken in at_once(takers, "update").await? {
        let (winner, is_seen) = taken?;
        found.check(is_seen, Violation::Stale);
        winners.extend(winner);
    }
    found.check(winners.len() == 1, Violation::LostUpdate);
    let last = load(&store, &first.id).await?;
    found.check(last.as_ref() == winners.first(), Violation::LostUpdate);
    Ok(found.0)
}

/// Tasks count up, each with as many attempts as it needs.
async fn loses_no_step(store: Arc<dyn LoginStore>) -> Part {
    let mut found = Found::default();
    let mut first = session("alice");
    first.data = "0".to_owned();
    store.insert(first.clone()).await.or_failed("insert")?;
    let counters = (0..COUNTERS).map(|_| {
        let (store, id) = (Arc::clone(&store), first.id.clone());
        async move {
            for _ in 0..STEPS {
                // A step ends at the latest when all others are done.
                for attempt in 0.. {
                    let stored = load(&store, &id).await?.ok_or(Violation::Missing)?;
                    let count: u64 = stored.data.parse().map_err(|_| Violation::Altered)?;
                    let next = next(&stored, &count.saturating_add(1).to_string());
                    if update(&store, &next, stored.version).await? {
                        break;
                    }
                    if attempt > COUNTERS * STEPS {
                        return Err(Violation::LostUpdate);
                    }
                }
            }
            Ok(())
        }
    });
    for counted in at_once(counters, "update").await? {
        found.end(counted.map(|()| Vec::new()));
    }
    let last = load(&store, &first.id).await?.ok_or(Violation::Missing)?;
    let steps = COUNTERS * STEPS;
    let is_whole = last.data == steps.to_string() && last.version == first.version + steps;
    found.check(is_whole, Violation::LostUpdate);
    Ok(found.0)
}

/// Runs all of them as tasks.
async fn at_once<F>(
    tasks: impl Iterator<Item = F>,
    operation: &'static str,
) -> Result<Vec<F::Output>, Violation>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let running: Vec<_> = tasks.map(tokio::spawn).collect();
    let mut results = Vec::new();
    for task in running {
        let result = task.await.map_err(|error| Violation::Failed {
            operation,
            reason: error.to_string(),
        });
        results.push(result?);
    }
    Ok(results)
}

async fn load(store: &Arc<dyn LoginStore>, id: &str) -> Result<Option<StoredSession>, Violation> {
    store.load(id).await.or_failed("load")
}

async fn update(
    store: &Arc<dyn LoginStore>,
    session: &StoredSession,
    expected: u64,
) -> Result<bool, Violation> {
    let updating = store.update(session.clone(), expected);
    updating.await.or_failed("update")
}

async fn list(store: &Arc<dyn LoginStore>, subject: &str) -> Result<Vec<StoredSession>, Violation> {
    store.list(subject).await.or_failed("list")
}

/// A session that is not stored yet. Subjects with a name are unique too.
fn session(subject: &str) -> StoredSession {
    let tomorrow = SystemTime::now() + Duration::from_secs(86_400);
    let since = tomorrow.duration_since(UNIX_EPOCH).unwrap_or_default();
    let subject = match subject {
        "" => String::new(),
        name => format!("{name}-{}", random_id()),
    };
    StoredSession::new(random_id(), subject, 1, since.as_secs(), "{}".to_owned())
}

/// The next version of a session, with this text and a later end.
fn next(session: &StoredSession, text: &str) -> StoredSession {
    StoredSession {
        version: session.version + 1,
        expires_at: session.expires_at + 60,
        data: match text.parse::<u64>() {
            Ok(_) => text.to_owned(),
            Err(_) => format!("\"{text}\""),
        },
        ..session.clone()
    }
}

/// A text of the length of session ids.
fn random_id() -> String {
    let mut random = [0; 16];
    fill(&mut random).expect("the system has random bytes");
    // A letter at the start has another case.
    let text = URL_SAFE_NO_PAD.encode_to_string(random);
    format!("x{}", text.get(1..).unwrap_or_default())
}

fn swapped_case(id: &str) -> String {
    let swap = |c: char| match c {
        'a'..='z' => c.to_ascii_uppercase(),
        _ => c.to_ascii_lowercase(),
    };
    id.chars().map(swap).collect()
}

const TAKERS: usize = 1_000;
const COUNTERS: u64 = 16;
const STEPS: u64 = 8;
