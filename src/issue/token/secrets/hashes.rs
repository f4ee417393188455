//! Hashes of passwords.

use super::Secret;

/// The hash of a password, if the text has the form of one.
pub(super) fn secret_in(text: &str) -> Option<Secret> {
    // A line of a file of accounts: the name, the hash, and perhaps more.
    let line = text
        .split_once(':')
        .filter(|(_, rest)| rest.starts_with(['$', '{']));
    let text = line.map_or(text, |(_, rest)| rest.split(':').next().unwrap_or(rest));
    let is_hash = match text.as_bytes().first()? {
        b'$' => is_crypt(text),
        b'{' => is_ldap(text),
        _ => is_of_a_framework(text),
    };
    is_hash.then_some(HASH)
}

/// The modular format of `crypt`, and the string format of PHC: bcrypt, Argon2, scrypt, PBKDF2, `$1$`, `$5$`, `$6$`,
/// `$y$`, phpass. Its last part is the digest.
fn is_crypt(text: &str) -> bool {
    let Some((id, rest)) = text.get(1..).and_then(|text| text.split_once('$')) else {
        return false;
    };
    let is_id = (1..=32).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let digest = rest.rsplit('$').next().unwrap_or_default();
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"./+=,$-_".contains(&byte);
    is_id && digest.len() >= DIGEST && rest.bytes().all(is_legal)
}

/// `userPassword` of a directory (RFC 2307), such as `{SSHA}...`.
fn is_ldap(text: &str) -> bool {
    let parts = text.get(1..).and_then(|text| text.split_once('}'));
    parts.is_some_and(|(scheme, digest)| {
        // Spring writes `argon2@SpringSecurity_v5_8`.
        let scheme = scheme.split('@').next().unwrap_or(scheme);
        let is_known = LDAP.iter().any(|known| scheme.eq_ignore_ascii_case(known));
        is_known && digest.len() >= DIGEST
    })
}

/// Django, Werkzeug and PostgreSQL: the name of the method, parameters, and the digest after a `$`.
fn is_of_a_framework(text: &str) -> bool {
    let known = FRAMEWORKS.iter().any(|prefix| text.starts_with(prefix));
    let digest = text.rsplit('$').next().unwrap_or_default();
    known && digest.len() >= DIGEST && digest.len() < text.len()
}

pub(super) const HASH: Secret = Secret {
    looks_like: "the hash of a password",
    belongs: "keep it in the table of the accounts, where it is compared",
};
const LDAP: [&str; 13] = [
    "ARGON2", "BCRYPT", "CRYPT", "MD5", "PBKDF2", "SCRYPT", "SHA", "SHA256", "SHA512", "SMD5",
    "SSHA", "SSHA256", "SSHA512",
];
const FRAMEWORKS: [&str; 10] = [
    "SCRAM-SHA-",
    "argon2$",
    "bcrypt$",
    "bcrypt_sha256$",
    "md5$",
    "pbkdf2:",
    "pbkdf2_sha",
    "scrypt$",
    "scrypt:",
    "sha1$",
];
/// The length of the shortest digest: 12 bytes of Argon2 in base64.
const DIGEST: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_of_passwords_are_found() {
        for hash in [
            "$2b$12$EXRkfkdmXn2gzds2SSitu.MW9.gAVqa9eLS1//RYtYCmB1eLHg.9q",
            "$2y$10$nOUIs5kJ7naTuTFkBy1veuK0kSxUFXfuaOKdOKf9xYT0KKIGSJwFa",
            "$argon2id$v=19$m=65536,t=2,p=1$gZiV/M1gPc22ElAH/Jh1Hw$CWOrkoo7oJBQ/iyh7uJ0LO2aLEfrHwTWllSAxT0zRno",
            "$argon2i$v=19$m=16,t=2,p=1$c29tZXNhbHQ$cmVhbGx5c2hvcnQ0",
            "$scrypt$ln=17,r=8,p=1$c2FsdHNhbHRzYWx0$dGhlIGRpZ2VzdCBvZiBhIHBhc3N3b3Jk",
            "$pbkdf2-sha256$i=600000$c2FsdA$dGhlIGRpZ2VzdCBvZiBhIHBhc3N3b3Jk",
            "$1$deadbeef$Q7g0UO4hRC0mgQUQ/qkjZ0",
            "$5$rounds=5000$usesomesillystri$KqJWpanXZHKq2BOB43TSaYhEWsQ1Lr5QNyPCDH/Tp.6",
            "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjlO/O817G3uBnIFNjnQJuesI68OTLiBFdcbYEdFCoEOfaS35inz1",
            "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7",
            "$7$C6..../....SodiumChloride$kBGj9fHznVYFQMEn/qDCfrDevf9YDtcDdKvEqHJLV8D",
            "$P$B4EDKvf7iRHGBi3mDCtPDPSbxzu4Bb1",
            "$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/",
            "{SSHA}MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkw",
            "{crypt}$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8",
            "{argon2@SpringSecurity_v5_8}$argon2id$v=19$m=16,t=2,p=1$c29tZXNhbHQ$cmVhbGx5c2hvcnQ0",
            "{scrypt}$e0801$8bWJaSu2IKSn9Z9kM+TPXfOc/9bdYSrN1oD9qfVThWE=",
            "alice:$2y$05$nOUIs5kJ7naTuTFkBy1veuK0kSxUFXfuaOKdOKf9xYT0KKIGSJwFa",
            "root:$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjlO/O817G3uBnIFNjnQJues:19000:0:99999:7:::",
            "pbkdf2_sha256$600000$salt$EyEnrSVVVyqUOwYvLQEKs0ZlWFUvAcoLpMTTZTe8Lbs=",
            "pbkdf2:sha256:600000$salt$a3f5c0d1e2b34455667788990011223344556677",
            "scrypt:32768:8:1$salt$a3f5c0d1e2b34455667788990011223344556677",
            "SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVkLWtleS1vZi10aGUtcGFzc3dvcmQ=:c2VydmVyLWtleQ==",
        ] {
            assert_eq!(secret_in(hash), Some(HASH), "{hash}");
        }
    }

    #[test]
    fn prices_templates_and_sentences_are_no_hashes() {
        for text in [
            "$",
            "$5",
            "$5$",
            "$1,200.00 to $2,400.00 each year",
            "$HOME$PATH",
            "price:$5",
            "PATH:$HOME/bin:$PATH",
            "region:{region}/bucket-of-this-region",
            "$ref$a",
            "{region}/bucket-of-this-region",
            "{SHA}short",
            "scrypt: a function that takes much memory",
            "md5",
        ] {
            assert_eq!(secret_in(text), None, "{text}");
        }
    }
}
