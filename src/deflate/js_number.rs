//! JavaScript's conversion of a string to a number.
//!
//! ws reads the values of window bits with unary plus, so `"0xf"`, `" 10"` and `"1e1"` are numbers
//! to it and `"1_0"` is not. What is accepted on the wire depends on that.

/// `+text`, as JavaScript has it.
pub(super) fn to_number(text: &str) -> f64 {
    let digits = text.trim_matches(is_js_whitespace);
    if digits.is_empty() {
        return 0.0;
    }
    if let Some((prefix, rest)) = digits.split_at_checked(2) {
        match prefix {
            "0x" | "0X" => return with_radix(rest, 16),
            "0o" | "0O" => return with_radix(rest, 8),
            "0b" | "0B" => return with_radix(rest, 2),
            _ => {}
        }
    }
    match digits {
        "Infinity" | "+Infinity" => f64::INFINITY,
        "-Infinity" => f64::NEG_INFINITY,
        // Rust reads what is left as JavaScript does, but knows names ("inf") that JavaScript doesn't.
        _ if digits.bytes().all(is_decimal_byte) => digits.parse().unwrap_or(f64::NAN),
        _ => f64::NAN,
    }
}

fn with_radix(digits: &str, radix: u32) -> f64 {
    if digits.is_empty() {
        return f64::NAN;
    }
    digits.chars().fold(0.0, |number, digit| {
        let digit = digit.to_digit(radix).map_or(f64::NAN, f64::from);
        number * f64::from(radix) + digit
    })
}

fn is_decimal_byte(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')
}

/// The white space and line terminators of the language, which are not quite Unicode's.
fn is_js_whitespace(c: char) -> bool {
    c == '\u{feff}' || (c.is_whitespace() && c != '\u{85}')
}
