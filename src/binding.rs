//! Proof of possession: whether the caller may use a bound token (`cnf`, RFC 7800).

use crate::error::kinds::RejectionKind;
use crate::error::rejection::Rejection;
use crate::request::Presented;
use crate::token::confirmation::Confirmation;

/// Checks what a token is bound to against what was presented with it.
///
/// No kind of proof is checked yet, so every bound token is rejected. If it were accepted, it would
/// be a bearer token for whoever has it.
pub(crate) fn check(
    confirmation: Option<Confirmation>,
    presented: &Presented<'_>,
) -> Result<(), Rejection> {
    let Some(confirmation) = confirmation else {
        return Ok(());
    };
    let scheme = presented.scheme().as_str();
    let how = match presented.proofs().next() {
        Some(_) => format!("with the scheme `{scheme}` and a DPoP proof"),
        None if presented.is_of_request() => format!("as a {scheme} token without a DPoP proof"),
        None => "without a request".to_owned(),
    };
    Err(Rejection::because(
        RejectionKind::BindingMismatch,
        format!("token is bound to {confirmation}, and that is not checked here: it came {how}"),
    ))
}
