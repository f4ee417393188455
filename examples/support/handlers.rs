//! The handlers of a login: signing in and out, refreshing, and the list of devices.

use axum::Form;
use axum::extract::State;
use axum::http::{StatusCode, header::USER_AGENT, request::Parts};
use axum::response::{IntoResponse, Result};
use serde::{Deserialize, Serialize};
use tower_jwt_auth::Claims;
use tower_jwt_auth::issue::{Login, LoginCookies, Logins};

use super::users::Users;

/// The claims of this application in its access tokens. Anyone who has a token can read them.
#[derive(Deserialize, Serialize)]
pub(crate) struct User {
    pub(crate) name: String,
}

/// Without `Debug`, so that no log shows a password.
#[derive(Deserialize)]
pub(crate) struct SignIn {
    name: String,
    password: String,
}

#[derive(Clone)]
pub(crate) struct App {
    pub(crate) users: Users,
    pub(crate) logins: Logins,
    pub(crate) cookies: LoginCookies,
}

pub(crate) async fn sign_in(
    app: State<App>,
    parts: Parts,
    form: Form<SignIn>,
) -> Result<impl IntoResponse> {
    app.cookies.check_site(&parts)?;
    let SignIn { name, password } = form.0;
    let user = app.users.check(name.clone(), password).await?;
    let user = user.ok_or((StatusCode::FORBIDDEN, "wrong name or password\n"))?;
    let device = parts
        .headers
        .get(USER_AGENT)
        .and_then(|it| it.to_str().ok());
    let login = Login::new(&user, CLIENT)
        .device(device.unwrap_or("unknown"))
        .claims(&User { name });
    let tokens = app.logins.begin(login).await?;
    Ok((app.cookies.set(&tokens), "signed in\n"))
}

pub(crate) async fn refresh(app: State<App>, parts: Parts) -> Result<impl IntoResponse> {
    let token = app
        .cookies
        .refresh_token(&parts)?
        .ok_or(StatusCode::BAD_REQUEST)?;
    let tokens = app.logins.refresh((token, CLIENT)).await?;
    Ok((app.cookies.set(&tokens), "refreshed\n"))
}

pub(crate) async fn sign_out(app: State<App>, parts: Parts) -> Result<impl IntoResponse> {
    if let Some(token) = app.cookies.refresh_token(&parts)? {
        app.logins.end_by_token(token).await?;
    }
    Ok((app.cookies.clear(), "signed out\n"))
}

pub(crate) async fn sign_out_everywhere(
    app: State<App>,
    user: Claims<User>,
) -> Result<impl IntoResponse> {
    app.logins
        .end_all(user.subject().unwrap_or_default())
        .await?;
    Ok((app.cookies.clear(), "signed out\n"))
}

pub(crate) async fn sessions(app: State<App>, user: Claims<User>) -> Result<String> {
    let sessions = app
        .logins
        .sessions(user.subject().unwrap_or_default())
        .await?;
    let mut devices: Vec<_> = sessions
        .iter()
        .map(|it| it.device().unwrap_or("unknown"))
        .collect();
    devices.sort_unstable();
    Ok(devices.join(", ") + "\n")
}

/// The id of the only client.
const CLIENT: &str = "example-web";
