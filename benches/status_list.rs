//! The cost of a status list: fetched, verified and inflated once, and then looked up.
//!
//! `cargo bench --all-features --bench status_list`. The list has a million statuses, of which every
//! second one is set at random, so that it does not compress: the worst case for its size.

#![expect(
    clippy::unwrap_used,
    reason = "a bench that cannot be set up has to stop"
)]

#[path = "../src/revocation/status_list/packed.rs"]
mod packed;

use std::future::ready;

use aws_lc_rs::rand::fill;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use divan::{Bencher, black_box};
use http::header::CONTENT_TYPE;
use http::{Request, Response};
use miniz_oxide::deflate::compress_to_vec_zlib;
use serde_json::json;
use tokio::runtime::Runtime;
use tower_jwt_auth::Claims;
use tower_jwt_auth::revocation::{Revocation, RevocationCheck, StatusLists};
use tower_jwt_auth::test::TestIssuer;

use packed::Packed;

fn main() {
    divan::main();
}

/// The time until the first token of a list has its status: signature, JSON, base64url and zlib.
#[divan::bench]
fn first_token_of_a_million(bencher: Bencher<'_, '_>) {
    let (runtime, issuer, list) = setting();
    let claims = claims(&issuer);
    bencher
        .with_inputs(|| lists(&issuer, &list))
        .bench_local_values(|lists| {
            runtime.block_on(async {
                match lists.check(&claims) {
                    RevocationCheck::Pending(check) => drop(black_box(check.await.unwrap())),
                    _ => unreachable!("the list is not there yet"),
                }
            });
            lists
        });
}

/// The whole check of a further token: its claim is read, and its status is looked up.
#[divan::bench]
fn further_token_of_a_million(bencher: Bencher<'_, '_>) {
    let (runtime, issuer, list) = setting();
    let (claims, lists) = (claims(&issuer), lists(&issuer, &list));
    let _inside = runtime.enter();
    if let RevocationCheck::Pending(check) = lists.check(&claims) {
        let _ = runtime.block_on(check);
    }
    bencher.bench_local(|| lists.check(black_box(&claims)));
}

/// The look-up of a status alone, at a changing index.
#[divan::bench(sample_count = 1_000, sample_size = 10_000)]
fn bare_look_up_in_a_million(bencher: Bencher<'_, '_>) {
    let mut statuses = vec![0; 125_000];
    fill(&mut statuses).unwrap();
    let packed = Packed::new(1, statuses).unwrap();
    assert_eq!(packed.size(), 125_000);
    let mut index = 0_u64;
    bencher.bench_local(|| {
        // Visits all indices in an irregular order.
        index = (index + 618_034) % 1_000_000;
        packed.get(black_box(index))
    });
}

/// A request with a cached token of that list, and with one that names no list.
#[divan::bench(args = [true, false])]
fn cached_token(bencher: Bencher<'_, '_>, names_a_list: bool) {
    let (runtime, issuer, list) = setting();
    let _inside = runtime.enter();
    let status = json!({ "status_list": { "idx": ACTIVE, "uri": LIST } });
    let token = issuer.token();
    let token = match names_a_list {
        true => token.claim("status", status).mint(),
        false => token.mint(),
    };
    let verifier = issuer.auth().revocation(lists(&issuer, &list)).verifier();
    for _ in 0..2 {
        runtime.block_on(verifier.verify(&token)).unwrap();
    }
    bencher.bench_local(|| verifier.verify_now(black_box(&token)).unwrap());
}

/// The same without the check of status lists.
#[divan::bench]
fn cached_token_without_a_check(bencher: Bencher<'_, '_>) {
    let (_, issuer, _) = setting();
    let (token, verifier) = (issuer.token().mint(), issuer.auth().verifier());
    verifier.verify_now(&token).unwrap();
    bencher.bench_local(|| verifier.verify_now(black_box(&token)).unwrap());
}

/// The same for a token that names no list.
#[divan::bench]
fn token_without_a_list(bencher: Bencher<'_, '_>) {
    let (runtime, issuer, list) = setting();
    let lists = lists(&issuer, &list);
    let _inside = runtime.enter();
    let token = issuer.token().mint();
    let claims: Claims = issuer.auth().verifier().verify_now(&token).unwrap();
    bencher.bench_local(|| lists.check(black_box(&claims)));
}

fn setting() -> (Runtime, TestIssuer, Vec<u8>) {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    let issuer = TestIssuer::new();
    let mut statuses = vec![0; 125_000];
    fill(&mut statuses).unwrap();
    if let Some(first) = statuses.first_mut() {
        *first = 0;
    }
    let statuses = URL_SAFE_NO_PAD.encode(compress_to_vec_zlib(&statuses, 6));
    let list = issuer.token().header("typ", "statuslist+jwt").subject(LIST);
    let list = list.claim("status_list", json!({ "bits": 1, "lst": statuses }));
    (runtime, issuer, list.mint().into_bytes())
}

fn lists(issuer: &TestIssuer, list: &[u8]) -> StatusLists {
    let list = list.to_vec();
    let fetch = move |_: Request<Vec<u8>>, _: usize| {
        let response = Response::builder().header(CONTENT_TYPE, "application/statuslist+jwt");
        ready(Ok(response.body(list.clone()).unwrap()))
    };
    let prefix = "https://as.example/lists/";
    let lists = StatusLists::new(fetch).issuer(issuer.issuer(), issuer.keys(), prefix);
    lists.unwrap()
}

fn claims(issuer: &TestIssuer) -> Claims {
    let status = json!({ "status_list": { "idx": 777_777, "uri": LIST } });
    let token = issuer.token().claim("status", status).mint();
    issuer.auth().verifier().verify_now(&token).unwrap()
}

/// The index of a token that is certainly not revoked.
const ACTIVE: u64 = 3;
const LIST: &str = "https://as.example/lists/1";
