//! Generates tokens from choices: a good token, and changes that may make it bad.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::checks::fuzz::model::Rules;
use crate::checks::fuzz::signers::{Signer, Signers};
use crate::checks::fuzz::values::{
    ALGORITHMS, AUDIENCES, CLAIMS, DISTANCES, HARMLESS, ISSUERS, KEY_IDS, MARKS, OF_HEADER,
    ROLE_LISTS, ROLES, SCOPES, TIMES, TYPES, VALUES,
};

/// Reads bytes as choices. After their end every choice is the first one, which changes nothing.
pub(super) struct Choices<'a>(std::slice::Iter<'a, u8>);

impl<'a> Choices<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes.iter())
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.0.next().copied().unwrap_or_default()
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte())
            .checked_rem(end)
            .unwrap_or_default()
    }

    pub(super) fn yes(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    pub(super) fn of<T: Clone>(&mut self, all: &[T]) -> T {
        let at = self.below(all.len());
        all.get(at)
            .cloned()
            .expect("a choice has something to choose")
    }
}

/// The members of an object, each with the text of its value.
type Members = Vec<(String, String)>;

/// The content of a token, before it is written, signed and damaged.
struct Draft {
    header: Members,
    claims: Members,
    signer: &'static Signer,
    spelling: u8,
    /// Changes to the text of the claims, to the signature, and to the token.
    of_text: Option<u8>,
    of_signature: Option<u8>,
    of_token: Option<u8>,
    byte: u8,
}

/// Makes a token. Without choices every policy here accepts it at [`NOW`](super::NOW).
pub(super) fn token(choices: &mut Choices<'_>, rules: &Rules) -> String {
    let signers = Signers::get();
    let mut draft = Draft::new(choices.of(&signers.good), choices.byte());
    // One change is the most useful number, because nothing else can be the reason.
    for _ in 0..choices.of(&[0, 1, 1, 1, 1, 1, 2, 2, 3, 6]) {
        draft.change(choices, rules);
    }
    draft.write()
}

impl Draft {
    fn new(signer: &'static Signer, spelling: u8) -> Self {
        let text = |text: &str| format!("\"{text}\"");
        let mut header = vec![
            ("alg".to_owned(), text(signer.algorithm)),
            ("typ".to_owned(), text("at+jwt")),
        ];
        if let Some(id) = signer.id {
            header.push(("kid".to_owned(), text(id)));
        }
        let claims = [
            ("iss", text(signer.issuer)),
            ("aud", text(signer.audience)),
            ("sub", text("alice")),
            ("client_id", text("web")),
            ("exp", "1700000300".to_owned()),
            ("iat", "1700000000".to_owned()),
            ("jti", text("t-1")),
            ("scope", text("a b")),
        ];
        Self {
            header,
            claims: claims.map(|(name, value)| (name.to_owned(), value)).into(),
            signer,
            spelling,
            of_text: None,
            of_signature: None,
            of_token: None,
            byte: 0,
        }
    }

