//! Shared parts of the benches: tokens of the size that large providers issue, and their claims.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each bench uses a part of it, and the fields are there to be read into"
)]

use std::time::Duration;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;
use tower_jwt_auth::Algorithm;
use tower_jwt_auth::test::{TestIssuer, TestToken};

/// The algorithms that are measured.
pub const ALGORITHMS: [Algorithm; 6] = [
    Algorithm::HS256,
    Algorithm::RS256,
    Algorithm::PS256,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// Own claims of an application, in addition to the registered ones.
#[derive(Deserialize)]
pub struct User {
    pub email: String,
    pub name: String,
    pub permissions: Vec<String>,
}

/// A token of about 1.4 kB with 12 claims. With RSA it is longer, because the signature is.
pub fn token(issuer: &TestIssuer) -> TestToken {
    issuer
        .token()
        .expires_in(Duration::from_secs(86_400))
        .header("kid", "key-1")
        .subject("auth0|507f1f77bcf86cd799439011")
        .scope(
            "openid profile email offline_access calendar:read calendar:write contacts:read \
             contacts:write files:read files:write mail:read mail:send tasks:read tasks:write",
        )
        .roles(["editor", "billing-viewer", "support-agent"])
        .claim("client_id", "0oa1b2c3d4e5f6g7h8i9")
        .claim("jti", "AT.7xkQ2mVb0nE4rT8yU1iO5pA9sD3fG6hJ")
        .claim("email", "ada.lovelace@customers.example.com")
        .claim("name", "Augusta Ada King, Countess of Lovelace")
        .claim("permissions", PERMISSIONS.to_vec())
}

const PERMISSIONS: [&str; 10] = [
    "invoices:create",
    "invoices:approve",
    "invoices:export",
    "projects:archive",
    "projects:members:invite",
    "projects:members:remove",
    "reports:finance:read",
    "reports:usage:read",
    "settings:webhooks:write",
    "settings:api-keys:rotate",
];

/// The signature of a token and the parsed key: the work that every verifier has.
pub struct Signature {
    key: BareKey,
    message: Vec<u8>,
    signature: Vec<u8>,
}

enum BareKey {
    Secret(Box<hmac::Key>),
    Public(ParsedPublicKey),
}

impl Signature {
    /// The signature of `token`, which `issuer` has made.
    pub fn of(token: &str, issuer: &TestIssuer, algorithm: Algorithm) -> Self {
        let jwk = issuer.jwk();
        let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
        let member = |name: &str| bytes(jwk.get(name).and_then(Value::as_str).unwrap());
        let public = |parameters, point: &[u8]| ParsedPublicKey::new(parameters, point).unwrap();
        let point = || [vec![4], member("x"), member("y")].concat();
        let rsa = |parameters| {
            let (n, e) = (member("n"), member("e"));
            let components = RsaPublicKeyComponents { n: &n, e: &e };
            components.to_parsed_public_key(parameters).unwrap()
        };
        let key = match algorithm {
            Algorithm::HS256 => {
                BareKey::Secret(Box::new(hmac::Key::new(hmac::HMAC_SHA256, &member("k"))))
            }
            Algorithm::RS256 => BareKey::Public(rsa(&RSA_PKCS1_2048_8192_SHA256)),
            Algorithm::PS256 => BareKey::Public(rsa(&RSA_PSS_2048_8192_SHA256)),
            Algorithm::ES256 => BareKey::Public(public(&ECDSA_P256_SHA256_FIXED, &point())),
            Algorithm::ES384 => BareKey::Public(public(&ECDSA_P384_SHA384_FIXED, &point())),
            Algorithm::EdDSA => BareKey::Public(public(&ED25519, &member("x"))),
            other => unreachable!("{other} is not measured"),
        };
        let (message, signature) = token.rsplit_once('.').unwrap();
        Self {
            key,
            message: message.into(),
            signature: bytes(signature),
        }
    }

    /// Checks the signature.
    pub fn check(&self) {
        match &self.key {
            BareKey::Secret(key) => hmac::verify(key, &self.message, &self.signature).unwrap(),
            BareKey::Public(key) => key.verify_sig(&self.message, &self.signature).unwrap(),
        }
    }
}
