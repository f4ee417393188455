//! Private keys, and the keys and tokens of well-known services.

use super::Secret;

/// A private key or a key of a service, if there is one in the text.
pub(super) fn secret_in(text: &str) -> Option<Secret> {
    if text.contains("-----BEGIN ") && text.contains("PRIVATE KEY")
        || text.starts_with("PuTTY-User-Key-File-")
    {
        return Some(PRIVATE_KEY);
    }
    let is_connection = text.contains("AccountKey=") || text.contains("SharedAccessKey=");
    if is_connection || text.contains("://hooks.slack.com/services/") {
        return Some(SERVICE_KEY);
    }
    let is_character = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let mut words = text.split(|c| !is_character(c));
    words.any(is_service_key).then_some(SERVICE_KEY)
}

fn is_service_key(word: &str) -> bool {
    if word.len() < SHORTEST {
        return false;
    }
    PREFIXES.iter().any(|(prefix, form)| {
        let rest = word.strip_prefix(prefix);
        rest.is_some_and(|rest| form.fits(rest))
    })
}

/// What follows a prefix.
enum Form {
    /// Letters and digits, at least this many.
    Alphanumeric(usize),
    /// Any characters of a key, at least this many.
    Any(usize),
    /// Exactly this many characters of a key.
    Exactly(usize),
    /// Hexadecimal digits, exactly this many.
    Hex(usize),
    /// Capital letters and digits, exactly this many.
    Upper(usize),
}

impl Form {
    fn fits(&self, rest: &str) -> bool {
        let all = |legal: fn(&u8) -> bool| rest.as_bytes().iter().all(legal);
        match *self {
            Self::Alphanumeric(least) => rest.len() >= least && all(u8::is_ascii_alphanumeric),
            Self::Any(least) => rest.len() >= least,
            Self::Exactly(length) => rest.len() == length,
            Self::Hex(length) => rest.len() == length && all(u8::is_ascii_hexdigit),
            Self::Upper(length) => {
                rest.len() == length
                    && all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
            }
        }
    }
}

pub(super) const PRIVATE_KEY: Secret = Secret {
    looks_like: "a private key",
    belongs: "keep it in a secret store, and put the id of the key into the token",
};
pub(super) const SERVICE_KEY: Secret = Secret {
    looks_like: "a key of a service",
    belongs: "keep it in a secret store, on the server that uses it",
};

