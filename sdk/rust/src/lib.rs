// SPDX-License-Identifier: Apache-2.0
//! What a guest of weir written in Rust is made with; the `README.md` beside this crate begins with
//! a first handler.
//!
//! ```
//! use weir::{Event, Result, reject};
//!
//! #[derive(serde::Deserialize)]
//! struct Order {
//!     amount: u32,
//! }
//!
//! #[weir::handler]
//! fn on_order(event: Event) -> Result<Option<Event>> {
//!     let order: Order = event.json()?; // what is no order is rejected
//!     if order.amount == 0 {
//!         return Err(reject("an order of nothing"));
//!     }
//!     Ok(Some(event.follow("com.example.order.accepted").with_text("yes")))
//! }
//! # fn main() {}
//! ```
//!
//! Only what a guest calls becomes an import of its module. The imports are there in a guest only:
//! in a program for another target, such as a unit test, calling one of them panics. The rest of the
//! crate works anywhere.

mod error;
mod event;

pub mod config;
pub mod http;
pub mod log;
pub mod messaging;
pub mod sql;
pub mod store;

#[allow(missing_docs)]
mod bindings {
    weir_macros::bindings!();
}

pub use bindings::weir::reactive::{events, resources, types};
pub use error::{BodyError, Error, OrReject, Result, reject, retry};
pub use store::Store;
pub use types::{Event, Payload};

/// Exports a function as a handler: `#[weir::handler]` before
/// `fn NAME(event: Event) -> weir::Result<T>`, where `T` is `()`, [`Event`] or `Option<Event>`: an
/// event that follows from the one that was handled.
///
/// It is the guest's default handler, the one that `listen` and a subscription without `handler:`
/// mean (`handle-event-or-reject`). `#[weir::handler("on-order-or-reject")]` exports it under a name
/// of the guest's own, as often as there are functions. A core module has no types but numbers, so
/// that its name has to say whether a handler may reject:
///
/// - a name that ends in `-or-reject`: any error, as in the default handler;
/// - another name, `#[weir::handler("on-order")]`: an error that is never a rejection, such as
///   `anyhow::Error`, a `String`, or any [`std::error::Error`]; not [`weir::Error`](Error), which
///   could be one.
///
/// ```compile_fail
/// #[weir::handler("on-order")]
/// fn on_order(event: weir::Event) -> weir::Result<()> {
///     Err(weir::reject("no")) // "on-order" cannot say that
/// }
/// ```
pub use weir_macros::handler;

/// A handler as a type, for guests that are written like the seed's: an implementation of
/// [`EventHandler`](event_handler::EventHandler), and [`export!`](crate::export).
pub mod event_handler {
    pub use crate::{Error, Event};

    pub trait EventHandler {
        /// `Ok(None)`: handled. `Ok(Some(event))`: handled, and here is an event that follows from
        /// it. `Err`: not handled, see [`Error`].
        fn handle_event(event: Event) -> crate::Result<Option<Event>>;
    }
}

/// Exports a type that implements [`event_handler::EventHandler`] as the guest's default handler.
#[macro_export]
macro_rules! export {
    ($handler:ident) => {
        #[$crate::handler]
        fn __weir_handle_event(event: $crate::Event) -> $crate::Result<Option<$crate::Event>> {
            <$handler as $crate::event_handler::EventHandler>::handle_event(event)
        }
    };
}

#[doc(hidden)]
pub use wit_bindgen as __wit_bindgen;

#[doc(hidden)]
pub mod __answer {
    use crate::error::{IntoFollowing, MayReject, NeverRejects};
    use crate::types::Failure;
    use crate::{Error, Event};

    pub fn or_reject<T: IntoFollowing, E: MayReject>(
        answer: Result<T, E>,
    ) -> Result<Option<Event>, Failure> {
        match answer {
            Ok(following) => Ok(following.into_following()),
            Err(error) => Err(Error::into_failure(error.into_error())),
        }
    }

    pub fn or_retry<T: IntoFollowing, E: NeverRejects>(
        answer: Result<T, E>,
    ) -> Result<Option<Event>, String> {
        answer
            .map(IntoFollowing::into_following)
            .map_err(NeverRejects::into_reason)
    }
}
