//! Negotiation of the extension's parameters, with ws's acceptance rules and error texts.

use std::error::Error;
use std::fmt;

use super::js_number::to_number;

const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";

/// What the user of this endpoint asked for.
#[derive(Clone, Debug, Default)]
pub struct LocalOptions {
    /// `serverNoContextTakeover`; `None` if it was not given.
    pub server_no_context_takeover: Option<bool>,
    /// `clientNoContextTakeover`; `None` if it was not given.
    pub client_no_context_takeover: Option<bool>,
    /// `serverMaxWindowBits`.
    pub server_max_window_bits: WindowBitsOption,
    /// `clientMaxWindowBits`.
    pub client_max_window_bits: WindowBitsOption,
}

/// A window bits option. Nobody validates it before it is used, so it may be anything.
#[derive(Clone, Debug, Default)]
pub enum WindowBitsOption {
    /// `undefined` or `null`.
    #[default]
    Unset,
    /// `false`.
    False,
    /// `true`.
    True,
    /// Any number.
    Bits(f64),
    /// Any other value.
    Other {
        /// Whether JavaScript takes it for true.
        truthy: bool,
        /// Its string form, as an offer prints it.
        text: String,
    },
}

impl WindowBitsOption {
    fn bits(&self) -> Option<f64> {
        match self {
            Self::Bits(bits) => Some(*bits),
            _ => None,
        }
    }

    /// The option as a parameter's value, unless JavaScript takes it for false.
    fn truthy(&self) -> Option<ParamValue> {
        match self {
            Self::True => Some(ParamValue::True),
            Self::Bits(bits) if *bits != 0.0 && !bits.is_nan() => Some(ParamValue::Number(*bits)),
            Self::Other { truthy: true, text } => Some(ParamValue::Text(text.clone())),
            _ => None,
        }
    }
}

/// A parameter's value as the header parser yields it.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// The parameter stood alone (`true` in JavaScript).
    Flag,
    /// The text after the equals sign.
    Text(String),
}

/// One offer (or the response): parameters in their order, each with all values it was given.
pub type Offer = Vec<(String, Vec<Value>)>;

/// The value of an offered or accepted parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum ParamValue {
    /// Present without a value.
    True,
    /// Window bits.
    Number(f64),
    /// A user's window bits option that is neither a number nor a boolean.
    Text(String),
}

/// The accepted parameters, in the order in which the header lists them.
pub type Accepted = Vec<(String, ParamValue)>;

/// Why the other side's parameters were refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NegotiationError {
    /// The text.
    pub message: String,
    /// Whether it is a `TypeError` to JavaScript rather than an `Error`.
    pub is_type_error: bool,
}

impl NegotiationError {
    fn error(message: String) -> Self {
        Self {
            message,
            is_type_error: false,
        }
    }

    fn type_error(message: String) -> Self {
        Self {
            message,
            is_type_error: true,
        }
    }
}

impl fmt::Display for NegotiationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for NegotiationError {}

/// The parameters a client with these options offers.
pub fn offer(options: &LocalOptions) -> Vec<(&'static str, ParamValue)> {
    let mut params = Vec::new();
    if options.server_no_context_takeover == Some(true) {
        params.push((SERVER_NO_CONTEXT_TAKEOVER, ParamValue::True));
    }
    if options.client_no_context_takeover == Some(true) {
        params.push((CLIENT_NO_CONTEXT_TAKEOVER, ParamValue::True));
    }
    if let Some(value) = options.server_max_window_bits.truthy() {
        params.push((SERVER_MAX_WINDOW_BITS, value));
    }
    if let Some(value) = options.client_max_window_bits.truthy() {
        params.push((CLIENT_MAX_WINDOW_BITS, value));
    } else if matches!(options.client_max_window_bits, WindowBitsOption::Unset) {
        // Says that the server may choose a window for this client.
        params.push((CLIENT_MAX_WINDOW_BITS, ParamValue::True));
    }
    params
}

/// Chooses the first offer a server with these options can live with, and completes it.
pub fn accept_as_server(
    options: &LocalOptions,
    offers: Vec<Offer>,
) -> Result<Accepted, NegotiationError> {
    let mut accepted = normalize_all(offers, Role::Server)?
        .into_iter()
        .find(|params| is_acceptable(options, params))
        .ok_or_else(|| {
            NegotiationError::error("None of the extension offers can be accepted".into())
        })?;

    if options.server_no_context_takeover == Some(true) {
        set(&mut accepted, SERVER_NO_CONTEXT_TAKEOVER, ParamValue::True);
    }
    if options.client_no_context_takeover == Some(true) {
        set(&mut accepted, CLIENT_NO_CONTEXT_TAKEOVER, ParamValue::True);
    }
    if let Some(bits) = options.server_max_window_bits.bits() {
        set(
            &mut accepted,
            SERVER_MAX_WINDOW_BITS,
            ParamValue::Number(bits),
        );
    }
    if let Some(bits) = options.client_max_window_bits.bits() {
        set(
            &mut accepted,
            CLIENT_MAX_WINDOW_BITS,
            ParamValue::Number(bits),
        );
    } else if get(&accepted, CLIENT_MAX_WINDOW_BITS) == Some(&ParamValue::True)
        || matches!(options.client_max_window_bits, WindowBitsOption::False)
    {
        // A bare hint is not echoed, and without the parameter the client uses the full window.
        accepted.retain(|(name, _)| name != CLIENT_MAX_WINDOW_BITS);
    }
    Ok(accepted)
}

