//! The native transport where there is none: JavaScript asks and is told so.

use crate::binding::raw::{raw_functions, Call, Outcome};

raw_functions!(export: "nativeStart" => start);

fn start(_call: &Call) -> Outcome<bool> {
    Ok(false)
}
