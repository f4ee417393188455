//! The statements of `private_key_jwt` (RFC 7523).

use base64_simd::URL_SAFE_NO_PAD;

use super::*;
use crate::clock::NumericDate;
use crate::keys::algorithm::Algorithm;
use crate::keys::set::KeySet;
use crate::token::compact::Compact;

/// Private keys that were made for these tests: RSA, P-256, P-384, P-521, Ed25519.
fn private_keys() -> Vec<Value> {
    serde_json::from_str(include_str!("../../../tests/data/keys/private.json")).unwrap()
}

fn public(private: &Value) -> Value {
    let members = private.as_object().unwrap().iter();
    let public =
        members.filter(|(name, _)| ["kty", "crv", "n", "e", "x", "y"].contains(&name.as_str()));
    public
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// The header and the claims of the statement that is sent with a request.
async fn statement(key: ClientKey, public: &Value, algorithm: Algorithm) -> (Value, Value) {
    let server = Server::new(|_| of_json(r#"{"active":false}"#));
    let auth = ClientAuth::private_key_jwt("files-api", key).unwrap();
    assert!(format!("{auth:?}").contains("private_key_jwt"));
    let introspection = Introspection::at_with(URL, auth, server.fetch()).unwrap();
    ask(&introspection).await.unwrap();
    assert!(server.last_header(AUTHORIZATION).is_none());
    let form = server.last_form().split_off(2);
    assert_eq!(form[0], ("client_id".into(), "files-api".into()));
    let kind = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
    assert_eq!(form[1], ("client_assertion_type".into(), kind.into()));
    assert_eq!((form[2].0.as_str(), form.len()), ("client_assertion", 3));
    let text = &form[2].1;

    let mut public = public.clone();
    public["alg"] = algorithm.as_str().into();
    let set = KeySet::from_jwks(json!({ "keys": [public] }).to_string().as_bytes()).unwrap();
    let signed = Compact::parse(text.as_bytes(), &[]).unwrap();
    let candidates = set.candidates(None, NumericDate(0.0));
    assert!(signed.verify(&candidates, None).is_ok(), "{algorithm}");
    let part = |at: usize| {
        let part = text.split('.').nth(at).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode_to_vec(part).unwrap()).unwrap()
    };
    (part(0), part(1))
}

/// RFC7662-2.1-2
#[tokio::test]
async fn a_statement_is_signed_with_every_algorithm() {
    for (position, algorithms) in [
        (
            0,
            vec![Algorithm::RS256, Algorithm::RS384, Algorithm::RS512],
        ),
        (
            0,
            vec![Algorithm::PS256, Algorithm::PS384, Algorithm::PS512],
        ),
        (1, vec![Algorithm::ES256]),
        (2, vec![Algorithm::ES384]),
        (3, vec![Algorithm::ES512]),
        (4, vec![Algorithm::EdDSA, Algorithm::Ed25519]),
    ] {
        for algorithm in algorithms {
            let mut private = private_keys()[position].clone();
            let public = public(&private);
            private["alg"] = algorithm.as_str().into();
            private["kid"] = "key-7".into();
            let key = ClientKey::from_jwk(private.to_string().as_bytes()).unwrap();
            let (header, claims) = statement(key, &public, algorithm).await;
            let expected = json!({
                "alg": algorithm.as_str(), "kid": "key-7", "typ": "client-authentication+jwt",
            });
            assert_eq!(header, expected);
            assert_eq!(claims["iss"], "files-api");
            assert_eq!(claims["sub"], "files-api");
            assert_eq!(claims["aud"], "https://as.example");
            assert_eq!(
                (&claims["iat"], &claims["exp"]),
                (&json!(NOW), &json!(NOW + 60))
            );
            assert_eq!(claims["jti"].as_str().unwrap().len(), 22);
            assert_eq!(claims.as_object().unwrap().len(), 6);
        }
    }
}

#[tokio::test]
async fn each_statement_is_new_and_the_type_can_be_left_out() {
    let private = &private_keys()[1];
    let key = ClientKey::from_jwk(private.to_string().as_bytes()).unwrap();
    let (header, first) = statement(key.clone(), &public(private), Algorithm::ES256).await;
    assert_eq!(header.as_object().unwrap().len(), 2);
    let (_, second) = statement(key.clone(), &public(private), Algorithm::ES256).await;
    assert_ne!(first["jti"], second["jti"]);
    let key = key.untyped().with_key_id("a");
    let (header, _) = statement(key, &public(private), Algorithm::ES256).await;
    assert_eq!(header, json!({"alg": "ES256", "kid": "a"}));
}

#[tokio::test]
async fn a_key_comes_from_pem_in_every_form() {
    use aws_lc_rs::encoding::AsDer;
    use aws_lc_rs::signature::{EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair};

    let sec1 = include_str!("../../../tests/data/keys/private.sec1.pem");
    let (x, y) = (
        "icOSaCz_UqCsaAq812tNpJrWoRr8EpZkCnYn8phIaP0",
        "HpekKg5I3Aifi3-bVoWPELSKXQQkh7ryEppQ2Qbb3uQ",
    );
    let public = json!({"kty": "EC", "crv": "P-256", "x": x, "y": y});
    let key = ClientKey::from_pem(Algorithm::ES256, sec1.as_bytes()).unwrap();
    statement(key, &public, Algorithm::ES256).await;
    // The other curve, another kind of key, a shared secret, a public key, nothing, two keys.
    for algorithm in [
        Algorithm::ES384,
        Algorithm::RS256,
        Algorithm::EdDSA,
        Algorithm::HS256,
    ] {
        ClientKey::from_pem(algorithm, sec1.as_bytes()).unwrap_err();
    }
    let spki = include_str!("../../../tests/data/keys/p256.spki.pem");
    for text in [spki, "", "-----BEGIN", &sec1.repeat(2)] {
        let error = ClientKey::from_pem(Algorithm::ES256, text.as_bytes()).unwrap_err();
        assert!(matches!(error, ConfigError::Key { .. }), "{error}");
    }
    for locked in [
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n",
    ] {
        let error = ClientKey::from_pem(Algorithm::ES256, locked.as_bytes()).unwrap_err();
        assert!(error.to_string().contains("passphrase"), "{error}");
    }
    for broken in [
        sec1.replace("-----END EC PRIVATE", "-----END PRIVATE"),
        sec1.replace("MHcC", "MH*C"),
        sec1.replace('\n', "\\n"),
        sec1.split("-----END EC PRIVATE").next().unwrap().to_owned(),
    ] {
        ClientKey::from_pem(Algorithm::ES256, broken.as_bytes()).unwrap_err();
    }

    let pkcs8 = |tag: &str, der: &[u8]| {
        let text = base64_simd::STANDARD.encode_to_string(der);
        let (first, rest) = text.split_at(64);
        format!("-----BEGIN {tag}-----\r\n{first}\r\n{rest}\r\n-----END {tag}-----\r\n")
    };
    let pair = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let der = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&pair).unwrap();
    for (tag, der) in [
        ("PRIVATE KEY", der.as_ref()),
        ("RSA PRIVATE KEY", &der.as_ref()[26..]),
    ] {
        let text = pkcs8(tag, der);
        ClientKey::from_pem(Algorithm::PS256, text.as_bytes()).unwrap();
        ClientKey::from_pem(Algorithm::ES256, text.as_bytes()).unwrap_err();
    }
    let random = aws_lc_rs::rand::SystemRandom::new();
    let der = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
    let text = pkcs8("PRIVATE KEY", der.as_ref());
    ClientKey::from_pem(Algorithm::EdDSA, text.as_bytes()).unwrap();
    let curve = &aws_lc_rs::signature::ECDSA_P384_SHA384_FIXED_SIGNING;
    let der = EcdsaKeyPair::generate_pkcs8(curve, &random).unwrap();
    ClientKey::from_der(Algorithm::ES384, der.as_ref()).unwrap();
    ClientKey::from_der(Algorithm::ES256, der.as_ref()).unwrap_err();
}

#[test]
fn what_is_no_private_key_is_an_error_of_the_start() {
    let keys = private_keys();
    for private in &keys {
        // A public key, and one whose halves do not belong together.
        ClientKey::from_jwk(public(private).to_string().as_bytes()).unwrap_err();
        ClientKey::from_jwk(private.to_string().as_bytes()).unwrap();
        for name in ["d", "x", "p"] {
            let mut broken = private.clone();
            if let Some(Value::String(text)) = broken.get_mut(name) {
                let first = if text.starts_with('A') { "B" } else { "A" };
                text.replace_range(..1, first);
                ClientKey::from_jwk(broken.to_string().as_bytes()).unwrap_err();
            }
        }
    }
    for text in [
        "",
        "{}",
        r#"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T"}"#,
        r#"{"kty":"EC","crv":"secp256k1","d":"AA","x":"AA","y":"AA"}"#,
        r#"{"kty":"EC","crv":"P-256","alg":"none","d":"AA","x":"AA","y":"AA"}"#,
        r#"{"kty":"EC","crv":"P-256","alg":"ES384","d":"AA","x":"AA","y":"AA"}"#,
    ] {
        let error = ClientKey::from_jwk(text.as_bytes()).unwrap_err();
        assert!(matches!(error, ConfigError::Key { .. }), "{error}");
    }
    let key = ClientKey::from_jwk(keys[1].to_string().as_bytes()).unwrap();
    let shown = format!("{key:?}");
    assert!(
        shown.contains("ES256") && !shown.contains(keys[1]["d"].as_str().unwrap()),
        "{shown}"
    );
}
