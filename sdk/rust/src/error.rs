// SPDX-License-Identifier: Apache-2.0
//! How a handler says that it failed.
use crate::Event;
use crate::types::Failure;
use std::error::Error as StdError;
use std::fmt;

/// What a handler returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Cause = Box<dyn StdError + Send + Sync>;

/// Why an event was not handled: *retry*, it may be handled later, or *reject*, it never will be.
///
/// Whatever `?` meets becomes one: any [`std::error::Error`], a text, `anyhow::Error`. It is a retry,
/// since most of what fails passes: a service that is away, a limit. [`BodyError`] is a rejection: a
/// body that is malformed stays so. To reject for another reason there are [`reject`] and
/// [`OrReject`].
///
/// The reason that weir is told is the error's text with those of its causes behind, `a: b: c`.
///
/// Like `anyhow::Error` it is no [`std::error::Error`] itself, because it can be made of each.
pub struct Error {
    is_rejection: bool,
    cause: Cause,
}

/// The event cannot be handled and never will be: no further attempt, it goes to the dead letters
/// with this reason.
pub fn reject(reason: impl fmt::Display) -> Error {
    Error {
        is_rejection: true,
        cause: reason.to_string().into(),
    }
}

/// The event cannot be handled now: it is tried again later, and after the last attempt goes to the
/// dead letters with this reason. The same as any other error with that text.
pub fn retry(reason: impl fmt::Display) -> Error {
    Error {
        is_rejection: false,
        cause: reason.to_string().into(),
    }
}

impl Error {
    /// Whether it says that a further attempt would be in vain.
    pub fn is_rejection(&self) -> bool {
        self.is_rejection
    }

    pub(crate) fn into_failure(self) -> Failure {
        let reason = self.to_string();
        if self.is_rejection {
            Failure::Reject(reason)
        } else {
            Failure::Retry(reason)
        }
    }
}

impl<E: Into<Cause>> From<E> for Error {
    fn from(error: E) -> Self {
        let cause = error.into();
        let is_rejection = causes(cause.as_ref()).any(|cause| cause.is::<BodyError>());
        Error {
            is_rejection,
            cause,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&reason_of(self.cause.as_ref()))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_rejection { "reject" } else { "retry" };
        write!(f, "{kind}: {self}")
    }
}

/// An error and its causes, from the outermost on.
fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

fn reason_of(error: &(dyn StdError + 'static)) -> String {
    causes(error)
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// Makes a rejection of whatever error a result has.
///
/// ```
/// use weir::{Event, OrReject, Result};
///
/// fn on_amount(event: Event) -> Result<()> {
///     let amount: u32 = event.text()?.parse().or_reject()?; // no number will come of it
///     println!("{amount}");
///     Ok(())
/// }
/// ```
pub trait OrReject<T> {
    /// The result, with its error as a rejection.
    fn or_reject(self) -> Result<T>;
}

impl<T, E: Into<Error>> OrReject<T> for std::result::Result<T, E> {
    fn or_reject(self) -> Result<T> {
        self.map_err(|error| Error {
            is_rejection: true,
            ..error.into()
        })
    }
}

/// A body that is not what the handler wants: a rejection, unless the handler says otherwise.
#[derive(Debug)]
#[non_exhaustive]
pub enum BodyError {
    /// Bytes that are no text.
    NotUtf8(std::str::Utf8Error),
    /// No JSON, or none of the type that is wanted. An event without a body is none either.
    #[cfg(feature = "json")]
    NotJson(serde_json::Error),
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BodyError::NotUtf8(_) => "the body is no UTF-8",
            #[cfg(feature = "json")]
            BodyError::NotJson(_) => "the body is not the JSON that is wanted",
        })
    }
}

impl StdError for BodyError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(match self {
            BodyError::NotUtf8(error) => error,
            #[cfg(feature = "json")]
            BodyError::NotJson(error) => error,
        })
    }
}

/// What a handler may return besides an error.
#[diagnostic::on_unimplemented(
    message = "a handler returns (), an Event or an Option<Event> in its Result, not `{Self}`"
)]
pub trait IntoFollowing {
    fn into_following(self) -> Option<Event>;
}

impl IntoFollowing for () {
    fn into_following(self) -> Option<Event> {
        None
    }
}

impl IntoFollowing for Event {
    fn into_following(self) -> Option<Event> {
        Some(self)
    }
}

impl IntoFollowing for Option<Event> {
    fn into_following(self) -> Option<Event> {
        self
    }
}

/// The error of a handler that may reject.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no error that a handler can return: take weir::Error, or a std::error::Error"
)]
pub trait MayReject {
    fn into_error(self) -> Error;
}

impl<E: Into<Error>> MayReject for E {
    fn into_error(self) -> Error {
        self.into()
    }
}

/// The error of a handler whose name says that it never rejects.
#[diagnostic::on_unimplemented(
    message = "a handler with `{Self}` for its error may reject, and its name has to end in -or-reject",
    note = "take such a name, or an error that is never a rejection, such as anyhow::Error or a String"
)]
pub trait NeverRejects {
    fn into_reason(self) -> String;
}

impl<E: Into<Cause>> NeverRejects for E {
    fn into_reason(self) -> String {
        reason_of(self.into().as_ref())
    }
}
