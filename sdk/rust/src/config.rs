// SPDX-License-Identifier: Apache-2.0
//! What the configuration says under the guest's `config`, by `wasi:config`.
use crate::bindings::wasi::config::store;
use std::fmt;

/// The configuration could not be asked.
#[derive(Debug)]
pub struct ConfigError(store::Error);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (store::Error::Upstream(reason) | store::Error::Io(reason)) = &self.0;
        write!(f, "the guest's configuration: {reason}")
    }
}

impl std::error::Error for ConfigError {}

/// The value of that name; none where there is none.
pub fn get(name: &str) -> Result<Option<String>, ConfigError> {
    store::get(name).map_err(ConfigError)
}

/// All names and values.
pub fn all() -> Result<Vec<(String, String)>, ConfigError> {
    store::get_all().map_err(ConfigError)
}
