//! The native transport where there is none: JavaScript asks and is told so.

use crate::binding::raw::{raw_functions, Call, Outcome};

raw_functions!(export: "nativeStart" => start);

/// As where there is one: it is impossible.
fn start(_call: &Call) -> Outcome<i32> {
    Ok(0)
}
