//! The negotiation of permessage-deflate as JavaScript calls it: once for each connection.

use napi::bindgen_prelude::{Either, Either3};
use napi_derive::napi;

use crate::deflate::{self, Accepted, LocalOptions, Offer, ParamValue, Value, WindowBitsOption};

/// What `serverMaxWindowBits` or `clientMaxWindowBits` was set to, when it is neither a boolean nor a number.
#[napi(object)]
pub struct OtherValue {
    /// Whether JavaScript takes it for true.
    pub truthy: bool,
    /// What it looks like in a header.
    pub text: String,
}

/// The options that take part in a negotiation.
#[napi(object)]
pub struct NegotiationOptions {
    /// `serverNoContextTakeover`, absent when it was not set.
    pub server_no_context_takeover: Option<bool>,
    /// `clientNoContextTakeover`, absent when it was not set.
    pub client_no_context_takeover: Option<bool>,
    /// `serverMaxWindowBits`, absent when it was not set.
    pub server_max_window_bits: Option<Either3<bool, f64, OtherValue>>,
    /// `clientMaxWindowBits`, absent when it was not set.
    pub client_max_window_bits: Option<Either3<bool, f64, OtherValue>>,
}

/// A parameter as the header's parser yields it.
#[napi(object)]
pub struct HeaderParameter {
    /// Its name.
    pub name: String,
    /// `true` where it stood without a value, else its text.
    pub values: Vec<Either<bool, String>>,
}

/// A parameter that was agreed on or is offered.
#[napi(object)]
pub struct AgreedParameter {
    /// Its name.
    pub name: String,
    /// `true`, or its value.
    pub value: Either3<bool, f64, String>,
}

/// How a negotiation ended.
#[napi(object)]
pub struct Negotiated {
    /// What was agreed on, unless it failed.
    pub parameters: Option<Vec<AgreedParameter>>,
    /// Why it failed.
    pub error: Option<String>,
    /// Whether the error is a `TypeError`.
    pub is_type_error: bool,
}

fn window_bits(option: Option<Either3<bool, f64, OtherValue>>) -> WindowBitsOption {
    match option {
        None => WindowBitsOption::Unset,
        Some(Either3::A(false)) => WindowBitsOption::False,
        Some(Either3::A(true)) => WindowBitsOption::True,
        Some(Either3::B(bits)) => WindowBitsOption::Bits(bits),
        Some(Either3::C(OtherValue { truthy, text })) => WindowBitsOption::Other { truthy, text },
    }
}

impl From<NegotiationOptions> for LocalOptions {
    fn from(options: NegotiationOptions) -> Self {
        LocalOptions {
            server_no_context_takeover: options.server_no_context_takeover,
            client_no_context_takeover: options.client_no_context_takeover,
            server_max_window_bits: window_bits(options.server_max_window_bits),
            client_max_window_bits: window_bits(options.client_max_window_bits),
        }
    }
}

fn offer_of(parameters: Vec<HeaderParameter>) -> Offer {
    parameters
        .into_iter()
        .map(|parameter| {
            let values = parameter.values.into_iter().map(|value| match value {
                Either::A(_) => Value::Flag,
                Either::B(text) => Value::Text(text),
            });
            (parameter.name, values.collect())
        })
        .collect()
}

fn agreed(name: String, value: ParamValue) -> AgreedParameter {
    let value = match value {
        ParamValue::True => Either3::A(true),
        ParamValue::Number(number) => Either3::B(number),
        ParamValue::Text(text) => Either3::C(text),
    };
    AgreedParameter { name, value }
}

fn listed(accepted: Accepted) -> Vec<AgreedParameter> {
    accepted
        .into_iter()
        .map(|(name, value)| agreed(name, value))
        .collect()
}

/// What a client offers.
#[napi]
pub fn offer_deflate(options: NegotiationOptions) -> Vec<AgreedParameter> {
    deflate::offer(&options.into())
        .into_iter()
        .map(|(name, value)| agreed(name.to_owned(), value))
        .collect()
}

/// Chooses among a client's offers, or checks a server's answer.
#[napi]
pub fn accept_deflate(
    is_server: bool,
    options: NegotiationOptions,
    configurations: Vec<Vec<HeaderParameter>>,
) -> Negotiated {
    let offers = configurations.into_iter().map(offer_of).collect();
    let accept = if is_server {
        deflate::accept_as_server
    } else {
        deflate::accept_as_client
    };
    match accept(&options.into(), offers) {
        Ok(accepted) => Negotiated {
            parameters: Some(listed(accepted)),
            error: None,
            is_type_error: false,
        },
        Err(error) => Negotiated {
            parameters: None,
            error: Some(error.message),
            is_type_error: error.is_type_error,
        },
    }
}

/// How checking the form of offers ended.
#[napi(object)]
pub struct Normalized {
    /// The parameters of each, unless the check failed.
    pub configurations: Option<Vec<Vec<AgreedParameter>>>,
    /// Why it failed.
    pub error: Option<String>,
    /// Whether the error is a `TypeError`.
    pub is_type_error: bool,
}

/// Checks the form of a client's offers, or of a server's answer.
#[napi]
pub fn normalize_deflate(is_server: bool, configurations: Vec<Vec<HeaderParameter>>) -> Normalized {
    let offers = configurations.into_iter().map(offer_of).collect();
    match deflate::normalize_params(is_server, offers) {
        Ok(normal) => Normalized {
            configurations: Some(normal.into_iter().map(listed).collect()),
            error: None,
            is_type_error: false,
        },
        Err(error) => Normalized {
            configurations: None,
            error: Some(error.message),
            is_type_error: error.is_type_error,
        },
    }
}
