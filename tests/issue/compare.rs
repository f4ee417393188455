//! What `jsonwebtoken::encode` signs and the issuing side does not: the rows of `guide::compare`.

use jsonwebtoken::{Algorithm as Theirs, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tower_jwt_auth::issue::{SigningKeys, TokenIssuer};
use tower_jwt_auth::{Algorithm, Audience, Issuer};

const SECRET: &[u8] = b"Zb5Tq0vWn8Rk2YxLm4Pc7Hs1Dg9Uf3Ea";

fn they_sign(claims: &Value, secret: &[u8]) -> bool {
    let header = Header::new(Theirs::HS256);
    encode(&header, claims, &EncodingKey::from_secret(secret)).is_ok()
}

fn ours() -> TokenIssuer {
    let keys = SigningKeys::from_secret(Algorithm::HS256, SECRET).unwrap();
    let issuer = Issuer::new("https://login.example.com").unwrap();
    TokenIssuer::new(issuer, Audience::new("calendar-api").unwrap(), keys)
}

#[tokio::test]
async fn the_rows_about_issuing_hold() {
    let secret = json!({"password": "correct horse", "card": "4242424242424242"});
    let year = json!({"exp": 4_102_444_800_u64, "iat": 1_700_000_000});
    assert!(they_sign(&json!({"sub": "alice"}), SECRET));
    assert!(they_sign(&year, SECRET));
    assert!(they_sign(&secret, SECRET));
    assert!(they_sign(&json!({}), b"short"));
    assert!("ES512".parse::<Theirs>().is_err());
    assert!("Ed25519".parse::<Theirs>().is_err());
    assert_eq!(Header::new(Theirs::HS256).kid, None);

    let tokens = ours();
    assert!(tokens.for_subject("alice", "web").issue().await.is_ok());
    assert!(
        tokens
            .for_subject("alice", "web")
            .claims(&secret)
            .issue()
            .await
            .is_err()
    );
    assert!(
        tokens
            .lifetime(std::time::Duration::from_secs(365 * 86_400))
            .is_err()
    );
    assert!(SigningKeys::from_secret(Algorithm::HS256, b"short").is_err());
    assert!(SigningKeys::generate(Algorithm::ES512).is_ok());
    assert!(SigningKeys::generate(Algorithm::Ed25519).is_ok());
}
