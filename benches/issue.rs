//! The time to issue an access token, compared with `jsonwebtoken::encode` and with a bare signature in the same run.
//!
//! `cargo bench --all-features --bench issue`. Compare the ratios, because times depend on the machine. `encode` gets
//! ready claims; our time includes a new `jti`, and the search for secrets in the own claims.

#![expect(
    clippy::unwrap_used,
    reason = "a bench that cannot be set up has to stop"
)]

use std::future::Future;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use divan::{AllocProfiler, Bencher, black_box};
use jsonwebtoken::{EncodingKey, Header};
use serde::Serialize;
use tower_jwt_auth::issue::{
    IssuedToken, Login, Logins, MemoryLogins, RefreshKeys, SigningKeys, TokenIssuer,
};
use tower_jwt_auth::{Algorithm, Audience, Issuer, scope};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const ALGORITHMS: [Algorithm; 4] = [
    Algorithm::HS256,
    Algorithm::ES256,
    Algorithm::EdDSA,
    Algorithm::RS256,
];
const SECRET: &[u8] = b"Zb5Tq0vWn8Rk2YxLm4Pc7Hs1Dg9Uf3Ea";

fn main() {
    divan::main();
}

#[derive(Clone, Serialize)]
struct User {
    email: &'static str,
    locale: &'static str,
    roles: [&'static str; 2],
}

const USER: User = User {
    email: "alice@example.com",
    locale: "en",
    roles: ["editor", "viewer"],
};

/// The claims of the tokens, for `jsonwebtoken`.
#[derive(Clone, Serialize)]
struct Claims {
    iss: &'static str,
    aud: &'static str,
    sub: &'static str,
    client_id: &'static str,
    iat: u64,
    exp: u64,
    jti: &'static str,
    scope: &'static str,
    sid: &'static str,
    #[serde(flatten)]
    own: Option<User>,
}

fn claims(own: Option<User>) -> Claims {
    Claims {
        iss: "https://login.example.com",
        aud: "calendar-api",
        sub: "018f3e2a-7c4b-7d11-9a53-2f1b3c4d5e6f",
        client_id: "calendar-web",
        iat: 1_700_000_000,
        exp: 1_700_000_600,
        jti: "AAAAAAAAAAAAAAAAAAAAAA",
        scope: "calendar:read calendar:write",
        sid: "BBBBBBBBBBBBBBBBBBBBBB",
        own,
    }
}

/// Private keys that were made once, as DER, or the secret.
fn private(algorithm: Algorithm) -> Vec<u8> {
    let random = SystemRandom::new();
    match algorithm {
        Algorithm::ES256 => EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
            .unwrap()
            .as_ref()
            .to_vec(),
        Algorithm::EdDSA => Ed25519KeyPair::generate_pkcs8(&random)
            .unwrap()
            .as_ref()
            .to_vec(),
        Algorithm::RS256 => {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
            AsDer::as_der(&pair).unwrap().as_ref().to_vec()
        }
        _ => SECRET.to_vec(),
    }
}

fn issuer(algorithm: Algorithm) -> TokenIssuer {
    let keys = match algorithm {
        Algorithm::HS256 => SigningKeys::from_secret(algorithm, SECRET),
        _ => SigningKeys::generate(algorithm),
    };
    TokenIssuer::new(
        Issuer::new("https://login.example.com").unwrap(),
        Audience::new("calendar-api").unwrap(),
        keys.unwrap(),
    )
}

fn issued(tokens: &TokenIssuer, own: Option<&User>) -> IssuedToken {
    let request = tokens
        .for_subject("018f3e2a-7c4b-7d11-9a53-2f1b3c4d5e6f", "calendar-web")
        .scopes::<scope!("calendar:read" & "calendar:write")>()
        .session_id("BBBBBBBBBBBBBBBBBBBBBB");
    let request = match own {
        Some(own) => request.claims(own),
        None => request,
    };
    now(request.issue()).unwrap()
}

/// With keys and sessions in this process, nothing waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it is here"),
    }
}

#[divan::bench(args = ALGORITHMS)]
fn ours(bencher: Bencher<'_, '_>, algorithm: Algorithm) {
    let tokens = issuer(algorithm);
    bencher.bench(|| issued(black_box(&tokens), None));
}

