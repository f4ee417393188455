//! The messages of the compiler for typical mistakes. Each says what to write instead.
//!
//! The texts are those of one version of the compiler. After a change of the compiler or of a
//! message, write them again with `UI_TEXTS=overwrite cargo test --all-features --test ui` (and
//! once more with `--no-default-features`), and read them as a user would.

#[allow(dead_code, reason = "some sets of features have no texts")]
#[path = "support/compiler.rs"]
mod compiler;

#[cfg(not(any(
    feature = "axum",
    feature = "grpc",
    feature = "introspection",
    feature = "issue",
    feature = "logout",
    feature = "metrics",
    feature = "pem",
    feature = "redis",
    feature = "remote",
    feature = "reqwest",
    feature = "status-list",
    feature = "test-util",
    feature = "tracing",
    feature = "watch"
)))]
#[test]
fn a_function_whose_feature_is_off_names_the_feature() {
    compiler::assert_rejections("tests/ui/no_features", "--no-default-features");
}

/// With all features, including `_fuzz`.
#[cfg(feature = "_fuzz")]
#[test]
fn mistakes_are_answered_with_what_to_write_instead() {
    compiler::assert_rejections("tests/ui", "--all-features");
}

#[test]
fn another_compiler_is_not_judged_by_these_texts() {
    for (version, is_wanted) in [
        ("rustc 1.95.0 (59807616e 2026-04-14)\n", true),
        ("rustc 1.95.1 (59807616e 2026-06-14)\n", true),
        ("rustc 1.96.0 (59807616e 2026-06-14)\n", false),
        ("rustc 1.95.0-nightly (59807616e 2026-02-14)\n", false),
        ("rustc 1.9.5 (59807616e 2016-04-14)\n", false),
        ("rustc 1.950.0 (59807616e 2036-04-14)\n", false),
        ("", false),
    ] {
        assert_eq!(
            compiler::is_of_channel(version, "1.95"),
            is_wanted,
            "{version}"
        );
    }
}

/// For these mistakes the compiler has its own sentence, which this crate cannot change. So the
/// documentation quotes the sentence, and says what to write.
#[test]
fn sentences_of_the_compiler_itself_are_in_the_docs() {
    for (said, docs, sentence) in [
        (
            "tests/ui/scope_as_bare_text.stderr",
            "src/scope/macros.rs",
            "constant provided when a type was expected",
        ),
        (
            "tests/ui/scope_name_as_value.stderr",
            "src/scope/macros.rs",
            "this function takes 0 arguments but 1 argument was supplied",
        ),
        (
            "tests/ui/granted_scope_as_text.stderr",
            "src/issue/token/request.rs",
            "this method takes 0 arguments but 1 argument was supplied",
        ),
        (
            "tests/ui/claims_that_borrow.stderr",
            "src/claims/mod.rs",
            "lifetime may not live long enough",
        ),
        (
            "tests/ui/claims_that_borrow_in_code.stderr",
            "src/claims/mod.rs",
            "implementation of `Deserialize` is not general enough",
        ),
        (
            "tests/ui/connect_without_await.stderr",
            "src/keys/source/remote.rs",
            "the trait bound `KeyStore: From<impl",
        ),
        (
            "tests/ui/responder_with_one_argument.stderr",
            "src/response/respond.rs",
            "closure is expected to take 2 arguments, but it takes 1 argument",
        ),
    ] {
        for path in [said, docs] {
            let text = std::fs::read_to_string(path).unwrap();
            // A sentence may go on in the next line of a comment.
            let lines = text
                .lines()
                .map(|line| line.trim_start().trim_start_matches("///"));
            let text: String = lines.collect();
            assert!(text.contains(sentence), "{path} has no {sentence:?}");
        }
    }
}

#[cfg(all(feature = "axum", feature = "test-util"))]
mod with_axum {
    use std::convert::Infallible;

    use axum::body::Body;
    use axum::http::response::Parts;
    use axum::{Router, routing::get};
    use http::{Request, Response};
    use tower::{Layer, ServiceExt, service_fn};
    use tower_jwt_auth::scope::AllOf;
    use tower_jwt_auth::{
        Audience, Claims, Issuer, JwtAuth, KeyStore, Rejection, RequireScope, scope,
    };

    /// The correct forms of the mistakes. The test is that they compile.
    #[test]
    fn the_right_forms_compile() {
        // Inside of a function, and with any names.
        tower_jwt_auth::scopes! {
            Required = "a" | "b";
            Groups = ("a" & "b") | "c";
        }
        tower_jwt_auth::roles! {
            Admin = "admin";
        }
        let _ = (app, answer);
        let check = |claims: Claims| claims.authorize::<AllOf<(Required, Groups, Admin)>>();
        let _ = check;
    }

    #[derive(serde::Deserialize)]
    struct User {
        locale: String,
    }

    mod calendar {
        tower_jwt_auth::scopes! {
            pub Read = "calendar:read";
            pub Edit = "calendar:read" & "calendar:write";
        }
    }

    async fn both(_: RequireScope<scope!("calendar:read" & "calendar:write")>) {}
    async fn either(_: RequireScope<scope!("a" | "b")>) {}
    type Groups = scope!(("a" & "b") | "c");
    async fn groups(_: RequireScope<Groups>) {}
    async fn named(
        user: RequireScope<calendar::Read, User>,
        _: RequireScope<calendar::Edit>,
    ) -> String {
        user.locale.clone()
    }
    async fn me(user: Claims<User>) -> String {
        user.locale.clone()
    }

    fn app(issuer: Issuer, audience: Audience, keys: KeyStore) -> Router {
        let auth = JwtAuth::new(issuer, audience, keys);
        let respond = |rejection: &Rejection, _: &mut Parts| Body::from(rejection.client_text());
        Router::new()
            .route("/both", get(both))
            .route("/either", get(either))
            .route("/groups", get(groups))
            .route("/named", get(named))
            .route("/me", get(me))
            .layer(auth.respond_with(respond))
    }

    #[derive(Default)]
    struct Text(String);

    async fn answer(auth: JwtAuth) {
        let inner = service_fn(async |_: Request<String>| {
            Ok::<_, Infallible>(Response::new(Text("hello".to_owned())))
        });
        let service = auth.layer(inner);
        let response = service.oneshot(Request::new(String::new())).await;
        drop(response.map(|response| response.into_body().0));
    }
}