/// Checks a server's response against a client's options, and completes it.
pub fn accept_as_client(
    options: &LocalOptions,
    response: Vec<Offer>,
) -> Result<Accepted, NegotiationError> {
    let mut accepted = normalize_all(response, Role::Client)?
        .into_iter()
        .next()
        .ok_or_else(|| no_response(options))?;

    if options.client_no_context_takeover == Some(false)
        && get(&accepted, CLIENT_NO_CONTEXT_TAKEOVER).is_some()
    {
        return Err(NegotiationError::error(format!(
            "Unexpected parameter \"{CLIENT_NO_CONTEXT_TAKEOVER}\""
        )));
    }

    match (
        number(&accepted, CLIENT_MAX_WINDOW_BITS),
        &options.client_max_window_bits,
    ) {
        (None, WindowBitsOption::Bits(wanted)) => set(
            &mut accepted,
            CLIENT_MAX_WINDOW_BITS,
            ParamValue::Number(*wanted),
        ),
        (Some(_), WindowBitsOption::False) => return Err(unexpected_client_bits()),
        (Some(bits), WindowBitsOption::Bits(wanted)) if bits > *wanted => {
            return Err(unexpected_client_bits())
        }
        _ => {}
    }
    Ok(accepted)
}

fn unexpected_client_bits() -> NegotiationError {
    NegotiationError::error(format!(
        "Unexpected or invalid parameter \"{CLIENT_MAX_WINDOW_BITS}\""
    ))
}

/// A list without any response cannot come from a header, only from a caller's mistake, which JavaScript reports when
/// the first parameter is looked at.
fn no_response(options: &LocalOptions) -> NegotiationError {
    let first_read = match options.client_no_context_takeover {
        Some(false) => CLIENT_NO_CONTEXT_TAKEOVER,
        _ => CLIENT_MAX_WINDOW_BITS,
    };
    NegotiationError::type_error(format!(
        "Cannot read properties of undefined (reading '{first_read}')"
    ))
}

fn is_acceptable(options: &LocalOptions, params: &Accepted) -> bool {
    if options.server_no_context_takeover == Some(false)
        && get(params, SERVER_NO_CONTEXT_TAKEOVER).is_some()
    {
        return false;
    }
    if let Some(offered) = number(params, SERVER_MAX_WINDOW_BITS) {
        match options.server_max_window_bits {
            WindowBitsOption::False => return false,
            WindowBitsOption::Bits(wanted) if wanted > offered => return false,
            _ => {}
        }
    }
    if let WindowBitsOption::Bits(wanted) = options.client_max_window_bits {
        return match get(params, CLIENT_MAX_WINDOW_BITS) {
            Some(ParamValue::Number(offered)) => {
                wanted.partial_cmp(offered) != Some(std::cmp::Ordering::Greater)
            }
            Some(_) => true,
            None => false,
        };
    }
    true
}

/// Checks the form of offers (as a server) or of a response (as a client): each parameter is known and has one legal
/// value.
pub fn normalize_params(
    is_server: bool,
    configurations: Vec<Offer>,
) -> Result<Vec<Accepted>, NegotiationError> {
    let role = if is_server {
        Role::Server
    } else {
        Role::Client
    };
    normalize_all(configurations, role)
}

#[derive(Clone, Copy, PartialEq)]
enum Role {
    Server,
    Client,
}

/// Every parameter of every offer must be well-formed before any offer is considered.
fn normalize_all(offers: Vec<Offer>, role: Role) -> Result<Vec<Accepted>, NegotiationError> {
    offers
        .into_iter()
        .map(|offer| {
            offer
                .into_iter()
                .map(|(name, values)| {
                    let value = normalize(&name, &values, role)?;
                    Ok((name, value))
                })
                .collect()
        })
        .collect()
}

fn normalize(name: &str, values: &[Value], role: Role) -> Result<ParamValue, NegotiationError> {
    let value = match values {
        [] => None,
        [value] => Some(value),
        _ => {
            return Err(NegotiationError::error(format!(
                "Parameter \"{name}\" must have only a single value"
            )))
        }
    };
    let normalized = match name {
        CLIENT_MAX_WINDOW_BITS => match value {
            Some(Value::Flag) if role == Role::Server => Some(ParamValue::True),
            _ => window_bits(value),
        },
        SERVER_MAX_WINDOW_BITS => window_bits(value),
        CLIENT_NO_CONTEXT_TAKEOVER | SERVER_NO_CONTEXT_TAKEOVER => {
            (value == Some(&Value::Flag)).then_some(ParamValue::True)
        }
        _ => {
            return Err(NegotiationError::error(format!(
                "Unknown parameter \"{name}\""
            )))
        }
    };
    normalized.ok_or_else(|| {
        let printed = match value {
            Some(Value::Text(text)) => text.as_str(),
            Some(Value::Flag) => "true",
            None => "undefined",
        };
        NegotiationError::type_error(format!("Invalid value for parameter \"{name}\": {printed}"))
    })
}

fn window_bits(value: Option<&Value>) -> Option<ParamValue> {
    match value {
        Some(Value::Text(text)) => {
            let bits = to_number(text);
            ((8.0..=15.0).contains(&bits) && bits.fract() == 0.0)
                .then_some(ParamValue::Number(bits))
        }
        _ => None,
    }
}

fn get<'a>(params: &'a Accepted, name: &str) -> Option<&'a ParamValue> {
    params
        .iter()
        .find_map(|(theirs, value)| (theirs == name).then_some(value))
}

fn number(params: &Accepted, name: &str) -> Option<f64> {
    match get(params, name) {
        Some(ParamValue::Number(number)) => Some(*number),
        _ => None,
    }
}

/// Replaces a parameter where it stands, or appends it, as assignment to an object's property does.
fn set(params: &mut Accepted, name: &str, value: ParamValue) {
    match params.iter_mut().find(|(theirs, _)| theirs == name) {
        Some((_, current)) => *current = value,
        None => params.push((name.to_owned(), value)),
    }
}
