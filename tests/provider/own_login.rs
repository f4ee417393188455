//! The example that starts with a login of its own, and later trusts the provider.

use axum::Router;
use http::{Request, StatusCode};
use tower::ServiceExt;
use tower_jwt_auth::issue::Login;

use crate::{Provider, resource_uri};

#[path = "../../examples/login_then_oauth.rs"]
mod example;

use example::{Read, Write, api, oauth, own_login};

/// One router, and two layers: each accepts the tokens of its own issuer, and rejects those of the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_of_an_own_login_stay_as_they_are_behind_a_provider() {
    let Some(provider) = Provider::of_environment("own login").await else {
        return;
    };
    let logins = own_login().unwrap();
    let login = |client| Login::new("user-1", client);
    let reader = logins.begin(login("app").scopes::<Read>()).await.unwrap();
    let writer = logins
        .begin(login("app").scopes::<(Read, Write)>())
        .await
        .unwrap();
    let [reader, writer] = [&reader, &writer].map(|it| it.access_token().as_str());
    let theirs = provider.machine_token("calendar-batch", "es256").await;
    let their_reader = provider.machine_token("calendar-report", "es256").await;

    let own = api(logins.auth());
    let remote = api(oauth(&provider.issuer, &resource_uri("es256"))
        .await
        .unwrap());
    for (app, reader, writer, stranger) in [
        (&own, reader, writer, &*theirs),
        (&remote, &*their_reader, &*theirs, writer),
    ] {
        assert_eq!(status(app, "GET", reader).await, 200);
        assert_eq!(status(app, "POST", reader).await, 403);
        assert_eq!(status(app, "POST", writer).await, 201);
        assert_eq!(status(app, "GET", stranger).await, 401);
    }
}

async fn status(app: &Router, method: &str, token: &str) -> StatusCode {
    let request = Request::builder().method(method).uri("/events");
    let request = request.header("authorization", format!("Bearer {token}"));
    let request = request.body(axum::body::Body::empty()).unwrap();
    app.clone().oneshot(request).await.unwrap().status()
}
