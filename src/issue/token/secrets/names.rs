//! Secrets by the name of a claim.
//!
//! Case, separators and digits do not count: `userPassword`, `user_password`, `USER-PASSWORD` and `userpassword2` are
//! one name. A name is that of a secret if it **ends** with a term of the lists below, or with its plural. Words that
//! say how the secret is written, such as `hash` or `base64`, may follow. So `password_changed_at` and `secretary` are
//! no secrets. Of a name that is a URL, the last part counts.

use super::cards::CARD;
use super::keys::PRIVATE_KEY;
use super::{Secret, hashes};

/// What the name says that its value is, if that is a secret.
pub(super) fn secret_in(name: &str) -> Option<Secret> {
    let letters = Letters::of(last_part(name));
    let text = letters.text();
    if text.is_empty() {
        return None;
    }
    letters.term_at(text.len()).or_else(|| {
        let mut end = text.len();
        // `password_hash_base64` has two of them.
        for _ in 0..FORMS_AT_MOST {
            let text = text.get(..end)?;
            let form = FORMS
                .iter()
                .find(|form| text.ends_with(*form))
                .or_else(|| {
                    // One letter is part of many words.
                    let begins = letters.is_start(end.checked_sub(1)?);
                    let marks = ["b", "v"].iter();
                    marks.filter(|_| begins).find(|mark| text.ends_with(**mark))
                })?;
            end = end.saturating_sub(form.len());
            if let Some(secret) = letters.term_at(end) {
                return Some(secret.in_another_form(form));
            }
        }
        None
    })
}

/// The part of a URL after its last `/` or `#` that something follows; otherwise the whole name.
fn last_part(name: &str) -> &str {
    if !name.contains("://") {
        return name;
    }
    let parts = |c| matches!(c, '/' | '#');
    name.trim_end_matches(parts)
        .rsplit(parts)
        .next()
        .unwrap_or(name)
}

impl Secret {
    fn in_another_form(self, form: &str) -> Self {
        let is_hash = self == PASSWORD && matches!(form, "hash" | "hashed" | "digest" | "salt");
        if is_hash { hashes::HASH } else { self }
    }
}

/// The last letters of a name in lower case, and where its words begin.
struct Letters {
    text: [u8; LETTERS],
    length: usize,
    /// One bit for each letter: whether a word begins with it.
    starts: u64,
}

impl Letters {
    fn of(name: &str) -> Self {
        let mut letters = Self {
            text: [0; LETTERS],
            length: 0,
            starts: 0,
        };
        let bytes = name.as_bytes();
        let is_letter = |at: Option<usize>| {
            at.and_then(|at| bytes.get(at))
                .is_some_and(u8::is_ascii_alphabetic)
        };
        let is_upper = |at: Option<usize>| {
            at.and_then(|at| bytes.get(at))
                .is_some_and(u8::is_ascii_uppercase)
        };
        // A secret is at the end, so the begin of a long name does not count.
        let count = bytes
            .iter()
            .filter(|byte| byte.is_ascii_alphabetic())
            .count();
        let mut before = count.saturating_sub(LETTERS);
        for (at, byte) in bytes.iter().enumerate() {
            if !byte.is_ascii_alphabetic() {
                continue;
            }
            if before > 0 {
                before = before.saturating_sub(1);
                continue;
            }
            let (previous, next) = (at.checked_sub(1), at.checked_add(1));
            // `userSSN` has a new word where capitals begin, `SSNHash` where they end.
            let begins = !is_letter(previous)
                || (byte.is_ascii_uppercase()
                    && (!is_upper(previous) || (is_letter(next) && !is_upper(next))));
            if let Some(place) = letters.text.get_mut(letters.length) {
                *place = byte.to_ascii_lowercase();
                letters.starts |= u64::from(begins) << letters.length;
                letters.length = letters.length.saturating_add(1);
            }
        }
        letters
    }

    fn text(&self) -> &str {
        let text = self.text.get(..self.length).unwrap_or_default();
        std::str::from_utf8(text).unwrap_or_default()
    }

    /// Whether a word begins with this letter.
    fn is_start(&self, at: usize) -> bool {
        self.starts >> at & 1 == 1
    }

    /// The secret whose term ends here, or its plural.
    fn term_at(&self, end: usize) -> Option<Secret> {
        let text = self.text().get(..end)?;
        let singular = text.strip_suffix('s').unwrap_or(text);
        let ends = |text: &str, term: &str, place: Place| {
            let Some(start) = text.len().checked_sub(term.len()) else {
                return false;
            };
            let is_there = match place {
                Place::Anywhere => true,
                Place::Name => start == 0,
                Place::Word => self.is_start(start),
            };
            is_there && text.ends_with(term)
        };
        let found = TERMS.iter().find(|(place, _, terms)| {
            let mut terms = terms.iter();
            terms.any(|term| ends(text, term, *place) || ends(singular, term, *place))
        });
        found.map(|(_, secret, _)| *secret)
    }
}

