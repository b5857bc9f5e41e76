//! The result of a run as one line of JSON.

use std::fmt::Write as _;

#[derive(Default)]
pub struct Report {
    fields: String,
}

impl Report {
    fn key(&mut self, name: &str) {
        if !self.fields.is_empty() {
            self.fields.push(',');
        }
        let _ = write!(self.fields, "\"{name}\":");
    }

    /// A figure, or `null` where there is none.
    pub fn number(&mut self, name: &str, value: impl Into<Option<f64>>) {
        self.key(name);
        let _ = match value.into() {
            Some(value) if value.is_finite() => write!(self.fields, "{value:.4}"),
            _ => write!(self.fields, "null"),
        };
    }

    pub fn text(&mut self, name: &str, value: &str) {
        self.key(name);
        let printable = value.chars().filter(|character| !character.is_control());
        let escaped = printable
            .collect::<String>()
            .replace('\\', "\\\\")
            .replace('"', "\\\"");
        let _ = write!(self.fields, "\"{escaped}\"");
    }

    pub fn print(&self) {
        println!("{{{}}}", self.fields);
    }
}
