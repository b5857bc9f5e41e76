//! Which parameters are offered and accepted, compared with what ws does.

use crate::deflate::{
    accept_as_client, accept_as_server, offer, Accepted, LocalOptions, NegotiationError, Offer,
    ParamValue, Value, WindowBitsOption,
};
use WindowBitsOption::{Bits, False, True, Unset};

/// Offers as a header writes them: `a; b=8, c`.
fn offers(header: &str) -> Vec<Offer> {
    header.split(", ").map(one_offer).collect()
}

fn one_offer(text: &str) -> Offer {
    let mut offer = Offer::new();
    for param in text.split("; ").filter(|param| !param.is_empty()) {
        let (name, value) = match param.split_once('=') {
            Some((name, value)) => (name, Value::Text(value.to_owned())),
            None => (param, Value::Flag),
        };
        match offer.iter_mut().find(|(theirs, _)| theirs == name) {
            Some((_, values)) => values.push(value),
            None => offer.push((name.to_owned(), vec![value])),
        }
    }
    offer
}

fn print(params: impl IntoIterator<Item = (impl AsRef<str>, ParamValue)>) -> String {
    let params: Vec<_> = params
        .into_iter()
        .map(|(name, value)| match value {
            ParamValue::True => name.as_ref().to_owned(),
            ParamValue::Number(number) => format!("{}={number}", name.as_ref()),
            ParamValue::Text(text) => format!("{}={text}", name.as_ref()),
        })
        .collect();
    params.join("; ")
}

fn outcome(result: Result<Accepted, NegotiationError>) -> String {
    match result {
        Ok(accepted) => print(accepted),
        Err(NegotiationError {
            message,
            is_type_error: true,
        }) => format!("TypeError: {message}"),
        Err(NegotiationError { message, .. }) => format!("Error: {message}"),
    }
}

fn server(options: &LocalOptions, header: &str) -> String {
    outcome(accept_as_server(options, offers(header)))
}

fn client(options: &LocalOptions, header: &str) -> String {
    outcome(accept_as_client(options, offers(header)))
}

fn bits(server: WindowBitsOption, client: WindowBitsOption) -> LocalOptions {
    LocalOptions {
        server_max_window_bits: server,
        client_max_window_bits: client,
        ..LocalOptions::default()
    }
}

fn takeover(server: Option<bool>, client: Option<bool>) -> LocalOptions {
    LocalOptions {
        server_no_context_takeover: server,
        client_no_context_takeover: client,
        ..LocalOptions::default()
    }
}

const REFUSED: &str = "Error: None of the extension offers can be accepted";

#[test]
fn a_client_offers_what_its_options_say() {
    let offered = |options: &LocalOptions| print(offer(options));
    assert_eq!(offered(&LocalOptions::default()), "client_max_window_bits");
    assert_eq!(offered(&bits(False, False)), "");
    assert_eq!(offered(&bits(Bits(0.0), Bits(f64::NAN))), "");
    assert_eq!(
        offered(&bits(True, True)),
        "server_max_window_bits; client_max_window_bits"
    );
    let all = LocalOptions {
        server_no_context_takeover: Some(true),
        client_no_context_takeover: Some(true),
        server_max_window_bits: Bits(10.0),
        client_max_window_bits: WindowBitsOption::Other {
            truthy: true,
            text: "11".into(),
        },
    };
    assert_eq!(
        offered(&all),
        "server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10; \
         client_max_window_bits=11"
    );
    let refused = takeover(Some(false), Some(false));
    assert_eq!(offered(&refused), "client_max_window_bits");
}

#[test]
fn a_server_answers_the_parameters_in_the_order_of_the_offer() {
    let all = LocalOptions {
        server_no_context_takeover: Some(true),
        client_no_context_takeover: Some(true),
        server_max_window_bits: Bits(10.0),
        client_max_window_bits: Bits(11.0),
    };
    assert_eq!(
        server(
            &all,
            "client_max_window_bits; server_max_window_bits=15; client_no_context_takeover"
        ),
        "client_max_window_bits=11; server_max_window_bits=10; client_no_context_takeover; \
         server_no_context_takeover"
    );
}