/// Where a term has to begin.
#[derive(Clone, Copy)]
enum Place {
    /// Also within a word, as in `userpassword`.
    Anywhere,
    /// The term is the whole name.
    Name,
    /// Where a word begins, so that `spin` does not end with `pin`.
    Word,
}

const PASSWORD: Secret = Secret {
    looks_like: "a password",
    belongs: "keep only a hash of it, in the table of the accounts",
};
const KEY: Secret = Secret {
    looks_like: "a secret or a key",
    belongs: "keep it in a secret store, on the server that uses it",
};
const TOKEN: Secret = Secret {
    looks_like: "a token",
    belongs: "keep it in the session, on the server",
};
const PERSONAL: Secret = Secret {
    looks_like: "the number of a person or of an account",
    belongs: "keep it in a database, and find it there by the subject",
};

/// The names of secrets, in lower case and without separators.
const TERMS: &[(Place, Secret, &[&str])] = &[
    (
        Place::Anywhere,
        PASSWORD,
        &[
            "password",
            "passwd",
            "passphrase",
            "passcode",
            "passwort",
            "kennwort",
            "motdepasse",
            "contrasena",
            "secretanswer",
            "securityanswer",
        ],
    ),
    (
        Place::Word,
        PASSWORD,
        &["pin", "pw", "pwd", "pswd", "senha", "userpass", "dbpass"],
    ),
    (
        Place::Anywhere,
        PRIVATE_KEY,
        &[
            "privatekey",
            "privkey",
            "seedphrase",
            "recoveryphrase",
            "mnemonic",
        ],
    ),
    (
        Place::Anywhere,
        KEY,
        &[
            "secret",
            "apikey",
            "accesskey",
            "secretkey",
            "signingkey",
            "encryptionkey",
            "decryptionkey",
            "masterkey",
            "sharedkey",
            "hmackey",
            "aeskey",
            "recoverykey",
            "recoverycode",
            "backupcode",
        ],
    ),
    (Place::Word, KEY, &["psk"]),
    (
        Place::Anywhere,
        TOKEN,
        &[
            "accesstoken",
            "refreshtoken",
            "bearertoken",
            "apitoken",
            "authtoken",
            "sessiontoken",
            "resettoken",
            "sessioncookie",
        ],
    ),
    (Place::Word, TOKEN, &["idtoken"]),
    (
        Place::Anywhere,
        CARD,
        &[
            "creditcard",
            "debitcard",
            "paymentcard",
            "bankcard",
            "cardnumber",
            "cardnum",
            "cardno",
            "securitycode",
            "cardverificationvalue",
            "cardverificationcode",
        ],
    ),
    (
        Place::Word,
        CARD,
        &["ccnumber", "ccnum", "cvc", "cvn", "cvv"],
    ),
    (Place::Name, CARD, &["card"]),
    (
        Place::Anywhere,
        PERSONAL,
        &[
            "socialsecuritynumber",
            "socialsecurityno",
            "bankaccount",
            "bankaccountnumber",
            "passportnumber",
            "passportno",
        ],
    ),
    (Place::Word, PERSONAL, &["iban", "ssn"]),
];

