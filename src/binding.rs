//! Proof of possession: whether the caller may use a bound token (`cnf`, RFC 7800).

use crate::error::kinds::RejectionKind;
use crate::error::rejection::Rejection;
use crate::request::Presented;
use crate::token::confirmation::Confirmation;
use crate::token::registered::Registered;

/// Checks the binding of a token against what was presented with it.
///
/// A token that is bound only to a client certificate is accepted with that certificate (RFC 8705,
/// section 3). Any other binding is rejected, because its proof is not checked yet. If such a token were
/// accepted, it would be a bearer token.
pub(crate) fn check(claims: &Registered, presented: &Presented<'_>) -> Result<(), Rejection> {
    let Some(confirmation) = claims.confirmation() else {
        return Ok(());
    };
    let Some(thumbprint) = claims.bound_certificate() else {
        return Err(not_checked(confirmation, presented));
    };
    let reason = match presented.certificate() {
        None if presented.is_of_request() => {
            "no certificate is looked for (see `JwtAuth::client_certificates`)".to_owned()
        }
        None => return Err(not_checked(confirmation, presented)),
        Some((Ok(certificate), _)) if certificate.has(&thumbprint) => return Ok(()),
        Some((Ok(_), source)) => format!("the certificate is another one: {source}"),
        Some((Err(flaw), source)) => format!("there is no certificate: {source} {flaw}"),
    };
    Err(mismatch(format!(
        "token is bound to {confirmation}, and {reason}"
    )))
}

fn not_checked(confirmation: Confirmation, presented: &Presented<'_>) -> Rejection {
    let scheme = presented.scheme().as_str();
    let how = match presented.proofs().next() {
        Some(_) => format!("with the scheme `{scheme}` and a DPoP proof"),
        None if presented.is_of_request() => format!("as a {scheme} token without a DPoP proof"),
        None => "without a request".to_owned(),
    };
    mismatch(format!(
        "token is bound to {confirmation}, and that is not checked here: it came {how}"
    ))
}

fn mismatch(reason: String) -> Rejection {
    Rejection::because(RejectionKind::BindingMismatch, reason)
}