/// The prefixes that the services publish for scanners, and what follows.
const PREFIXES: &[(&str, Form)] = &[
    // AWS. The ids of roles and users (`AROA`, `AIDA`) are no keys.
    ("AKIA", Form::Upper(16)),
    ("ASIA", Form::Upper(16)),
    ("ABIA", Form::Upper(16)),
    ("ACCA", Form::Upper(16)),
    // Anthropic, OpenAI and those who follow them.
    ("sk-ant-", Form::Any(20)),
    ("sk-proj-", Form::Any(20)),
    ("sk-", Form::Alphanumeric(32)),
    // Atlassian, Databricks, DigitalOcean, Docker.
    ("ATATT3", Form::Any(20)),
    ("dapi", Form::Hex(32)),
    ("dop_v1_", Form::Hex(64)),
    ("doo_v1_", Form::Hex(64)),
    ("dor_v1_", Form::Hex(64)),
    ("dckr_pat_", Form::Any(20)),
    // GitHub, GitLab.
    ("ghp_", Form::Alphanumeric(30)),
    ("gho_", Form::Alphanumeric(30)),
    ("ghu_", Form::Alphanumeric(30)),
    ("ghs_", Form::Any(30)),
    ("ghr_", Form::Alphanumeric(30)),
    ("github_pat_", Form::Any(30)),
    ("glpat-", Form::Any(20)),
    ("gloas-", Form::Any(20)),
    ("gldt-", Form::Any(20)),
    ("glrt-", Form::Any(20)),
    ("glptt-", Form::Any(20)),
    ("glsoat-", Form::Any(20)),
    // Google.
    ("AIza", Form::Exactly(35)),
    ("GOCSPX-", Form::Any(20)),
    ("ya29.", Form::Any(20)),
    // Grafana, Hashicorp, Hugging Face, Mailgun, New Relic, npm.
    ("glsa_", Form::Any(20)),
    ("hvs.", Form::Any(20)),
    ("hvb.", Form::Any(20)),
    ("hf_", Form::Alphanumeric(30)),
    ("key-", Form::Hex(32)),
    ("NRAK-", Form::Alphanumeric(20)),
    ("npm_", Form::Alphanumeric(36)),
    // Postman, PyPI, SendGrid.
    ("PMAK-", Form::Any(20)),
    ("pypi-AgEI", Form::Any(20)),
    ("SG.", Form::Any(60)),
    // Shopify, Slack, Square, Stripe, Supabase.
    ("shpat_", Form::Hex(32)),
    ("shpca_", Form::Hex(32)),
    ("shppa_", Form::Hex(32)),
    ("shpss_", Form::Hex(32)),
    ("xapp-", Form::Any(20)),
    ("xoxa-", Form::Any(20)),
    ("xoxb-", Form::Any(20)),
    ("xoxe-", Form::Any(20)),
    ("xoxe.xox", Form::Any(20)),
    ("xoxp-", Form::Any(20)),
    ("xoxr-", Form::Any(20)),
    ("xoxs-", Form::Any(20)),
    ("sq0csp-", Form::Any(20)),
    ("rk_live_", Form::Alphanumeric(16)),
    ("rk_test_", Form::Alphanumeric(16)),
    ("sk_live_", Form::Alphanumeric(16)),
    ("sk_test_", Form::Alphanumeric(16)),
    ("whsec_", Form::Alphanumeric(24)),
    ("sb_secret_", Form::Any(20)),
    ("sbp_", Form::Hex(40)),
    // Refresh tokens of this crate.
    ("rt_", Form::Any(60)),
    ("AGE-SECRET-KEY-1", Form::Alphanumeric(40)),
];
/// The length of the shortest key: one of AWS.
const SHORTEST: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    /// The texts are put together here, so that scanners do not take this file for a leak.
    #[test]
    fn keys_of_services_are_found() {
        let filler = "0123456789abcdefABCDEF0123456789abcdefABCDEF0123456789abcdefABCDEF0123456789";
        for (prefix, form) in PREFIXES {
            let rest: String = match form {
                Form::Alphanumeric(length) | Form::Any(length) | Form::Exactly(length) => {
                    filler.chars().take(*length).collect()
                }
                Form::Hex(length) => "0123456789abcdef".chars().cycle().take(*length).collect(),
                Form::Upper(length) => "ABCDEFG234567".chars().cycle().take(*length).collect(),
            };
            let key = format!("{prefix}{rest}");
            for text in [
                key.clone(),
                format!("token={key}"),
                format!("\"{key}\", and more"),
            ] {
                assert_eq!(secret_in(&text), Some(SERVICE_KEY), "{text}");
            }
            let cut = key.get(..key.len() - 1).unwrap();
            assert_eq!(secret_in(cut), None, "{cut}");
            let elsewhere = format!("x{key}");
            assert_eq!(secret_in(&elsewhere), None, "{elsewhere}");
        }
    }

    #[test]
    fn private_keys_are_found_and_public_ones_are_not() {
        for label in [
            "PRIVATE KEY",
            "RSA PRIVATE KEY",
            "EC PRIVATE KEY",
            "OPENSSH PRIVATE KEY",
            "ENCRYPTED PRIVATE KEY",
            "PGP PRIVATE KEY BLOCK",
        ] {
            let pem = format!("-----BEGIN {label}-----\nMIIB\n-----END {label}-----\n");
            assert_eq!(secret_in(&pem), Some(PRIVATE_KEY), "{pem}");
            assert_eq!(
                secret_in(&format!("key:\n{pem}")),
                Some(PRIVATE_KEY),
                "{pem}"
            );
        }
        for label in ["PUBLIC KEY", "CERTIFICATE", "SSH2 PUBLIC KEY"] {
            let pem = format!("-----BEGIN {label}-----\nMIIB\n-----END {label}-----\n");
            assert_eq!(secret_in(&pem), None, "{pem}");
        }
        assert_eq!(
            secret_in("a PRIVATE KEY is not to be shown to others"),
            None
        );
    }
}
