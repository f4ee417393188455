//! Compares the verdicts on generated tokens with the model, in both directions.

#![expect(clippy::indexing_slicing, reason = "of what has the entry")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::cache::TokenCache;
use crate::checks::fuzz::NOW;
use crate::checks::fuzz::maker;
use crate::checks::fuzz::maker::Choices;
use crate::checks::fuzz::model;
use crate::checks::fuzz::model::{Rules, Trust, World};
use crate::checks::fuzz::readers::rejected;
use crate::checks::fuzz::signers::{ADMIN, API, FIRST, SECOND, jwks, model_keys};
use crate::claims::Claims;
use crate::error::rejection::Rejection;
use crate::issuer::{Audience, Issuer};
use crate::keys::algorithm::Algorithm;
use crate::keys::store::KeyStore;
use crate::layer::JwtAuth;
use crate::policy::trusted_issuer::TrustedIssuer;
use crate::policy::{Leeway, RequiredClaim};
use crate::token::pointer::ClaimPointer;

/// The input chooses a policy, tokens, and the times at which they are verified.
///
/// A token is accepted if and only if the model finds no fault in it. It is rejected for one of the faults
/// that the model finds. A verdict from the cache is the same as a new one.
pub fn verdicts(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let (auth, world) = policy(&mut choices);
    let time = Arc::new(AtomicU64::new(u64::from(NOW) * 1_000));
    let auth = auth.clock({
        let time = Arc::clone(&time);
        move || at(time.load(Ordering::Relaxed))
    });
    let few = TokenCache::default().max_tokens(4);
    let cached = auth.clone().cache(few).verifier();
    let plain = auth.cache(TokenCache::off()).verifier();

    for _ in 0..=choices.below(3) {
        let token = maker::token(&mut choices, &world.trusts[0].rules);
        for _ in 0..=choices.below(3) {
            let moment = choices.of(MOMENTS);
            let now = (u64::from(NOW) * 1_000).checked_add_signed(moment.into());
            time.store(now.expect("after 1970"), Ordering::Relaxed);
            let seconds = f64::from(NOW) + f64::from(moment) / 1e3;
            let judgement = model::judge(&token, &world, seconds);
            for (name, verdict) in [
                ("without a cache", plain.verify_now(&token)),
                ("with a cache", cached.verify_now(&token)),
                ("again with a cache", cached.verify_now(&token)),
            ] {
                compare(name, &token, &verdict, &judgement, &world, seconds);
            }
        }
    }
}

pub(super) fn compare(
    name: &str,
    token: &str,
    verdict: &Result<Claims, Rejection>,
    judgement: &model::Judgement,
    world: &World,
    now: f64,
) {
    if judgement.is_open {
        return;
    }
    let told = || {
        let parts: Vec<_> = token
            .split('.')
            .filter_map(super::readers::decoded)
            .collect();
        let texts: Vec<_> = parts
            .iter()
            .take(2)
            .map(|part| String::from_utf8_lossy(part))
            .collect();
        format!("{name}, at {now}: {texts:?}\n{judgement:?}\n{world:?}\n{token}")
    };
    match verdict {
        Ok(claims) => {
            assert!(judgement.faults.is_empty(), "accepted {}", told());
            assert_eq!(view_of(claims), judgement.view, "{}", told());
        }
        Err(rejection) => {
            rejected(rejection);
            assert!(
                judgement.faults.contains(&rejection.kind()),
                "rejected ({rejection}) {}",
                told()
            );
        }
    }
}

fn view_of(claims: &Claims) -> model::View {
    let registered = claims.registered();
    let mut roles: Vec<_> = claims.roles().iter().map(str::to_owned).collect();
    roles.sort();
    model::View {
        subject: claims.subject().map(str::to_owned),
        id: claims.id().map(str::to_owned),
        expires_at: registered.expires_at().map(|at| model::Time(at.0)),
        issued_at: registered.issued_at().map(|at| model::Time(at.0)),
        not_before: registered.not_before().map(|at| model::Time(at.0)),
        scopes: claims.scopes().iter().map(str::to_owned).collect(),
        roles,
    }
}

/// A policy, and the same for the model.
fn policy(choices: &mut Choices<'_>) -> (JwtAuth, World) {
    let mut rules = Rules::default();
    for _ in 0..choices.of(&[0, 1, 1, 1, 2, 4]) {
        rule(&mut rules, choices);
    }
    let audiences = choices.of(&[Some(vec![API]), Some(vec![API]), Some(vec!["x", API]), None]);
    let first = issuer(FIRST);
    let first = TrustedIssuer::new(first, audience(&audiences), keys(0));
    let mut auth = JwtAuth::from(apply(first, &rules));
    let mut trusts = vec![Trust {
        issuer: FIRST,
        audiences,
        keys: model_keys(0),
        rules: rules.clone(),
    }];
    if choices.yes() {
        // A second issuer, with the rules of the first or with some of its own.
        let mut own = rules;
        if choices.yes() {
            rule(&mut own, choices);
        }
        let trusted = TrustedIssuer::new(issuer(SECOND), audience(&Some(vec![API])), keys(1));
        auth = auth.trust(apply(trusted, &own));
        trusts.push(Trust {
            issuer: SECOND,
            audiences: Some(vec![API]),
            keys: model_keys(1),
            rules: own,
        });
    }
    if choices.yes() {
        // The first issuer again, with another audience and the keys of the second.
        let own = Rules::default();
        let trusted = TrustedIssuer::new(issuer(FIRST), audience(&Some(vec![ADMIN])), keys(1));
        auth = auth.trust(apply(trusted, &own));
        trusts.push(Trust {
            issuer: FIRST,
            audiences: Some(vec![ADMIN]),
            keys: model_keys(1),
            rules: own,
        });
    }
    (auth, World { trusts })
}