/// What may follow a term: how the secret is written, or which one of several it is.
const FORMS: &[&str] = &[
    "argon",
    "argonid",
    "bcrypt",
    "enc",
    "md",
    "pbkdf",
    "scrypt",
    "sha",
    "hash",
    "hashed",
    "digest",
    "salt",
    "value",
    "text",
    "plain",
    "plaintext",
    "cleartext",
    "encrypted",
    "ciphertext",
    "base",
    "hex",
    "pem",
    "raw",
    "string",
    "data",
    "new",
    "old",
    "current",
    "confirm",
    "confirmation",
    "temporary",
    "backup",
    "hint",
];
const FORMS_AT_MOST: usize = 2;
/// The number of letters at the end of a name that count.
const LETTERS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_found_in_every_spelling() {
        for name in [
            "password",
            "Password",
            "PASSWORD",
            "user_password",
            "userPassword",
            "UserPassword",
            "user-password",
            "user.password",
            "user password",
            "userpassword",
            "USERPASSWORD",
            "passwords",
            "password2",
            "pass_word",
            "password_hash",
            "passwordHash",
            "hashed_password",
            "password_sha256",
            "passwordMd5",
            "password_bcrypt",
            "password_argon2id",
            "password_enc",
            "password_b64",
            "api_key_v2",
            "secretV3",
            "password_hash_base64",
            "passwd",
            "db_passwd",
            "pwd",
            "user_pwd",
            "passphrase",
            "pin",
            "user_pin",
            "userPIN",
            "PINHash",
            "pin_hash",
            "db_pw",
            "secret_answer",
            "secret",
            "secrets",
            "client_secret",
            "clientSecret",
            "CLIENT-SECRET",
            "clientsecret",
            "totp_secret",
            "2fa_secret",
            "secret_value",
            "api_key",
            "apiKey",
            "APIKey",
            "API_KEY",
            "api-key",
            "apikey",
            "apikeys",
            "x-api-key",
            "stripe_api_key_2",
            "private_key",
            "privateKey",
            "PrivateKeyPem",
            "rsa_private_key",
            "access_key",
            "aws_access_key",
            "AWSAccessKey",
            "secret_access_key",
            "access_token",
            "accessToken",
            "refresh_token",
            "refreshTokens",
            "id_token",
            "session_token",
            "ssn",
            "SSN",
            "user_ssn",
            "userSSN",
            "SSNHash",
            "social_security_number",
            "card",
            "cards",
            "Card",
            "credit_card",
            "creditCardNumber",
            "card_number",
            "cardNo",
            "cvv",
            "CVV2",
            "cvc",
            "card_cvc",
            "iban",
            "IBAN",
            "customer_iban",
            "ibans",
            "passport_number",
            "mnemonic",
            "seed_phrase",
            "backup_codes",
            "psk",
            "https://example.com/password",
            "https://example.com/claims#api_key",
            "https://example.com/secret/",
            "urn:example:password",
            "Kennwort",
            "a_very_long_name_of_a_claim_that_has_more_letters_than_count_and_ends_with_password",
        ] {
            assert!(secret_in(name).is_some(), "{name}");
        }
    }

    #[test]
    fn names_that_resemble_those_of_secrets_are_not_found() {
        for name in [
            "",
            "_",
            "1",
            "sub",
            "s",
            "password_changed_at",
            "passwordChangedAt",
            "password_expires_in",
            "pwd_exp",
            "pwd_url",
            "password_policy",
            "password_strength",
            "passwordless",
            "secretary",
            "secretariat",
            "secret_santa_group",
            "token_use",
            "token_type",
            "token",
            "passport_verified",
            "passport",
            "pass",
            "boarding_pass",
            "compass",
            "spin",
            "shopping",
            "pinned",
            "pin_code",
            "pincode",
            "pins_required",
            "opinion",
            "turban",
            "sasb",
            "sasha",
            "pinb",
            "urban",
            "postcard",
            "scorecard",
            "wildcard",
            "business_card",
            "discard",
            "card_type",
            "card_brand",
            "card_last4",
            "cardiology",
            "cardinal",
            "api_key_id",
            "access_key_id",
            "key",
            "key_id",
            "keys",
            "public_key",
            "jwks_uri",
            "keyboard",
            "monkey",
            "valid_token",
            "author",
            "authorization",
            "authorization_details",
            "ssn_verified",
            "assn",
            "lesson",
            "cvvs_checked",
            "account_number",
            "order_number",
            "phone_number",
            "acr",
            "amr",
            "hash",
            "at_hash",
            "data",
            "value",
            "text",
            "basehash",
            "salt",
            "email",
            "name",
            "locale",
            "cid",
            "uid",
            "sid",
            "oid",
            "tid",
            "aio",
            "uti",
            "rh",
            "ver",
            "wids",
            "xms_cc",
            "deviceid",
            "onprem_sid",
            "in_corp",
            "unique_name",
            "upn",
            "preferred_username",
            "given_name",
            "family_name",
            "picture",
            "zoneinfo",
            "session_state",
            "allowed-origins",
            "realm_access",
            "resource_access",
            "permissions",
            "roles",
            "groups",
            "entitlements",
            "org_id",
            "org_name",
            "cognito:groups",
            "cognito:username",
            "origin_jti",
            "event_id",
            "urn:zitadel:iam:org:project:roles",
            "urn:zitadel:iam:user:metadata",
            "namespace_path",
            "project_path",
            "user_login",
            "pipeline_source",
            "ref_protected",
            "runner_environment",
            "job_project_id",
            "ext",
            "sub_jwk",
            "https://secret.example.com/roles",
            "https://example.com/password/changed_at",
            "firebase",
            "sign_in_provider",
            "session_id",
            "hd",
            "azp",
            "trust_chain",
            "status",
            "verified_claims",
            "place_of_birth",
            "nationalities",
        ] {
            assert_eq!(secret_in(name), None, "{name}");
        }
    }

    /// The documentation has the same lists.
    #[test]
    fn every_term_is_in_the_documentation() {
        let documented: Vec<String> = include_str!("../issuer.rs")
            .split('`')
            .map(|word| Letters::of(word).text().to_owned())
            .collect();
        let terms = TERMS.iter().flat_map(|(_, _, terms)| terms.iter());
        for term in terms.chain(FORMS) {
            assert!(documented.iter().any(|word| word == term), "{term}");
        }
    }

    #[test]
    fn a_hash_is_named_as_one() {
        assert_eq!(secret_in("password_hash"), Some(hashes::HASH));
        assert_eq!(secret_in("password_new"), Some(PASSWORD));
        assert_eq!(secret_in("cvv2"), Some(CARD));
    }
}
