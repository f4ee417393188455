//! What a status list costs: fetched, verified and inflated once, and then looked up.
//!
//! `cargo bench --all-features --bench status_list`. The list has a million statuses, of which every
//! second one is set at random, so that it does not compress: the worst case for its size.

#![expect(
    clippy::unwrap_used,
    reason = "a bench that cannot be set up has to stop"
)]

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
    let lists = StatusLists::new(fetch).issuer(issuer.issuer(), issuer.keys(), [prefix]);
    lists.unwrap()
}

fn claims(issuer: &TestIssuer) -> Claims {
    let status = json!({ "status_list": { "idx": 777_777, "uri": LIST } });
    let token = issuer.token().claim("status", status).mint();
    issuer.auth().verifier().verify_now(&token).unwrap()
}

const LIST: &str = "https://as.example/lists/1";
