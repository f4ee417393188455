//! What the benches share: tokens of the size that large providers issue, and their claims.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each bench uses a part of it, and the fields are there to be read into"
)]

use std::time::Duration;

use serde::Deserialize;
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

/// The claims of an application, beside the registered ones.
#[derive(Deserialize)]
pub struct User {
    pub email: String,
    pub name: String,
    pub permissions: Vec<String>,
}

/// A token of about 1.4 kB with 12 claims; that of RSA is longer by its signature.
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