#[divan::bench(args = ALGORITHMS)]
fn ours_with_own_claims(bencher: Bencher<'_, '_>, algorithm: Algorithm) {
    let tokens = issuer(algorithm);
    bencher.bench(|| issued(black_box(&tokens), Some(&USER)));
}

#[divan::bench(args = ALGORITHMS)]
fn jsonwebtoken(bencher: Bencher<'_, '_>, algorithm: Algorithm) {
    encode(bencher, algorithm, None);
}

#[divan::bench(args = ALGORITHMS)]
fn jsonwebtoken_with_own_claims(bencher: Bencher<'_, '_>, algorithm: Algorithm) {
    encode(bencher, algorithm, Some(USER));
}

fn encode(bencher: Bencher<'_, '_>, algorithm: Algorithm, own: Option<User>) {
    let private = private(algorithm);
    let key = match algorithm {
        Algorithm::ES256 => EncodingKey::from_ec_der(&private),
        Algorithm::EdDSA => EncodingKey::from_ed_der(&private),
        // PKCS #1 begins behind the head of PKCS #8.
        Algorithm::RS256 => EncodingKey::from_rsa_der(private.get(26..).unwrap()),
        _ => EncodingKey::from_secret(&private),
    };
    let mut header = Header::new(algorithm.as_str().parse().unwrap());
    header.typ = Some("at+jwt".to_owned());
    header.kid = Some("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I".to_owned());
    let claims = claims(own);
    bencher.bench(|| jsonwebtoken::encode(&header, black_box(&claims), &key).unwrap());
}

/// The part of the work that every issuer has.
#[divan::bench(args = ALGORITHMS)]
fn bare_signature(bencher: Bencher<'_, '_>, algorithm: Algorithm) {
    let message = issued(&issuer(algorithm), None).into_string().into_bytes();
    let message = message
        .get(..message.iter().rposition(|byte| *byte == b'.').unwrap())
        .unwrap();
    let (private, random) = (private(algorithm), SystemRandom::new());
    match algorithm {
        Algorithm::ES256 => {
            let pair =
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &private).unwrap();
            bencher.bench(|| pair.sign(&random, black_box(message)).unwrap());
        }
        Algorithm::EdDSA => {
            let pair = Ed25519KeyPair::from_pkcs8(&private).unwrap();
            bencher.bench(|| pair.sign(black_box(message)));
        }
        Algorithm::RS256 => {
            let pair = RsaKeyPair::from_pkcs8(&private).unwrap();
            let mut signature = vec![0; pair.public_modulus_len()];
            bencher.bench_local(|| {
                pair.sign(
                    &RSA_PKCS1_SHA256,
                    &random,
                    black_box(message),
                    &mut signature,
                )
                .unwrap();
            });
        }
        _ => {
            let key = hmac::Key::new(hmac::HMAC_SHA256, &private);
            bencher.bench(|| hmac::sign(&key, black_box(message)));
        }
    }
}

/// A refresh with its access token. The sessions are in memory, so this is what a refresh takes beside the time of a
/// store. Without a grace, each one advances its session.
#[divan::bench(args = ALGORITHMS)]
fn refresh(bencher: Bencher<'_, '_>, algorithm: Algorithm) {
    let keys = RefreshKeys::generate().unwrap();
    let logins = Logins::new(issuer(algorithm), keys, MemoryLogins::default());
    let logins = logins.grace(Duration::ZERO).unwrap();
    let login = Login::new("018f3e2a-7c4b-7d11-9a53-2f1b3c4d5e6f", "calendar-web")
        .scopes::<scope!("calendar:read" & "calendar:write")>();
    let mut token = now(logins.begin(login)).unwrap().refresh_token().to_owned();
    bencher.bench_local(|| {
        let tokens = now(logins.refresh((black_box(&*token), "calendar-web"))).unwrap();
        token.replace_range(.., tokens.refresh_token());
    });
}

/// A refresh token with the right form and checksum that other keys have made.
#[divan::bench]
fn forged_refresh_token(bencher: Bencher<'_, '_>) {
    let [logins, others] = [(); 2].map(|()| {
        let keys = RefreshKeys::generate().unwrap();
        Logins::new(issuer(Algorithm::HS256), keys, MemoryLogins::default())
    });
    let forged = now(others.begin(Login::new("mallory", "calendar-web"))).unwrap();
    let forged = forged.refresh_token();
    bencher.bench(|| now(logins.refresh((black_box(forged), "calendar-web"))).unwrap_err());
}
