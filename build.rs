fn main() {
    // Only the addon needs Node's symbols left open for the loader; a plain `cargo test` does not.
    if std::env::var_os("CARGO_FEATURE_BINDING").is_some() {
        napi_build::setup();
    }
}
