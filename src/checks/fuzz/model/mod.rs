//! The rules of `guide/defaults.md` in a second, simple implementation: a list of all faults of a token, in
//! no order. A token without faults is good.

mod claims;

use crate::checks::fuzz::document;
use crate::checks::fuzz::document::{Flawed, Node, member};
use crate::checks::fuzz::readers::decoded;
use crate::error::kinds::RejectionKind;

/// The trusts of a verifier, as the model needs them.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) trusts: Vec<Trust>,
}

#[derive(Clone, Debug)]
pub(super) struct Trust {
    pub(super) issuer: &'static str,
    /// `None` if every audience is accepted.
    pub(super) audiences: Option<Vec<&'static str>>,
    pub(super) keys: Vec<ModelKey>,
    pub(super) rules: Rules,
}

#[derive(Clone, Debug)]
pub(super) struct ModelKey {
    pub(super) id: Option<&'static str>,
    pub(super) algorithms: &'static [&'static str],
    pub(super) proves: fn(message: &[u8], signature: &[u8]) -> bool,
}

#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) algorithms: Option<Vec<&'static str>>,
    pub(super) leeway: f64,
    pub(super) max_lifetime: Option<f64>,
    pub(super) max_age: Option<f64>,
    pub(super) is_profile: bool,
    pub(super) required: Vec<&'static str>,
    pub(super) is_expiry_optional: bool,
    pub(super) accepts_id_tokens: bool,
    pub(super) requires_key_id: bool,
    /// One top-level claim, in place of `scope` and `scp`.
    pub(super) scopes_from: Option<&'static str>,
    /// One top-level claim, in place of those that providers send.
    pub(super) roles_from: Option<&'static str>,
    /// An additional `typ`.
    pub(super) accepted_type: Option<&'static str>,
}

/// The verdict of the model on a token at one time.
#[derive(Debug, Default)]
pub(super) struct Judgement {
    /// The reasons to reject the token.
    pub(super) faults: Vec<RejectionKind>,
    /// The verdict is open: the documents do not say, or another reader rounds a number differently.
    pub(super) is_open: bool,
    /// The claims of an accepted token.
    pub(super) view: View,
}

#[derive(Debug, Default, PartialEq)]
pub(super) struct View {
    pub(super) subject: Option<String>,
    pub(super) id: Option<String>,
    pub(super) expires_at: Option<Time>,
    pub(super) issued_at: Option<Time>,
    pub(super) not_before: Option<Time>,
    pub(super) scopes: Vec<String>,
    /// In alphabetical order.
    pub(super) roles: Vec<String>,
}

/// The seconds in a claim. The model reads with `serde_json`, which may round the last digit of a long
/// number differently.
#[derive(Debug)]
pub(super) struct Time(pub(super) f64);

impl PartialEq for Time {
    fn eq(&self, other: &Self) -> bool {
        (self.0 - other.0).abs() <= self.0.abs() * 1e-15
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            algorithms: None,
            leeway: 60.0,
            max_lifetime: None,
            max_age: None,
            is_profile: false,
            required: Vec::new(),
            is_expiry_optional: false,
            accepts_id_tokens: false,
            requires_key_id: false,
            scopes_from: None,
            roles_from: None,
            accepted_type: None,
        }
    }
}

/// The verdict on a token at a time.
pub(super) fn judge(token: &str, world: &World, now: f64) -> Judgement {
    let mut judgement = Judgement::default();
    match Parts::of(token) {
        Ok(parts) => judgement.judge(&parts, world, now),
        Err(flawed) => {
            judgement.faults = flawed.faults;
            judgement.is_open = flawed.is_open;
        }
    }
    judgement
}

/// The faults in the text of a token, whoever issued it.
pub(super) fn flaws(token: &str) -> Judgement {
    let mut judgement = Judgement::default();
    match Parts::of(token) {
        Ok(parts) => {
            judgement.header(&parts.header);
            judgement.shapes(&parts);
            judgement.replicated(&parts);
        }
        Err(flawed) => {
            judgement.faults = flawed.faults;
            judgement.is_open = flawed.is_open;
        }
    }
    judgement
}

/// The parts of a token.
struct Parts<'t> {
    header: Vec<(String, Node)>,
    claims: Vec<(String, Node)>,
    message: &'t [u8],
    signature: Vec<u8>,
}

