//! Runs published vectors against code without a public API: signatures of any payload, and the backend.
//! The tests through the public API are in `tests/rfc/vectors.rs`.

mod files;
mod primitives;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use self::files::{array, jwk_of, say, text};
use crate::clock::NumericDate;
use crate::keys::algorithm::Algorithm;
use crate::keys::key::Key;
use crate::keys::set::KeySet;
use crate::token::compact::{Compact, Signed, Unverified};

/// Verdicts that differ from those of the file: the tests, whether they are accepted here, and why.
const OTHERWISE: [(&str, &[u64], bool, &str); 4] = [
    (
        "json_web_signature_test",
        &[372, 373],
        false,
        "a `?` in the header or payload is not base64url (RFC 7515, section 2)",
    ),
    (
        "json_web_signature_test",
        &[346, 350],
        false,
        "the JWK is for PS256, the signature is PS384",
    ),
    (
        "json_web_signature_test",
        &[347, 351],
        false,
        "the JWK is for ES521, an algorithm that does not exist",
    ),
    (
        "json_web_signature_test",
        &[367, 370],
        true,
        "the text is that of test 357, which is valid",
    ),
];

#[test]
fn gives_the_verdicts_of_wycheproof_on_json_web_signatures() {
    let counts = wycheproof("json_web_signature_test", |_| true);
    assert_eq!(counts, counts.map(|_| (401, 42, 0)));
}

#[test]
fn gives_the_verdicts_of_wycheproof_on_json_web_keys() {
    let counts = wycheproof("json_web_key_test", |_| true);
    assert_eq!(counts, counts.map(|_| (26, 5, 0)));
}

/// Tests 50 to 83 are encrypted, so they have no signature. `tests/rfc/vectors.rs` shows that they are
/// rejected.
#[test]
fn gives_the_verdicts_of_wycheproof_on_signatures_beside_encryption() {
    let counts = wycheproof("json_web_crypto_test", |test| test.get("jws").is_some());
    assert_eq!(counts, counts.map(|_| (49, 4, 34)));
}

/// Runs the tests of a file. Returns how many were run, accepted and skipped.
fn wycheproof(name: &str, is_ours: impl Fn(&Value) -> bool) -> Option<(usize, usize, usize)> {
    let folder = files::folder(name)?;
    let file = files::read(&folder, &format!("wycheproof/{name}.json"));
    let (mut run, mut accepted, mut skipped) = (0, 0, 0);
    let mut wrong = Vec::new();
    for (group, test) in files::tests(&file) {
        if !is_ours(test) {
            skipped += 1;
            continue;
        }
        run += 1;
        let id = test["tcId"].as_u64().unwrap();
        let listed = test["result"] == "valid";
        let otherwise = OTHERWISE
            .iter()
            .find(|(file, ids, ..)| *file == name && ids.contains(&id));
        let expected = otherwise.map_or(listed, |(_, _, ours, _)| *ours);
        let token = match &test["jws"] {
            Value::String(token) => token.clone(),
            other => other.to_string(),
        };
        let verdict = verdict(&token, &keys(jwk_of(group)));
        accepted += usize::from(verdict.is_ok());
        if verdict.is_ok() != expected {
            wrong.push(format!("{id} ({}): {verdict:?}", test["comment"]));
        }
    }
    for (_, ids, _, why) in OTHERWISE.iter().filter(|(file, ..)| *file == name) {
        say(&format!("{name}: {ids:?}: {why}"));
    }
    say(&format!(
        "{name}: {run} run ({accepted} accepted), {skipped} skipped"
    ));
    assert!(wrong.is_empty(), "{name}: {wrong:#?}");
    Some((run, accepted, skipped))
}

