//! Tokens that are issued here, as others verify them: `jose`, the library for Node.js that comes with the provider, and
//! PyJWT, where Python has it.

use std::io::Write as _;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Request;
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_jwt_auth::issue::{SigningKeys, TokenIssuer};
use tower_jwt_auth::test::FixedClock;
use tower_jwt_auth::{Algorithm, Audience, Issuer, scope};

use crate::Provider;

const NOW: u64 = 1_700_000_000;
const ISSUER: &str = "https://login.example.com";
const AUDIENCE: &str = "calendar-api";
const SECRET: [u8; 64] = *b"Zb5Tq0vWn8Rk2YxLm4Pc7Hs1Dg9Uf3Ea6Jo-Ii_NyXwVtBrQeCzKdSlMhGuFpOa7";

/// RFC9068-2.1-3, RFC9068-2.2-2: tokens of every algorithm, and their twins with a broken signature, for another audience
/// and after their end.
#[tokio::test]
async fn jose_verifies_tokens_of_every_algorithm_that_are_issued_here() {
    let Some(provider) = Provider::of_environment("issued").await else {
        return;
    };
    let (mut cases, mut expected) = (String::new(), Vec::new());
    for algorithm in Algorithm::ALL.iter().copied() {
        let clock = FixedClock::at(NOW);
        let keys = if algorithm.is_symmetric() {
            SigningKeys::from_secret(algorithm, &SECRET).unwrap()
        } else {
            SigningKeys::generate(algorithm).unwrap()
        };
        let (issuer, audience) = (
            Issuer::new(ISSUER).unwrap(),
            Audience::new(AUDIENCE).unwrap(),
        );
        let keys = keys.with_clock(clock.clone());
        let tokens = TokenIssuer::new(issuer, audience, keys.clone()).clock(clock);
        let request = tokens
            .for_subject("alice", "web")
            .scopes::<scope!("calendar:read" & "calendar:write")>()
            .claims(&json!({"name": "Älice \"the\" 1st", "roles": ["admin"]}));
        let token = request.issue().await.unwrap();
        let case = json!({"token": token.as_str(), "alg": algorithm.as_str(), "issuer": ISSUER, "audience": AUDIENCE, "now": NOW});
        let with = |changes: Value| {
            let mut case = case.clone();
            let members = changes.as_object().unwrap().clone();
            case.as_object_mut().unwrap().extend(members);
            case
        };
        let key = if algorithm.is_symmetric() {
            json!({"secret": URL_SAFE_NO_PAD.encode(SECRET)})
        } else {
            json!({"jwks": published(&keys).await})
        };
        let broken = format!("{}AAAA", &token.as_str()[..token.as_str().len() - 4]);
        let payload = token.as_str().split('.').nth(1).unwrap();
        let payload: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
        assert_eq!(payload["scope"], "calendar:read calendar:write");
        for (changes, verdict) in [
            (json!({}), payload),
            (
                json!({"token": broken}),
                json!("ERR_JWS_SIGNATURE_VERIFICATION_FAILED"),
            ),
            (
                json!({"audience": "billing-api"}),
                json!("ERR_JWT_CLAIM_VALIDATION_FAILED"),
            ),
            (json!({"now": NOW + 600}), json!("ERR_JWT_EXPIRED")),
        ] {
            let mut case = with(key.clone());
            case.as_object_mut()
                .unwrap()
                .extend(changes.as_object().unwrap().clone());
            cases.push_str(&format!("{case}\n"));
            expected.push((algorithm, verdict));
        }
    }
    let verdicts = jose(&provider, cases.clone()).await;
    assert_eq!(verdicts.len(), expected.len());
    for ((algorithm, expected), verdict) in expected.iter().zip(verdicts) {
        assert_eq!(verdict, *expected, "{algorithm}");
    }

    let python = Command::new("python3")
        .args(["-c", "import cryptography, jwt"])
        .stderr(Stdio::null())
        .status();
    if !python.is_ok_and(|status| status.success()) {
        println!("skipped: PyJWT, which Python does not have");
        return;
    }
    let mut command = Command::new("python3");
    command.args(["-c", include_str!("../data/pyjwt.py")]);
    let verdicts = answers(command, cases).await;
    assert_eq!(verdicts.len(), expected.len());
    let mut known = 0;
    for ((algorithm, expected), verdict) in expected.into_iter().zip(verdicts) {
        if verdict == "unknown" {
            // A newer name, which this version does not have yet.
            assert_eq!(algorithm, Algorithm::Ed25519);
            continue;
        }
        let expected = match expected.as_str() {
            Some("ERR_JWS_SIGNATURE_VERIFICATION_FAILED") => json!("InvalidSignatureError"),
            Some("ERR_JWT_CLAIM_VALIDATION_FAILED") => json!("InvalidAudienceError"),
            Some("ERR_JWT_EXPIRED") => json!("ExpiredSignatureError"),
            _ => expected,
        };
        assert_eq!(verdict, expected, "{algorithm}");
        known += 1;
    }
    assert!(known >= 4 * 13, "{known}");
}

async fn published(keys: &SigningKeys) -> Value {
    let request = Request::get("/jwks.json").body(()).unwrap();
    let response = keys.jwks().oneshot(request).await.unwrap();
    serde_json::from_slice(response.body().as_bytes()).unwrap()
}

async fn jose(provider: &Provider, cases: String) -> Vec<Value> {
    let mut command = Command::new("node");
    command
        .args([
            "--input-type=module",
            "-e",
            include_str!("../data/jose.mjs"),
        ])
        .current_dir(provider.directory.join("app"));
    answers(command, cases).await
}

/// One answer for each line of the input.
async fn answers(mut command: Command, cases: String) -> Vec<Value> {
    let run = move || {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap();
        let mut input = child.stdin.take().unwrap();
        // The program may answer before it has read all of it.
        let writing = std::thread::spawn(move || input.write_all(cases.as_bytes()));
        let output = child.wait_with_output().unwrap();
        writing.join().unwrap().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let text = tokio::task::spawn_blocking(run).await.unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}
