//! Logout tokens and security events, against a second reading by `serde_json`.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::revocation::logout::back_channel::check;
use crate::revocation::logout::form::parameter;
use crate::revocation::logout::subjects::targets;
use crate::token::registered::Registered;

/// The claims of a logout token; and the same bytes as a form.
pub fn logout_token(bytes: &[u8]) {
    form(bytes);
    let Some((claims, reference)) = read(bytes) else {
        return;
    };
    let event = reference
        .get("events")
        .and_then(|events| events.get(LOGOUT));
    let text = |name: &str| {
        let text = reference.get(name).and_then(Value::as_str);
        text.is_some_and(|text| !text.is_empty())
    };
    let is_session = reference
        .get("sid")
        .is_none_or(|sid| sid.is_null() || sid.is_string());
    let expected = event.is_some_and(Value::is_object)
        && !reference.contains_key("nonce")
        && is_session
        && (text("sub") || text("sid"));
    assert_eq!(check(&claims).is_ok(), expected, "{reference:?}");
}

/// A form: an accepted value is the only one that a second reader finds too.
fn form(bytes: &[u8]) {
    let Ok(read) = parameter(bytes, "logout_token") else {
        return;
    };
    assert!(!read.is_empty());
    let escaped: String = read.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let again = parameter(
        format!("a=b&logout%5ftoken={escaped}").as_bytes(),
        "logout_token",
    );
    assert_eq!(again.ok().as_deref(), Some(&*read));
    let twice = [bytes, b"&logout_token=x"].concat();
    assert!(parameter(&twice, "logout_token").is_err());
}

/// The claims of a security event token.
pub fn security_event(bytes: &[u8]) {
    let Some((claims, reference)) = read(bytes) else {
        return;
    };
    let Ok(found) = targets(&claims) else {
        return;
    };
    let events = reference.get("events").and_then(Value::as_object);
    let events = events.expect("events are an object");
    assert!(!events.is_empty() && events.values().all(Value::is_object));
    assert!(found.len() <= events.len());
    // Every name of a target is a text of the events or of `sub_id`.
    let mut texts = BTreeSet::new();
    events.values().for_each(|event| collect(event, &mut texts));
    reference
        .get("sub_id")
        .into_iter()
        .for_each(|id| collect(id, &mut texts));
    for target in found {
        assert!(target.subject.is_some() || target.session.is_some());
        let subject = target
            .subject
            .into_iter()
            .flat_map(|(issuer, subject)| [issuer, subject]);
        for name in subject.chain(target.session) {
            assert!(!name.is_empty() && texts.contains(&*name), "{name}");
        }
    }
}

fn collect<'v>(value: &'v Value, texts: &mut BTreeSet<&'v str>) {
    match value {
        Value::String(text) => {
            texts.insert(text);
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, texts)),
        Value::Object(members) => members.values().for_each(|member| collect(member, texts)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn read(bytes: &[u8]) -> Option<(Registered, Map<String, Value>)> {
    let text = std::str::from_utf8(bytes).ok()?;
    // The verifier rejects a longer payload before it reads it.
    if text.len() > 20_000 {
        return None;
    }
    let claims = Registered::read(text.to_owned()).ok()?;
    let reference = serde_json::from_str(text).ok()?;
    Some((claims, reference))
}

const LOGOUT: &str = "http://schemas.openid.net/event/backchannel-logout";