/// The key of a group as an API gets it: secrets are configured, public keys are published.
fn keys(jwk: &Value) -> Result<KeySet, String> {
    let is_secret = |key: &Value| key["kty"] == "oct";
    let key = |jwk: &Value| {
        if is_secret(jwk) && text(&jwk["k"]).bytes().all(|character| character == b'A') {
            // A secret of zero bytes is accepted only by the `insecure_` constructor.
            let algorithm = Algorithm::from_name(text(&jwk["alg"])).unwrap();
            let secret = vec![0; text(&jwk["k"]).len() * 3 / 4];
            let key = Key::insecure_from_chosen_secret(algorithm, &secret)?;
            return Ok(key.with_key_id(text(&jwk["kid"])));
        }
        Key::from_jwk(jwk.to_string().as_bytes())
    };
    let set = match jwk.get("keys") {
        Some(all) if array(all).iter().all(is_secret) => {
            let keys: Result<Vec<_>, _> = array(all).iter().map(key).collect();
            keys.and_then(KeySet::new)
        }
        Some(_) => KeySet::from_jwks(jwk.to_string().as_bytes()),
        None => key(jwk).map(KeySet::from),
    };
    set.map_err(|error| error.to_string())
}

/// Verifies a signature as the verifier does, with the key set of one issuer.
fn verdict(token: &str, keys: &Result<KeySet, String>) -> Result<(), String> {
    let keys = keys.as_ref().map_err(Clone::clone)?;
    verify(token, keys, None)
}

fn verify(token: &str, keys: &KeySet, allowed: Option<&[Algorithm]>) -> Result<(), String> {
    let token = Compact::parse(token.as_bytes(), &[]).map_err(|rejection| rejection.to_string())?;
    let candidates = keys.candidates(token.key_id(), NumericDate(0.0));
    token
        .verify(&candidates, allowed)
        .map(drop)
        .map_err(|unproven| unproven.rejection.to_string())
}

/// The signature of every RFC example that has one, each with a changed one that is rejected.
#[test]
fn gives_the_verdicts_of_the_rfcs_on_their_own_signatures() {
    let Some(folder) = files::folder("examples of the RFCs") else {
        return;
    };
    let mut tally = Tally::default();
    for name in ["rfc7515", "rfc7520", "rfc8037", "rfc9449"] {
        let file = files::read(&folder, &format!("rfc/{name}.json"));
        for entry in array(&file["entries"]) {
            let label = format!("{name}, {}", text(&entry["name"]));
            match text(&entry["kind"]) {
                "jws-compact" | "dpop-proof" => compact(&label, entry, &mut tally),
                "jws-json" => json_serialization(&label, entry, &mut tally),
                "access-token" => {
                    // The RFC does not publish the key.
                    let token = Unverified::parse(text(&entry["token"]).as_bytes(), &[]).unwrap();
                    assert_eq!(token.untrusted().issuer(), entry["claims"]["iss"].as_str());
                    assert_eq!(token.compact().key_id(), entry["kid"].as_str());
                    tally.run += 1;
                }
                "jwk" | "jwk-thumbprint" | "nested" => {
                    // These need only the public API: see `tests/rfc/vectors.rs`.
                }
                other @ ("ath" | "introspection" | "challenge") => {
                    tally.skip(
                        &label,
                        &format!("{other}: DPoP and introspection are not here"),
                    );
                }
                other => panic!("{label}: what is {other}?"),
            }
        }
    }
    for line in &tally.skipped {
        say(&format!("skipped: {line}"));
    }
    let Tally { run, skipped } = tally;
    say(&format!(
        "examples of the RFCs: {run} signatures run, {} skipped",
        skipped.len()
    ));
    assert_eq!((run, skipped.len()), (36, 15), "examples have come or gone");
}

#[derive(Default)]
struct Tally {
    run: usize,
    skipped: Vec<String>,
}

impl Tally {
    fn skip(&mut self, label: &str, why: &str) {
        self.skipped.push(format!("{label}: {why}"));
    }

