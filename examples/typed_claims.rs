//! Your own claims as a Rust type: roles, feature flags, a language. The layer rejects tokens whose claims do
//! not fit the type.
//!
//! ```sh
//! cargo run --example typed_claims --features test-util
//! ```
//!
//! It prints its tokens and these lines. Challenges also have an `error_description`.
//!
//! ```text
//! curl -i -H "Authorization: Bearer $ALICE" http://127.0.0.1:3000/greeting
//! # 200 Guten Tag, alice
//! curl -i -H "Authorization: Bearer $BOB" http://127.0.0.1:3000/greeting
//! # 200 Hello, bob
//! curl -i -H "Authorization: Bearer $MISFIT" http://127.0.0.1:3000/greeting
//! # 401 Bearer realm="api", error="invalid_token"
//! curl -i -H "Authorization: Bearer $ALICE" http://127.0.0.1:3000/editor
//! # 200 the new editor
//! curl -i -H "Authorization: Bearer $BOB" http://127.0.0.1:3000/editor
//! # 200 the old editor
//! curl -i -H "Authorization: Bearer $ALICE" http://127.0.0.1:3000/audit
//! # 403 Bearer realm="api", error="insufficient_scope"
//! curl -i -H "Authorization: Bearer $BOB" http://127.0.0.1:3000/audit
//! # 200 shown to bob, who is admin
//! ```

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use axum::{Router, routing::get};
use serde::Deserialize;
use serde_json::json;
use tower_jwt_auth::{Claims, RequireRole, role, test::TestIssuer};

/// The claims that this API needs. Other claims are ignored, and the registered claims have methods.
#[derive(Deserialize)]
struct User {
    #[serde(default)]
    language: Language,
    #[serde(default)]
    features: BTreeSet<Feature>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Language {
    #[default]
    En,
    De,
}

/// Unknown flags do not reject a token.
#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "kebab-case")]
enum Feature {
    NewEditor,
    #[serde(other)]
    Unknown,
}

async fn greeting(user: Claims<User>) -> String {
    let name = user.subject().unwrap_or("stranger");
    match user.language {
        Language::De => format!("Guten Tag, {name}\n"),
        Language::En => format!("Hello, {name}\n"),
    }
}

async fn editor(user: Claims<User>) -> &'static str {
    match user.features.contains(&Feature::NewEditor) {
        true => "the new editor\n",
        false => "the old editor\n",
    }
}

async fn audit(user: RequireRole<role!("admin" | "auditor"), User>) -> String {
    let roles: Vec<_> = user.roles().iter().collect();
    let name = user.subject().unwrap_or("stranger");
    format!("shown to {name}, who is {}\n", roles.join(", "))
}

#[tokio::main]
async fn main() -> Result<(), support::Failure> {
    support::log(); // why a token is rejected
    let issuer = TestIssuer::new();
    let token = issuer.token().expires_in(Duration::from_secs(3600));
    let alice = token.clone().subject("alice").claim("language", "de");
    let bob = token.subject("bob").roles(["admin"]);
    let tokens = [
        (
            "ALICE",
            alice
                .clone()
                .claim("features", json!(["new-editor", "dark"]))
                .mint(),
        ),
        ("BOB", bob.mint()),
        ("MISFIT", alice.claim("language", 7).mint()),
    ];

    let app = Router::new()
        .route("/greeting", get(greeting))
        .route("/editor", get(editor))
        .route("/audit", get(audit))
        .layer(issuer.auth().claims::<User>());

    let (listener, stopped) = support::listen().await?;
    support::print_requests(include_str!("typed_claims.rs"), &listener, &tokens)?;
    axum::serve(listener, app)
        .with_graceful_shutdown(stopped)
        .await?;
    Ok(())
}
