//! The part of the model for claims: audience, times, required claims, scopes and roles.

use crate::checks::fuzz::document::{Node, member};
use crate::error::kinds::RejectionKind;

use super::*;

impl Judgement {
    pub(super) fn audience(&mut self, parts: &Parts<'_>, trust: &Trust) {
        let Some(audiences) = &trust.audiences else {
            return;
        };
        match parts.claim("aud").map(Node::texts) {
            None => self.fault(RejectionKind::MissingClaim),
            Some(None) => self.fault(RejectionKind::InvalidClaim),
            Some(Some(presented)) => {
                if !presented.iter().any(|one| audiences.contains(one)) {
                    self.fault(RejectionKind::AudienceMismatch);
                }
            }
        }
    }

    pub(super) fn times(&mut self, parts: &Parts<'_>, rules: &Rules, now: f64) {
        let time = |name| parts.claim(name).and_then(Node::number);
        let (end, start, issued) = (time("exp"), time("nbf"), time("iat"));
        let leeway = rules.leeway;
        // This close to a limit, the rounding of a reader decides.
        let mut limit = |is_beyond: bool, distance: f64, kind| {
            self.is_open |= distance != 0.0 && distance.abs() < 1e-5;
            if is_beyond {
                self.faults.push(kind);
            }
        };
        if let Some(end) = end {
            let distance = now - leeway - end;
            limit(distance >= 0.0, distance, RejectionKind::Expired);
        }
        for start in start.into_iter().chain(issued) {
            let distance = start - leeway - now;
            limit(distance > 0.0, distance, RejectionKind::NotYetValid);
        }
        if let (Some(age), Some(issued)) = (rules.max_age, issued) {
            let distance = now - leeway - (issued + age);
            limit(distance > 0.0, distance, RejectionKind::Expired);
        }
        if let (Some(longest), Some(end)) = (rules.max_lifetime, end) {
            // The issuer sets both times, so there is no leeway. Without `iat`, a token begins
            // now, by our clock.
            let latest = issued.map_or(now + leeway, |issued| issued) + longest;
            limit(end > latest, end - latest, RejectionKind::InvalidClaim);
        }
        if end.is_none() && !rules.is_expiry_optional {
            self.faults.push(RejectionKind::MissingClaim);
        }
        if rules.max_age.is_some() && issued.is_none() {
            self.faults.push(RejectionKind::MissingClaim);
        }
    }

    pub(super) fn required(&mut self, parts: &Parts<'_>, rules: &Rules) {
        let of_profile: &[_] = match rules.is_profile {
            true => &["sub", "client_id", "iat", "jti"],
            false => &[],
        };
        for name in rules.required.iter().chain(of_profile) {
            let is_there = match parts.claim(name) {
                Some(Node::Text(text)) => !text.is_empty(),
                Some(Node::Number(_)) => matches!(*name, "iat" | "nbf"),
                _ => false,
            };
            if !is_there {
                self.fault(RejectionKind::MissingClaim);
            }
            if matches!(*name, "jti") {
                self.typed(parts.claim(name), |value| value.text().is_some());
            }
        }
        if rules.is_profile {
            // RFC 9068, section 2.2.1.
            self.typed(parts.claim("auth_time"), |at| {
                at.number().is_some_and(|at| at < YEAR_10000)
            });
            self.typed(parts.claim("acr"), |acr| acr.text().is_some());
            self.typed(parts.claim("amr"), |amr| {
                amr.text().is_none() && amr.texts().is_some()
            });
        }
    }

    pub(super) fn scopes(&mut self, parts: &Parts<'_>, rules: &Rules) {
        let value = match rules.scopes_from {
            Some(claim) => parts.claim(claim),
            None => match parts.claim("scope") {
                None if !rules.is_profile => parts.claim("scp"),
                scope => scope,
            },
        };
        let is_profile = rules.is_profile && rules.scopes_from.is_none();
        self.typed(value, |value| match value {
            Node::Text(_) => true,
            other => !is_profile && other.texts().is_some(),
        });
        let names: Vec<_> = match value {
            Some(Node::Text(text)) => text.split(' ').collect(),
            Some(other) => other.texts().unwrap_or_default(),
            None => Vec::new(),
        };
        for name in names {
            if !name.is_empty() && !self.view.scopes.iter().any(|known| known == name) {
                self.view.scopes.push(name.to_owned());
            }
        }
    }

    pub(super) fn roles(&mut self, parts: &Parts<'_>, trust: &Trust) {
        let mut values = Vec::new();
        match trust.rules.roles_from {
            Some(claim) => values.extend(parts.claim(claim)),
            None => {
                let lists = ["roles", "entitlements", "permissions", "cognito:groups"];
                values.extend(lists.iter().filter_map(|name| parts.claim(name)));
                let mut owners = Vec::from_iter(parts.claim("realm_access"));
                match parts.claim("resource_access") {
                    None => {}
                    Some(Node::Object(clients)) => {
                        let audiences = trust.audiences.iter().flatten();
                        owners.extend(audiences.filter_map(|audience| member(clients, audience)));
                    }
                    Some(_) => self.fault(RejectionKind::InvalidClaim),
                }
                for owner in owners {
                    match owner {
                        Node::Null => {}
                        Node::Object(members) => values.extend(member(members, "roles")),
                        _ => self.fault(RejectionKind::InvalidClaim),
                    }
                }
            }
        }
        for value in values {
            let names = match value {
                Node::Null => continue,
                Node::List(items) => items.iter().map(role).collect(),
                other => other.text().map(|name| vec![name]),
            };
            match names {
                Some(names) => {
                    let names = names.into_iter().filter(|name| !name.is_empty());
                    self.view.roles.extend(names.map(str::to_owned));
                }
                None => self.fault(RejectionKind::InvalidClaim),
            }
        }
        self.view.roles.sort();
        self.view.roles.dedup();
    }
}

/// A string, or a SCIM object with a `value` (RFC 9068, section 2.2.3.1).
fn role(item: &Node) -> Option<&str> {
    match item {
        Node::Object(members) => member(members, "value").and_then(Node::text),
        other => other.text(),
    }
}