    /// Asserts that a correct signature is accepted, and rejected over a changed payload.
    fn accept(&mut self, label: &str, jwk: &Value, [header, payload, signature]: [&str; 3]) {
        let header_text = URL_SAFE_NO_PAD.decode(header).unwrap();
        let parameters: Value = serde_json::from_slice(&header_text).unwrap();
        let algorithm = Algorithm::from_name(text(&parameters["alg"])).unwrap();
        let keys = keys(jwk).unwrap_or_else(|error| panic!("{label}: {error}"));
        let check = |payload: &str| {
            let token = format!("{header}.{payload}.{signature}");
            verify(&token, &keys, Some(&[algorithm]))
        };
        assert_eq!(check(payload), Ok(()), "{label}");
        let other = URL_SAFE_NO_PAD.encode("another payload");
        assert!(check(&other).is_err(), "{label}: another payload");
        self.run += 1;
    }
}

fn compact(label: &str, entry: &Value, tally: &mut Tally) {
    let token = text(&entry["token"]);
    if entry["expected"] == "reject" {
        assert!(Compact::parse(token.as_bytes(), &[]).is_err(), "{label}");
        tally.run += 1;
        return;
    }
    if entry["b64"] == false {
        assert!(Compact::parse(token.as_bytes(), &[]).is_err(), "{label}");
        return tally.skip(
            label,
            "unencoded payloads are not for JWTs (RFC 7797, section 7)",
        );
    }
    let parts: Vec<_> = token.split('.').collect();
    let [header, payload, signature] = parts[..] else {
        panic!("{label}: three parts");
    };
    let detached = URL_SAFE_NO_PAD.encode(entry["payload_utf8"].as_str().unwrap_or_default());
    let payload = if payload.is_empty() {
        &detached
    } else {
        payload
    };
    tally.accept(label, first(&entry["jwk"]), [header, payload, signature]);
}

/// A JWT is compact, so the whole text is rejected, although its signatures are correct.
fn json_serialization(label: &str, entry: &Value, tally: &mut Tally) {
    assert!(
        Compact::parse(text(&entry["token"]).as_bytes(), &[]).is_err(),
        "{label}"
    );
    if entry["b64"] == false {
        return tally.skip(
            label,
            "unencoded payloads are not for JWTs (RFC 7797, section 7)",
        );
    }
    let token: Value = serde_json::from_str(text(&entry["token"])).unwrap();
    let detached = || URL_SAFE_NO_PAD.encode(text(&entry["payload_utf8"]));
    let payload = token["payload"].as_str().map_or_else(detached, Into::into);
    let alone = [token.clone()];
    let signatures = token.get("signatures").map_or(&alone[..], array);
    for (position, signature) in signatures.iter().enumerate() {
        let jwk = match &entry["jwk"] {
            Value::Array(keys) => &keys[position],
            one => one,
        };
        let protected = signature["protected"].as_str().filter(|protected| {
            let header = URL_SAFE_NO_PAD.decode(protected).unwrap();
            let header: Value = serde_json::from_slice(&header).unwrap();
            header.get("alg").is_some()
        });
        let Some(protected) = protected else {
            tally.skip(
                &format!("{label}, signature {position}"),
                "`alg` is not in the protected header, which a compact form needs",
            );
            continue;
        };
        let parts = [protected, &payload, text(&signature["signature"])];
        tally.accept(label, jwk, parts);
    }
}

fn first(jwk: &Value) -> &Value {
    jwk.get(0).unwrap_or(jwk)
}

/// A JWK with these members, for one algorithm.
fn key<const N: usize>(
    algorithm: Algorithm,
    members: [(&str, &str); N],
    bytes: &[(&str, &[u8])],
) -> Result<Key, String> {
    let mut jwk = json!({ "alg": algorithm.as_str() });
    for (name, value) in members {
        jwk[name] = value.into();
    }
    for (name, value) in bytes {
        jwk[*name] = URL_SAFE_NO_PAD.encode(value).into();
    }
    Key::from_jwk(jwk.to_string().as_bytes()).map_err(|error| error.to_string())
}
