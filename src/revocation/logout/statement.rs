//! [`Statements`]: verifies JWTs that are no access tokens, such as logout tokens and security events.

use std::sync::Arc;

use crate::attest::{self, KeyLoads, Step, attest};
use crate::clock::{Clock, NumericDate};
use crate::error::kinds::RejectionKind;
use crate::error::rejection::Rejection;
use crate::keys::key_source::LookUp;
use crate::policy::rules::{RequiredClaim, Rules};
use crate::policy::trusted_issuer::TrustedIssuer;
use crate::policy::{Policy, Trust, validate};
use crate::token::compact::Unverified;
use crate::token::header::{TokenType, is_same_media_type};
use crate::token::known_headers::KnownHeaders;
use crate::token::registered::Registered;

/// A kind of JWT that is no access token.
#[derive(Clone, Copy)]
pub(crate) struct StatementKind {
    pub(crate) typ: &'static str,
    /// Whether a token without `typ`, or with `typ` `JWT`, is accepted too.
    pub(crate) accepts_untyped: bool,
    pub(crate) needs_expiry: bool,
}

/// Verifier of one kind of statement. Its result never becomes [`Claims`](crate::Claims).
pub(crate) struct Statements {
    kind: StatementKind,
    policy: Policy,
    headers: KnownHeaders,
    clock: Arc<dyn Clock>,
}

/// A verified statement: signature, type, issuer, audience, times, and the presence of `iat` and `jti`.
pub(crate) struct Statement(Registered);

impl Statement {
    pub(crate) fn claims(&self) -> &Registered {
        &self.0
    }
}

impl Statements {
    pub(crate) fn new(
        issuers: &[TrustedIssuer],
        kind: StatementKind,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let mut issuers = issuers.to_vec();
        for issuer in &mut issuers {
            issuer.rules = rules_for(&issuer.rules, kind);
        }
        Self {
            kind,
            policy: Policy::new(&issuers, &Rules::default()),
            headers: KnownHeaders::default(),
            clock,
        }
    }

    /// Verifies a statement. Waits up to 5 seconds if keys have to be loaded for it.
    pub(crate) async fn verify(&self, token: &[u8]) -> Result<Statement, Rejection> {
        match self.decide(token, KeyLoads::Allowed(None))? {
            Step::Done(statement) => Ok(statement),
            Step::Loading(look_up) => {
                attest::after(look_up, |key_loads| self.decide(token, key_loads)).await
            }
        }
    }

    fn decide(&self, token: &[u8], key_loads: KeyLoads) -> Result<Step<Statement>, Rejection> {
        let now = NumericDate::now(&self.clock);
        let headers = self.headers.load();
        let unverified = Unverified::parse(token, &headers)?;
        let (first, is_one_of_several) = validate::trusts_of(&self.policy, &unverified)?;
        if !is_one_of_several {
            return self.decide_under(first, unverified, now, key_loads);
        }
        // As for access tokens: the keys at hand come first, and one trust that accepts is enough.
        let mut failed = Rejection::of(RejectionKind::IssuerMismatch);
        for key_loads in [KeyLoads::NotAllowed, key_loads] {
            let mut loads = Vec::new();
            failed = Rejection::of(RejectionKind::IssuerMismatch);
            for trust in self.policy.trusts_in(first.issuer.as_str()) {
                let unverified = Unverified::parse(token, &headers)?;
                match self.decide_under(trust, unverified, now, key_loads) {
                    Ok(Step::Done(statement)) => return Ok(Step::Done(statement)),
                    Ok(Step::Loading(load)) => loads.push(load),
                    Err(_) if failed.status().is_server_error() => {}
                    Err(rejection) => failed = rejection,
                }
            }
            if let Some(load) = LookUp::of_all(loads) {
                return Ok(Step::Loading(load));
            }
        }
        Err(failed)
    }

    fn decide_under(
        &self,
        trust: &Trust,
        unverified: Unverified<'_>,
        now: NumericDate,
        key_loads: KeyLoads,
    ) -> Result<Step<Statement>, Rejection> {
        self.check_type(unverified.typ())?;
        validate::check_statement(unverified.untrusted(), trust, now)?;
        match attest(
            unverified,
            &trust.issuer_keys(),
            now,
            key_loads,
            &self.headers,
        )? {
            Step::Done(proven) => {
                let (claims, _) = proven.attested.into_parts()?;
                Ok(Step::Done(Statement(claims)))
            }
            Step::Loading(load) => Ok(Step::Loading(load)),
        }
    }

    /// RFC 8725, section 3.11.
    fn check_type(&self, typ: &TokenType) -> Result<(), Rejection> {
        let presented = match typ {
            TokenType::Absent | TokenType::Jwt if self.kind.accepts_untyped => return Ok(()),
            TokenType::Other(other) if is_same_media_type(other, self.kind.typ) => return Ok(()),
            TokenType::Absent => "",
            TokenType::AccessToken => "at+jwt",
            TokenType::Jwt => "JWT",
            TokenType::Other(other) => other,
        };
        Err(Rejection::mismatch(
            RejectionKind::WrongType,
            "`typ`",
            self.kind.typ,
            presented,
        ))
    }
}

/// The rules of an issuer that have a meaning for statements too.
fn rules_for(rules: &Rules, kind: StatementKind) -> Rules {
    Rules {
        algorithms: rules.algorithms.clone(),
        leeway: rules.leeway,
        max_age: rules.max_age,
        max_lifetime: rules.max_lifetime,
        requires_key_id: rules.requires_key_id,
        required: Some([RequiredClaim::IssuedAt, RequiredClaim::Id].into()),
        is_expiry_optional: !kind.needs_expiry,
        ..Rules::default()
    }
}
