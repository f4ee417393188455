//! A rejection is made by the crate, so that its kind and its sentence are true.

use tower_jwt_auth::{Rejection, RejectionKind};

fn forge(rejection: Rejection) -> Rejection {
    Rejection { kind: RejectionKind::Expired, ..rejection }
}

fn main() {}