#[test]
fn a_server_declines_offers_it_cannot_satisfy() {
    let no = takeover(Some(false), None);
    assert_eq!(server(&no, "server_no_context_takeover"), REFUSED);
    assert_eq!(server(&no, "server_no_context_takeover, "), "");
    assert_eq!(
        server(&no, "client_no_context_takeover"),
        "client_no_context_takeover"
    );

    let options = bits(False, Unset);
    assert_eq!(server(&options, "server_max_window_bits=15"), REFUSED);
    assert_eq!(server(&options, ""), "");

    let options = bits(Bits(10.0), Unset);
    assert_eq!(server(&options, "server_max_window_bits=9"), REFUSED);
    assert_eq!(
        server(
            &options,
            "server_max_window_bits=9, server_max_window_bits=12"
        ),
        "server_max_window_bits=10"
    );
    assert_eq!(server(&options, ""), "server_max_window_bits=10");

    let options = bits(Unset, Bits(10.0));
    assert_eq!(server(&options, ""), REFUSED);
    assert_eq!(server(&options, "client_max_window_bits=9"), REFUSED);
    assert_eq!(
        server(&options, "client_max_window_bits"),
        "client_max_window_bits=10"
    );
    assert_eq!(
        server(&options, "client_max_window_bits=10"),
        "client_max_window_bits=10"
    );
}

#[test]
fn a_server_echoes_a_client_window_only_if_it_has_a_size() {
    assert_eq!(server(&bits(Unset, Unset), "client_max_window_bits"), "");
    assert_eq!(server(&bits(Unset, True), "client_max_window_bits"), "");
    assert_eq!(
        server(&bits(Unset, Unset), "client_max_window_bits=12"),
        "client_max_window_bits=12"
    );
    assert_eq!(server(&bits(Unset, False), "client_max_window_bits=12"), "");
}

#[test]
fn a_client_refuses_what_it_did_not_allow() {
    assert_eq!(
        client(&takeover(None, Some(false)), "client_no_context_takeover"),
        "Error: Unexpected parameter \"client_no_context_takeover\""
    );
    let unexpected = "Error: Unexpected or invalid parameter \"client_max_window_bits\"";
    assert_eq!(
        client(&bits(Unset, False), "client_max_window_bits=15"),
        unexpected
    );
    assert_eq!(
        client(&bits(Unset, Bits(10.0)), "client_max_window_bits=11"),
        unexpected
    );
    assert_eq!(
        client(&bits(Unset, Bits(10.0)), "client_max_window_bits=8"),
        "client_max_window_bits=8"
    );
}

#[test]
fn a_client_keeps_its_own_window_if_the_server_says_nothing() {
    assert_eq!(
        client(&bits(Unset, Bits(10.0)), "server_no_context_takeover"),
        "server_no_context_takeover; client_max_window_bits=10"
    );
    assert_eq!(client(&bits(Unset, True), ""), "");
}

#[test]
fn window_bits_are_read_as_javascript_numbers() {
    let options = LocalOptions::default();
    for text in [
        "8", "08", "0xF", "0b1010", "0o17", "1e1", "1.2e1", "+9", "15.", " 9 ", "900e-2",
    ] {
        let accepted = server(&options, &format!("server_max_window_bits={text}"));
        assert!(
            accepted.starts_with("server_max_window_bits="),
            "{accepted}"
        );
    }
    for text in [
        "", "7", "16", "8.5", "-8", "9x", "1_0", "0x", "0xg", "-0xf", "Infinity", "inf", "NaN",
        "e1",
    ] {
        assert_eq!(
            server(&options, &format!("server_max_window_bits={text}")),
            format!("TypeError: Invalid value for parameter \"server_max_window_bits\": {text}")
        );
    }
}

#[test]
fn malformed_parameters_are_refused_before_any_offer_is_considered() {
    let options = LocalOptions::default();
    for (header, error) in [
        ("foo", "Error: Unknown parameter \"foo\""),
        (", __proto__", "Error: Unknown parameter \"__proto__\""),
        (
            "foo=1; foo=2",
            "Error: Parameter \"foo\" must have only a single value",
        ),
        (
            "server_no_context_takeover; server_no_context_takeover",
            "Error: Parameter \"server_no_context_takeover\" must have only a single value",
        ),
        (
            "server_no_context_takeover=true",
            "TypeError: Invalid value for parameter \"server_no_context_takeover\": true",
        ),
        (
            "server_max_window_bits",
            "TypeError: Invalid value for parameter \"server_max_window_bits\": true",
        ),
    ] {
        assert_eq!(server(&options, header), error);
        assert_eq!(client(&options, header), error);
    }
    assert_eq!(
        client(&options, "client_max_window_bits"),
        "TypeError: Invalid value for parameter \"client_max_window_bits\": true"
    );
}

#[test]
fn a_client_without_a_response_has_nothing_to_read() {
    assert_eq!(
        outcome(accept_as_client(&LocalOptions::default(), Vec::new())),
        "TypeError: Cannot read properties of undefined (reading 'client_max_window_bits')"
    );
    assert_eq!(
        outcome(accept_as_client(&takeover(None, Some(false)), Vec::new())),
        "TypeError: Cannot read properties of undefined (reading 'client_no_context_takeover')"
    );
    assert_eq!(
        outcome(accept_as_server(&LocalOptions::default(), Vec::new())),
        REFUSED
    );
}