impl<'t> Parts<'t> {
    fn of(token: &'t str) -> Result<Self, Flawed> {
        if token.len() > MAX_TOKEN {
            // It is too long for a credential, or for a token.
            return Err(vec![MALFORMED, RejectionKind::MalformedRequest].into());
        }
        let parts: Vec<_> = token.split('.').collect();
        let [header, claims, signature] = parts.as_slice() else {
            return Err(match parts.len() {
                5 => vec![MALFORMED, RejectionKind::EncryptedToken],
                _ => vec![MALFORMED],
            }
            .into());
        };
        let read = |part: &str| match decoded(part) {
            Some(bytes) => document::read(&bytes),
            None => Err(vec![MALFORMED].into()),
        };
        let (header, claims) = (read(header), read(claims));
        let signature = decoded(signature).filter(|bytes| !bytes.is_empty());
        let (message, _) = token.rsplit_once('.').unwrap_or_default();
        match (header, claims, signature) {
            (Ok(header), Ok(claims), Some(signature)) => Ok(Self {
                header,
                claims,
                message: message.as_bytes(),
                signature,
            }),
            (header, claims, _) => {
                // The header may be checked before the fault is reached.
                let mut flawed = Flawed::from(vec![MALFORMED]);
                match header {
                    Ok(header) => {
                        let mut of_header = Judgement::default();
                        of_header.header(&header);
                        flawed.faults.extend(of_header.faults);
                    }
                    Err(of_header) => flawed.add(of_header),
                }
                if let Err(of_claims) = claims {
                    flawed.add(of_claims);
                }
                Err(flawed)
            }
        }
    }

    /// A claim. `null` counts as absent.
    fn claim(&self, name: &str) -> Option<&Node> {
        member(&self.claims, name).filter(|value| **value != Node::Null)
    }
}

impl Judgement {
    fn fault(&mut self, kind: RejectionKind) {
        self.faults.push(kind);
    }

    /// Adds a fault if the value is present and does not fit.
    fn typed(&mut self, value: Option<&Node>, fits: impl FnOnce(&Node) -> bool) {
        if value.is_some_and(|value| !fits(value)) {
            self.fault(RejectionKind::InvalidClaim);
        }
    }

    fn judge(&mut self, parts: &Parts<'_>, world: &World, now: f64) {
        self.header(&parts.header);
        self.shapes(parts);
        self.replicated(parts);
        let text = |name| parts.claim(name).and_then(Node::text);
        let trusts: Vec<_> = match text("iss") {
            None => {
                self.fault(RejectionKind::MissingClaim);
                return;
            }
            Some(issuer) => world
                .trusts
                .iter()
                .filter(|trust| trust.issuer == issuer)
                .collect(),
        };
        if trusts.is_empty() {
            self.fault(RejectionKind::IssuerMismatch);
        }
        // If an issuer is trusted several times, one trust that accepts is enough.
        let mut of_trusts = Vec::new();
        for trust in trusts {
            let mut own = Self::default();
            own.under(parts, trust, now);
            self.is_open |= own.is_open;
            if own.faults.is_empty() {
                self.view = own.view;
                return;
            }
            of_trusts.append(&mut own.faults);
        }
        self.faults.append(&mut of_trusts);
    }

    fn header(&mut self, header: &[(String, Node)]) {
        let value = |name| member(header, name);
        let text = |name| value(name).and_then(Node::text);
        for name in ["alg", "cty", "kid", "typ", "iss", "sub"] {
            if value(name).is_some_and(|value| value.text().is_none()) {
                self.fault(MALFORMED);
            }
        }
        if value("aud").is_some_and(|value| value.texts().is_none()) {
            self.fault(MALFORMED);
        }
        if value("crit").is_some() {
            self.fault(RejectionKind::UnsupportedCritical);
        }
        if value("b64").is_some_and(|value| *value != Node::Bool(true)) {
            self.fault(MALFORMED);
        }
        if text("cty").is_some_and(|cty| media_type(cty) == "jwt") {
            self.fault(RejectionKind::WrongType);
        }
        match text("alg") {
            None => self.fault(MALFORMED),
            Some(name) if !ALGORITHMS.contains(&name) => {
                self.fault(RejectionKind::AlgorithmNotAllowed);
            }
            Some(_) => {}
        }
    }

    /// Wrong types of claims that decide, whoever issued the token.
    fn shapes(&mut self, parts: &Parts<'_>) {
        for name in ["iss", "sub", "client_id"] {
            self.typed(parts.claim(name), |value| value.text().is_some());
        }
        self.typed(parts.claim("aud"), |value| value.texts().is_some());
        for name in ["exp", "nbf", "iat"] {
            self.typed(parts.claim(name), |value| value.number().is_some());
        }
        // A time after the year 9999 is not in seconds.
        for name in ["exp", "nbf", "iat"] {
            self.typed(parts.claim(name), |value| {
                value.number().is_none_or(|at| at < YEAR_10000)
            });
        }
    }

    /// Claims that are repeated in the header must be the same there (RFC 7519, section 5.3).
    fn replicated(&mut self, parts: &Parts<'_>) {
        for name in ["iss", "sub", "aud"] {
            let Some(header) = member(&parts.header, name).and_then(Node::texts) else {
                continue;
            };
            let claim = parts.claim(name).and_then(Node::texts);
            // An empty subject counts as absent.
            let present = |texts: &Vec<&str>| name != "sub" || texts.as_slice() != [""];
            if claim.filter(present) != Some(header).filter(present) {
                self.fault(RejectionKind::InvalidClaim);
            }
        }
    }