fn rule(rules: &mut Rules, choices: &mut Choices<'_>) {
    match choices.below(12) {
        0 => rules.leeway = choices.of(&[0.0, 30.0, 300.0]),
        1 => rules.max_lifetime = Some(choices.of(&[300.0, 600.0, 3_600.0])),
        2 => rules.max_age = Some(choices.of(&[300.0, 600.0])),
        3 => rules.is_profile = true,
        4 => {
            let name = choices.of(&["sub", "client_id", "iat", "jti", "nbf"]);
            if !rules.required.contains(&name) {
                rules.required.push(name);
            }
        }
        5 => rules.is_expiry_optional = true,
        6 => rules.accepts_id_tokens = true,
        7 => rules.requires_key_id = true,
        8 => {
            rules.algorithms = Some(choices.of(&[
                vec!["HS256"],
                vec!["EdDSA", "ES256"],
                vec!["Ed25519", "HS512"],
                vec!["RS256"],
            ]));
        }
        9 => {
            rules.accepted_type = Some(choices.of(&["JOSE", "application/jose", "dpop+jwt"]));
        }
        10 => rules.roles_from = Some(choices.of(&["groups", "roles", "realm_access", "sid"])),
        _ => rules.scopes_from = Some(choices.of(&["scp", "scope", "sid"])),
    }
}

/// Converts the rules of the model into those of a verifier.
fn apply(mut ours: TrustedIssuer, rules: &Rules) -> TrustedIssuer {
    let duration = |seconds: f64| Duration::from_secs_f64(seconds);
    ours = ours.leeway(Leeway::new(duration(rules.leeway)).expect("300 s at most"));
    if let Some(lifetime) = rules.max_lifetime {
        ours = ours.max_lifetime(duration(lifetime));
    }
    if let Some(age) = rules.max_age {
        ours = ours.max_age(duration(age));
    }
    // The order of the calls does not matter.
    let is_strict_first = rules.leeway < 60.0;
    if rules.is_profile && is_strict_first {
        ours = ours.access_token_profile();
    }
    if !rules.required.is_empty() {
        ours = ours.required_claims(rules.required.iter().map(|name| match *name {
            "client_id" => RequiredClaim::ClientId,
            "jti" => RequiredClaim::Id,
            "iat" => RequiredClaim::IssuedAt,
            "nbf" => RequiredClaim::NotBefore,
            _ => RequiredClaim::Subject,
        }));
    }
    if rules.is_profile && !is_strict_first {
        ours = ours.access_token_profile();
    }
    if rules.is_expiry_optional {
        ours = ours.insecure_allow_missing_expiry();
    }
    if rules.accepts_id_tokens {
        ours = ours.insecure_accept_id_tokens();
    }
    if rules.requires_key_id {
        ours = ours.require_key_id();
    }
    if let Some(names) = &rules.algorithms {
        let names = names.iter().map(|name| Algorithm::from_name(name));
        ours = ours.algorithms(names.map(|name| name.expect("a known name")));
    }
    if let Some(typ) = rules.accepted_type {
        ours = ours.accept_type(typ);
    }
    if let Some(claim) = rules.roles_from {
        ours = ours.roles_from(ClaimPointer::new(&format!("/{claim}")).expect("a pointer"));
    }
    if let Some(claim) = rules.scopes_from {
        ours = ours.scopes_from(ClaimPointer::new(&format!("/{claim}")).expect("a pointer"));
    }
    ours
}

fn issuer(text: &str) -> Issuer {
    Issuer::new(text).expect("a good issuer")
}

fn audience(ids: &Option<Vec<&str>>) -> Audience {
    match ids {
        Some(ids) => Audience::any_of(ids).expect("good audiences"),
        None => Audience::insecure_any(),
    }
}

/// The keys of an issuer, parsed once.
pub(super) fn keys(issuer: usize) -> KeyStore {
    use std::sync::LazyLock;

    use crate::keys::key::Key;
    use crate::keys::set::KeySet;
    static KEYS: LazyLock<[KeyStore; 2]> = LazyLock::new(|| {
        [0, 1].map(|issuer| {
            let keys = jwks(issuer).into_iter();
            let keys = keys
                .map(|jwk| Key::from_jwk(json!(jwk).to_string().as_bytes()).expect("a good key"));
            KeySet::new(keys).expect("three keys").into()
        })
    });
    KEYS[issuer].clone()
}

fn at(milliseconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(milliseconds)
}

/// The times at which a token is verified, in milliseconds from [`NOW`]. A clock may also be set back.
const MOMENTS: &[i32] = &[
    0, 0, 0, 500, 1_000, 299_500, 300_000, 359_500, 360_000, 360_500, 600_000, -60_000, -60_500,
    660_000, 660_500, 3_600_000,
];
