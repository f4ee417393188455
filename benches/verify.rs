//! The time of a verification, compared with `jsonwebtoken::decode` for the same token in the same run.
//!
//! `cargo bench --all-features --bench verify`. Compare the ratios, because times depend on the machine.

#![expect(
    clippy::unwrap_used,
    reason = "a bench that cannot be set up has to stop"
)]

mod support;

use divan::{AllocProfiler, Bencher, black_box};

use crate::support::{ALGORITHMS, Signature, User, token};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// Accepted tokens, with own claims.
mod accepted {
    use super::*;
    use tower_jwt_auth::Algorithm;
    use tower_jwt_auth::test::TestIssuer;

    #[divan::bench(args = ALGORITHMS)]
    fn ours(bencher: Bencher<'_, '_>, algorithm: Algorithm) {
        let issuer = TestIssuer::with_algorithm(algorithm);
        let verifier = issuer.auth().claims::<User>().verifier();
        let token = token(&issuer).mint();
        bencher.bench(|| verifier.verify_now(black_box(&token)).unwrap());
    }

    /// The part of the work that every verifier has.
    #[divan::bench(args = ALGORITHMS)]
    fn bare_signature(bencher: Bencher<'_, '_>, algorithm: Algorithm) {
        let issuer = TestIssuer::with_algorithm(algorithm);
        let signature = Signature::of(&token(&issuer).mint(), &issuer, algorithm);
        bencher.bench(|| black_box(&signature).check());
    }

    #[divan::bench(args = ALGORITHMS)]
    fn jsonwebtoken(bencher: Bencher<'_, '_>, algorithm: Algorithm) {
        let issuer = TestIssuer::with_algorithm(algorithm);
        let peer = peer::Peer::new(&issuer, algorithm);
        let token = token(&issuer).mint();
        bencher.bench(|| peer.decode(black_box(&token)).unwrap());
    }
}

/// Tokens that are rejected, each for another reason. ES256.
mod rejected {
    use super::*;
    use tower_jwt_auth::test::TestIssuer;
    use tower_jwt_auth::{Algorithm, RejectionKind};

    const FLAWS: [RejectionKind; 5] = [
        RejectionKind::AudienceMismatch,
        RejectionKind::BadSignature,
        RejectionKind::Expired,
        RejectionKind::MalformedToken,
        RejectionKind::UnknownKey,
    ];

    fn flawed(issuer: &TestIssuer, flaw: RejectionKind) -> String {
        let good = token(issuer);
        match flaw {
            RejectionKind::AudienceMismatch => good.audience("https://other.example").mint(),
            RejectionKind::BadSignature => good.signed_by_stranger().mint(),
            RejectionKind::Expired => good.expired().mint(),
            RejectionKind::UnknownKey => good.header("kid", "key-2").mint(),
            _ => good.mint().replace('.', "!"),
        }
    }

    #[divan::bench(args = FLAWS.map(RejectionKind::as_str))]
    fn ours(bencher: Bencher<'_, '_>, flaw: &str) {
        let flaw = *FLAWS.iter().find(|known| known.as_str() == flaw).unwrap();
        let issuer = TestIssuer::new();
        let verifier = issuer.auth().claims::<User>().verifier();
        let token = flawed(&issuer, flaw);
        assert_eq!(
            verifier.verify_now(&token).err().map(|error| error.kind()),
            Some(flaw)
        );
        bencher.bench(|| verifier.verify_now(black_box(&token)).err().unwrap());
    }

    #[divan::bench(args = FLAWS.map(RejectionKind::as_str))]
    fn jsonwebtoken(bencher: Bencher<'_, '_>, flaw: &str) {
        let flaw = *FLAWS.iter().find(|known| known.as_str() == flaw).unwrap();
        let issuer = TestIssuer::new();
        let peer = peer::Peer::new(&issuer, Algorithm::ES256);
        let token = flawed(&issuer, flaw);
        if flaw == RejectionKind::UnknownKey {
            // `decode` takes one key, so its caller reads the header to choose the key.
            bencher.bench(|| {
                let header = jsonwebtoken::decode_header(black_box(&token)).unwrap();
                assert_ne!(header.kid.as_deref(), Some("key-1"));
                header
            });
        } else {
            bencher.bench(|| peer.decode(black_box(&token)).err().unwrap());
        }
    }
}

