//! Programs that a test needs, and that a machine may not have.

use std::io::Write;
use std::process::Command;

/// Whether this program is on the PATH.
pub fn is_on_path(program: &str) -> bool {
    let version = Command::new(program).arg("--version").output();
    version.is_ok_and(|version| version.status.success())
}

/// Passes on whether the programs of a test are there. If they are not, says that the test is skipped, or fails
/// if the variable `TOWER_JWT_AUTH_REQUIRE_` with this name demands them.
pub fn or_skipped(is_there: bool, programs: &str, name: &str) -> bool {
    if !is_there {
        let sentence = format!("skipped: no {programs}");
        let variable = format!("TOWER_JWT_AUTH_REQUIRE_{name}");
        let is_demanded = std::env::var_os(&variable).is_some();
        assert!(!is_demanded, "{sentence}, which {variable} demands");
        // Not `println`, which the test harness captures.
        let _ = writeln!(std::io::stderr(), "{sentence}");
    }
    is_there
}