    fn change(&mut self, choices: &mut Choices<'_>, rules: &Rules) {
        let signers = Signers::get();
        match choices.below(33) {
            0 => {
                let (name, values) = choices.of(OF_HEADER);
                set(&mut self.header, name, choices.of(values));
            }
            1 => {
                let name = choices.of(&["typ", "kid", "alg"]);
                self.header.retain(|(known, _)| known != name);
            }
            // The most important members are chosen more often.
            2 => set(&mut self.header, "typ", choices.of(TYPES)),
            3 => set(&mut self.header, "kid", choices.of(KEY_IDS)),
            4 => set(&mut self.header, "alg", choices.of(ALGORITHMS)),
            5..=7 => {
                let name = choices.of(&["exp", "nbf", "iat"]);
                set(&mut self.claims, name, &time(choices));
            }
            8 => {
                let name = choices.of(CLAIMS);
                self.claims.retain(|(known, _)| known != name);
            }
            9 => set(&mut self.claims, choices.of(CLAIMS), choices.of(VALUES)),
            10 => set(&mut self.claims, "aud", choices.of(AUDIENCES)),
            11 => set(&mut self.claims, "iss", choices.of(ISSUERS)),
            12 => set(
                &mut self.claims,
                choices.of(&["scope", "scp"]),
                choices.of(SCOPES),
            ),
            13 => {
                // A kind of token that has no type of its own.
                set(&mut self.header, "typ", "\"JWT\"");
                let (name, values) = choices.of(MARKS);
                set(&mut self.claims, name, choices.of(values));
                if choices.yes() {
                    for name in ["scope", "client_id"] {
                        self.claims.retain(|(known, _)| known != name);
                    }
                }
            }
            14 => {
                let (name, values) = choices.of(HARMLESS);
                set(&mut self.claims, name, choices.of(values));
            }
            15 => set(
                &mut self.claims,
                "cnf",
                choices.of(&["{\"jkt\":\"x\"}", "{}", "null", "1"]),
            ),
            16 => {
                // A name occurs twice in one object. The second one may be written with an escape.
                let members = if choices.yes() {
                    &mut self.header
                } else {
                    &mut self.claims
                };
                let at = choices.below(members.len());
                if let Some((name, value)) = members.get(at).cloned() {
                    let spelled = match choices.yes() {
                        true => spelled(&name),
                        false => name,
                    };
                    members.push((spelled, value));
                }
            }
            17 => {
                let value = large(choices);
                let name = choices.of(&["x", "scope", "jti"]);
                set(
                    &mut self.claims,
                    if value.starts_with('"') { name } else { "x" },
                    &value,
                );
            }
            18 => self.signer = choices.of(&signers.all),
            19 => {
                // The claims of another issuer with this key, or the reverse.
                let other = choices.of(&signers.all);
                set(&mut self.claims, "iss", &format!("\"{}\"", other.issuer));
                set(&mut self.claims, "aud", &format!("\"{}\"", other.audience));
            }
            20 => self.of_signature = Some(choices.byte()),
            21 => self.of_token = Some(choices.byte()),
            22 => self.of_text = Some(choices.byte()),
            23..=27 => self.aim(choices, rules),
            28 => {
                let name = choices.of(&["cty", "crit"]);
                let values = OF_HEADER.iter().find(|(known, _)| *known == name);
                set(
                    &mut self.header,
                    name,
                    choices.of(values.expect("a known name").1),
                );
            }
            29 => {
                let name = choices.of(&["sub", "client_id", "jti"]);
                set(&mut self.claims, name, choices.of(&["\"\"", "null", "1"]));
            }
            30 | 31 => {
                let (name, values) = choices.of(ROLES);
                set(&mut self.claims, name, choices.of(values));
            }
            _ => {
                // Own claims of a client.
                set(&mut self.claims, "sub", "\"web\"");
                set(&mut self.claims, "nbf", "1700000000");
            }
        }
        self.byte ^= choices.byte();
    }

    /// A change near the limit of a rule that is not a default.
    fn aim(&mut self, choices: &mut Choices<'_>, rules: &Rules) {
        let now = f64::from(super::NOW);
        let step = choices.of(&[0.0, 1.0, -1.0, 0.5]);
        let mut aims: Vec<(&str, String)> = Vec::new();
        if let Some(lifetime) = rules.max_lifetime {
            for tolerance in [0.0, rules.leeway] {
                aims.push(("exp", (now + lifetime + tolerance + step).to_string()));
            }
        }
        if let Some(age) = rules.max_age {
            for tolerance in [0.0, rules.leeway] {
                aims.push(("iat", (now - age - tolerance - step).to_string()));
            }
        }
        if rules.is_profile {
            for (name, value) in [
                ("scope", "[\"a\",\"b\"]"),
                ("acr", "1"),
                ("amr", "\"pwd\""),
                ("auth_time", "\"now\""),
                ("jti", "7"),
                ("client_id", "\"\""),
            ] {
                aims.push((name, value.to_owned()));
            }
        }
        for name in &rules.required {
            for value in ["null", "\"\"", "1", "\"x\""] {
                aims.push((name, value.to_owned()));
            }
        }
        if let Some(name) = rules.scopes_from {
            aims.push((name, choices.of(SCOPES).to_owned()));
        }
        if let Some(name) = rules.roles_from {
            aims.push((name, choices.of(ROLE_LISTS).to_owned()));
        }
        if rules.is_expiry_optional {
            aims.push(("exp", "null".to_owned()));
        }
        if rules.accepts_id_tokens {
            let (name, values) = choices.of(MARKS);
            set(&mut self.header, "typ", "\"JWT\"");
            aims.push((name, choices.of(values).to_owned()));
        }
        if let Some(typ) = rules.accepted_type {
            set(&mut self.header, "typ", &format!("\"{typ}\""));
        }
        if rules.requires_key_id {
            self.header.retain(|(name, _)| name != "kid");
        }
        let (name, value) = match aims.is_empty() {
            true => ("nbf", (now + rules.leeway + step).to_string()),
            false => choices.of(&aims),
        };
        set(&mut self.claims, name, &value);
        // Without `iat` a lifetime begins now.
        if name == "exp" && choices.yes() {
            self.claims.retain(|(name, _)| name != "iat");
        }
    }