/// The steps before and after the verification.
mod stages {
    use super::*;
    use tower_jwt_auth::test::TestIssuer;
    use tower_jwt_auth::{Algorithm, Claims, KeySet, scope};

    #[divan::bench]
    fn authorize_one_scope_of_fourteen(bencher: Bencher<'_, '_>) {
        let claims = claims();
        bencher.bench(|| {
            black_box(&claims)
                .authorize::<scope!("mail:read")>()
                .unwrap()
        });
    }

    #[divan::bench]
    fn own_claims_for_the_first_time(bencher: Bencher<'_, '_>) {
        // Each verification returns a new value, whose own claims are not deserialized yet.
        bencher
            .with_inputs(claims)
            .bench_values(|claims| claims.deserialize::<User>().unwrap());
    }

    #[divan::bench]
    fn own_claims_again(bencher: Bencher<'_, '_>) {
        let claims = claims();
        let _first = claims.deserialize::<User>().unwrap();
        bencher.bench(|| black_box(&claims).deserialize::<User>().unwrap());
    }

    #[divan::bench]
    fn read_a_set_of_three_keys(bencher: Bencher<'_, '_>) {
        let keys: Vec<_> = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA]
            .map(|algorithm| TestIssuer::with_algorithm(algorithm).jwk())
            .into();
        let jwks = serde_json::json!({ "keys": keys }).to_string();
        bencher.bench(|| KeySet::from_jwks(black_box(jwks.as_bytes())).unwrap());
    }

    fn claims() -> Claims {
        static CLAIMS: std::sync::LazyLock<(TestIssuer, String)> = std::sync::LazyLock::new(|| {
            let issuer = TestIssuer::with_algorithm(Algorithm::HS256);
            let token = token(&issuer).mint();
            (issuer, token)
        });
        let (issuer, token) = &*CLAIMS;
        issuer.auth().verifier().verify_now(token).unwrap()
    }
}

/// The simple use of `jsonwebtoken`: one key, and those checks that the library has too.
mod peer {
    use jsonwebtoken::{DecodingKey, TokenData, Validation, decode};
    use serde::Deserialize;
    use tower_jwt_auth::Algorithm;
    use tower_jwt_auth::test::TestIssuer;

    pub(super) struct Peer {
        key: DecodingKey,
        validation: Validation,
    }

    /// All twelve claims. [`tower_jwt_auth::Claims`] has methods for the registered ones.
    #[derive(Deserialize)]
    #[expect(dead_code, reason = "there to be read into")]
    pub(super) struct Everything {
        iss: String,
        sub: String,
        aud: String,
        client_id: String,
        iat: u64,
        exp: u64,
        jti: String,
        scope: String,
        roles: Vec<String>,
        email: String,
        name: String,
        permissions: Vec<String>,
    }

    impl Peer {
        pub(super) fn new(issuer: &TestIssuer, algorithm: Algorithm) -> Self {
            let jwk = serde_json::from_value(issuer.jwk()).unwrap();
            let mut validation = Validation::new(algorithm.as_str().parse().unwrap());
            validation.set_issuer(&[issuer.issuer().as_str()]);
            validation.set_audience(&issuer.audience().ids().collect::<Vec<_>>());
            validation.set_required_spec_claims(&["exp", "iss", "aud"]);
            validation.validate_nbf = true;
            Self {
                key: DecodingKey::from_jwk(&jwk).unwrap(),
                validation,
            }
        }

        pub(super) fn decode(
            &self,
            token: &str,
        ) -> jsonwebtoken::errors::Result<TokenData<Everything>> {
            decode(token, &self.key, &self.validation)
        }
    }
}
