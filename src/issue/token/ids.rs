//! The ids of tokens: 128 random bits each (RFC 7519, section 4.1.7).

use std::cell::RefCell;
use std::process;

use aws_lc_rs::rand;
use base64_simd::URL_SAFE_NO_PAD;

/// A new id. `None` if the system has no random bytes.
pub(super) fn new_id() -> Option<String> {
    let random = DRAWN.with_borrow_mut(Drawn::next)?;
    Some(URL_SAFE_NO_PAD.encode_to_string(random))
}

thread_local! {
    static DRAWN: RefCell<Drawn> = const { RefCell::new(Drawn::NONE) };
}

/// Random bytes for the next ids of a thread.
///
/// A call of the generator takes 0.9 us, about as much as all else beside the signature of a token with `HS256`. So
/// each call draws several ids. They are no secrets, and it does no harm that they are in memory before they are used.
struct Drawn {
    ids: [[u8; 16]; COUNT],
    /// The number of ids that are used.
    used: usize,
    /// The process that drew them. A process that was forked does not use the ids of its parent. A copy of a whole
    /// virtual machine that runs on beside it does, for up to 31 tokens of each thread.
    process: u32,
}

impl Drawn {
    const NONE: Self = Self {
        ids: [[0; 16]; COUNT],
        used: COUNT,
        process: 0,
    };

    fn next(&mut self) -> Option<[u8; 16]> {
        let process = process::id();
        if self.used >= COUNT || self.process != process {
            // If this fails, nothing is left to use.
            self.used = COUNT;
            rand::fill(self.ids.as_flattened_mut()).ok()?;
            (self.used, self.process) = (0, process);
        }
        let id = *self.ids.get(self.used)?;
        self.used = self.used.saturating_add(1);
        Some(id)
    }
}

const COUNT: usize = 32;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::thread;

    use super::*;

    #[test]
    fn ids_of_several_threads_differ() {
        let threads: Vec<_> = (0..4)
            .map(|_| thread::spawn(|| (0..1_000).map(|_| new_id().unwrap()).collect::<Vec<_>>()))
            .collect();
        let ids: HashSet<_> = threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect();
        assert_eq!(ids.len(), 4_000);
        assert!(ids.iter().all(|id| id.len() == 22));
    }

    #[test]
    fn a_forked_process_draws_ids_of_its_own() {
        let mut drawn = Drawn::NONE;
        let first = drawn.next().unwrap();
        let second = drawn.ids[1];
        assert_ne!(first, second);
        drawn.process = drawn.process.wrapping_add(1);
        let other = drawn.next().unwrap();
        assert!(other != first && other != second);
        assert_eq!(drawn.used, 1);
    }
}
