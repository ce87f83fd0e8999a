// SPDX-License-Identifier: Apache-2.0
//! Lines in weir's log, by `wasi:logging`. weir adds the guest's name; they count as output of the
//! call. Which levels are written is weir's `--log-level`.
use crate::bindings::wasi::logging::logging;
use std::fmt::Display;

pub use logging::Level;

/// A line of any level. `context` says what of the guest speaks; empty: the guest itself.
pub fn log(level: Level, context: &str, message: impl Display) {
    logging::log(level, context, &message.to_string());
}

macro_rules! levels {
    ($($name:ident $level:ident),*) => {$(
        #[doc = concat!("A line of the level `", stringify!($name), "`.")]
        pub fn $name(message: impl Display) {
            log(Level::$level, "", message);
        }
    )*};
}

levels!(trace Trace, debug Debug, info Info, warn Warn, error Error, critical Critical);