    /// The rules of one trust.
    fn under(&mut self, parts: &Parts<'_>, trust: &Trust, now: f64) {
        let rules = &trust.rules;
        self.signature(parts, trust);
        self.kind_of_token(parts, rules);
        self.audience(parts, trust);
        self.times(parts, rules, now);
        self.required(parts, rules);
        if member(&parts.claims, "cnf").is_some() {
            self.fault(RejectionKind::BindingMismatch);
        }
        self.scopes(parts, rules);
        self.roles(parts, trust);
        let text = |name| {
            let text = parts.claim(name).and_then(Node::text);
            text.filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let time = |name| parts.claim(name).and_then(Node::number).map(Time);
        self.view.subject = text("sub");
        self.view.id = text("jti");
        self.view.expires_at = time("exp");
        self.view.issued_at = time("iat");
        self.view.not_before = time("nbf");
    }

    fn signature(&mut self, parts: &Parts<'_>, trust: &Trust) {
        let text = |name| member(&parts.header, name).and_then(Node::text);
        // An empty id names no key.
        let id = text("kid").filter(|id| !id.is_empty());
        let algorithm = text("alg").unwrap_or_default();
        if id.is_none() && trust.rules.requires_key_id {
            self.fault(RejectionKind::UnknownKey);
        }
        let named: Vec<_> = trust
            .keys
            .iter()
            .filter(|key| id.is_none() || key.id == id)
            .collect();
        if named.is_empty() {
            self.fault(RejectionKind::UnknownKey);
            return;
        }
        let allowed = &trust.rules.algorithms;
        let mut usable = named.into_iter().filter(|key| {
            key.algorithms.contains(&algorithm)
                && allowed.as_ref().is_none_or(|all| all.contains(&algorithm))
        });
        match usable.next() {
            None => self.fault(RejectionKind::AlgorithmNotAllowed),
            Some(first) => {
                let mut keys = [first].into_iter().chain(usable);
                if !keys.any(|key| (key.proves)(parts.message, &parts.signature)) {
                    self.fault(RejectionKind::BadSignature);
                }
            }
        }
    }

    /// Whether it is an access token or another kind of JWT.
    fn kind_of_token(&mut self, parts: &Parts<'_>, rules: &Rules) {
        let typ = member(&parts.header, "typ").and_then(Node::text);
        let typ = typ.map(media_type);
        let is_right = match typ.as_deref() {
            Some("at+jwt") => true,
            None | Some("jwt") => !rules.is_profile,
            Some(other) => {
                !rules.is_profile && rules.accepted_type.map(media_type).as_deref() == Some(other)
            }
        };
        if !is_right {
            self.fault(RejectionKind::WrongType);
        }
        if typ.as_deref() == Some("at+jwt") {
            return; // the type is explicit
        }
        let text = |name| parts.claim(name).and_then(Node::text);
        let is_there = |name: &&str| parts.claim(name).is_some();
        let is_of_client = ["scope", "scp"].iter().any(is_there)
            || text("client_id").is_some_and(|id| !id.is_empty());
        let is_id_token = ["at_hash", "c_hash"].iter().any(is_there)
            || (parts.claim("nonce").is_some() && !is_of_client && text("typ") != Some("Bearer"))
            || text("token_use") == Some("id")
            || text("typ") == Some("ID");
        if is_id_token && !rules.accepts_id_tokens {
            self.fault(RejectionKind::WrongType);
        }
        if text("token_use").is_some_and(|kind| kind != "access" && kind != "id") {
            self.fault(RejectionKind::WrongType);
        }
        let strange = ["events", "status_list", "token_introspection", "htm", "htu"];
        if strange.iter().any(is_there)
            || matches!(text("typ"), Some("Refresh" | "Offline" | "Logout"))
        {
            self.fault(RejectionKind::WrongType);
        }
    }
}

/// A media type in lower case, without `application/` (RFC 7515, section 4.1.9).
fn media_type(text: &str) -> String {
    let small = text.to_ascii_lowercase();
    match small.strip_prefix("application/") {
        Some(bare) if !bare.contains('/') => bare.to_owned(),
        _ => small,
    }
}

const MALFORMED: RejectionKind = RejectionKind::MalformedToken;
pub(super) const MAX_TOKEN: usize = 16 * 1024;
/// The first second of the year 10000.
const YEAR_10000: f64 = 253_402_300_800.0;
const ALGORITHMS: [&str; 14] = [
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256",
    "ES384", "ES512", "EdDSA", "Ed25519",
];