    fn write(&self) -> String {
        let header = self.object(&self.header);
        let mut claims = self.object(&self.claims).into_bytes();
        match self.of_text.map(|how| how % 6) {
            Some(0) => claims.push(b'x'),
            Some(1) => claims.insert(0, b'\xff'),
            Some(2) => drop(claims.pop()),
            Some(3) => claims.splice(0..0, *b"\xef\xbb\xbf").for_each(drop),
            Some(4) => claims.extend(b" \n"),
            Some(_) => claims = [b"[", &*claims, b"]"].concat(),
            None => {}
        }
        let message = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(&header),
            URL_SAFE_NO_PAD.encode(&claims)
        );
        let mut signature = (self.signer.sign)(message.as_bytes());
        let at = usize::from(self.byte)
            .checked_rem(signature.len())
            .unwrap_or_default();
        match self.of_signature.map(|how| how % 7) {
            Some(0) => signature.truncate(at),
            Some(1) => signature.push(self.byte),
            Some(2) => signature.fill(0),
            Some(3) => signature.reverse(),
            Some(4) => signature.clear(),
            Some(_) => {
                if let Some(byte) = signature.get_mut(at) {
                    *byte ^= 1 << (self.byte & 7);
                }
            }
            None => {}
        }
        let signature = URL_SAFE_NO_PAD.encode(signature);
        let mut token = format!("{message}.{signature}");
        match self.of_token.map(|how| how % 9) {
            Some(0) => token.push('='),
            Some(1) => token.push('.'),
            Some(2) => token.insert(0, ' '),
            Some(3) => token = message,
            Some(4) => token.push_str(".AA.AA"),
            Some(5) => token = format!("{header}.{signature}"),
            Some(6) => token = token.replacen('.', "=.", 1),
            Some(7) => {
                // In most signatures the last character has unused bits.
                if let Some(last) = token.pop() {
                    token.push(if last == 'A' { 'B' } else { 'A' });
                }
            }
            Some(_) => token.insert(usize::from(self.byte).min(token.len()), '+'),
            None => {}
        }
        token
    }

    /// The text of an object, in one of several forms with the same meaning.
    fn object(&self, members: &Members) -> String {
        let space = if self.spelling & 1 == 1 {
            " \t\r\n"
        } else {
            ""
        };
        let mut members: Vec<_> = members
            .iter()
            .map(|(name, value)| {
                let name = if self.spelling & 2 == 2 {
                    spelled(name)
                } else {
                    name.clone()
                };
                format!("{space}\"{name}\"{space}:{space}{value}{space}")
            })
            .collect();
        if self.spelling & 4 == 4 {
            members.reverse();
        }
        format!("{{{}}}", members.join(","))
    }
}

fn set(members: &mut Members, name: &str, value: &str) {
    match members.iter_mut().find(|(known, _)| known == name) {
        Some((_, known)) => value.clone_into(known),
        None => members.push((name.to_owned(), value.to_owned())),
    }
}

/// The same name with its first character escaped.
fn spelled(name: &str) -> String {
    let mut chars = name.chars();
    match chars.next() {
        Some(first) if first.is_ascii_alphanumeric() => {
            format!("\\u{:04x}{}", u32::from(first), chars.as_str())
        }
        _ => name.to_owned(),
    }
}

/// A time at or near a limit, in one of the forms of numbers, or another value.
fn time(choices: &mut Choices<'_>) -> String {
    let distance = choices.of(DISTANCES);
    let at = i64::from(super::NOW) + distance;
    match choices.below(12) {
        0..=5 => format!("{at}"),
        6 => format!("{at}.0"),
        7 => format!("{at}.5"),
        8 => format!("{at}e0"),
        9 => format!("{at}000"),
        _ => choices.of(TIMES).to_owned(),
    }
}

/// Values at the limits of size.
fn large(choices: &mut Choices<'_>) -> String {
    let near = choices.below(4);
    match choices.below(7) {
        // The claims object is the first level.
        0 => format!("{}{}", "[".repeat(29 + near), "]".repeat(29 + near)),
        1 => {
            let count = choices.of(&[10, 500, 980, 989, 990, 991, 992, 993, 1_000]);
            let members: Vec<_> = (0..count).map(|at| format!("\"{at}\":0")).collect();
            format!("{{{}}}", members.join(","))
        }
        2 => "1".repeat(62 + near),
        3 => {
            // Base64url turns three bytes into four characters.
            let length = choices.of(&[
                100, 4_000, 8_000, 11_800, 11_900, 11_950, 12_000, 12_050, 13_000,
            ]);
            format!("\"{}\"", "x".repeat(length + usize::from(choices.byte())))
        }
        4 => "{\"$serde_json::private::Number\":\"1\"}".to_owned(),
        5 => "{\"a\":{\"b\":1,\"\\u0062\":2}}".to_owned(),
        _ => {
            let names: Vec<_> = (0..choices.of(&[10, 200, 1_200]))
                .map(|at| format!("s{at}"))
                .collect();
            format!("\"{}\"", names.join(" "))
        }
    }
}
