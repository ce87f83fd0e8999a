// SPDX-License-Identifier: Apache-2.0
//! HTTP requests, by weir's own small client. A guest may ask the hosts that its configuration
//! grants. Redirects are not followed.
use crate::bindings::weir::http::client;
use crate::error::BodyError;
use std::fmt;
use std::time::Duration;

/// A request that is being put together; [`Request::send`] sends it.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let response = weir::http::post("https://example.com/orders")
///     .header("authorization", "Bearer abc")
///     .text("one of each")
///     .send()?;
/// if response.status() != 201 {
///     return Err(format!("no order was made: {}", response.status()).into());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a request is sent by send()"]
pub struct Request(client::Request);

/// The request that has been sent was answered.
#[derive(Clone, Debug)]
pub struct Response(client::Response);

/// There was no response. A response with a status such as 500 is none of these.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum HttpError {
    /// The guest has no grant for that host; the text names it.
    Denied(String),
    /// The request is malformed.
    Invalid(String),
    /// Nobody could be reached, or it ended before the response was there.
    Unavailable(String),
    Timeout(String),
    /// A bound was reached, such as the size of the response.
    Limit(String),
    Other(String),
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, reason) = match self {
            HttpError::Denied(reason) => ("denied", reason),
            HttpError::Invalid(reason) => ("invalid", reason),
            HttpError::Unavailable(reason) => ("unavailable", reason),
            HttpError::Timeout(reason) => ("timeout", reason),
            HttpError::Limit(reason) => ("limit", reason),
            HttpError::Other(reason) => ("failed", reason),
        };
        write!(f, "http: {kind}: {reason}")
    }
}

impl std::error::Error for HttpError {}

impl From<client::Error> for HttpError {
    fn from(error: client::Error) -> Self {
        match error {
            client::Error::Denied(reason) => HttpError::Denied(reason),
            client::Error::Invalid(reason) => HttpError::Invalid(reason),
            client::Error::Unavailable(reason) => HttpError::Unavailable(reason),
            client::Error::Timeout(reason) => HttpError::Timeout(reason),
            client::Error::Limit(reason) => HttpError::Limit(reason),
            client::Error::Other(reason) => HttpError::Other(reason),
        }
    }
}

/// A GET of a URL.
pub fn get(url: impl Into<String>) -> Request {
    Request::new("GET", url)
}

/// A POST to a URL.
pub fn post(url: impl Into<String>) -> Request {
    Request::new("POST", url)
}

/// A PUT to a URL.
pub fn put(url: impl Into<String>) -> Request {
    Request::new("PUT", url)
}

/// A DELETE of a URL.
pub fn delete(url: impl Into<String>) -> Request {
    Request::new("DELETE", url)
}

impl Request {
    /// A request without headers and body. The method is one such as "PATCH", the URL one of http or
    /// https.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Request {
        Request(client::Request {
            method: method.into(),
            url: url.into(),
            headers: Vec::new(),
            body: None,
            timeout_ms: None,
        })
    }

    /// With a header more.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Request {
        self.0.headers.push((name.into(), value.into()));
        self
    }

    /// With a body of text.
    pub fn text(mut self, text: impl Into<String>) -> Request {
        self.0.body = Some(client::Body::Text(text.into()));
        self
    }

    /// With a body of any bytes.
    pub fn bytes(mut self, bytes: impl Into<Vec<u8>>) -> Request {
        self.0.body = Some(client::Body::Binary(bytes.into()));
        self
    }

    /// With a body of JSON, and its content-type.
    ///
    /// # Errors
    /// The value cannot be written as JSON.
    #[cfg(feature = "json")]
    pub fn json(self, value: &impl serde::Serialize) -> serde_json::Result<Request> {
        let text = serde_json::to_string(value)?;
        Ok(self.text(text).header("content-type", "application/json"))
    }

    /// How long the whole of it may take, in whole milliseconds; unless said, what is left of the
    /// call's own time, and never more than that.
    pub fn timeout(mut self, timeout: Duration) -> Request {
        self.0.timeout_ms = Some(timeout.as_millis().try_into().unwrap_or(u32::MAX));
        self
    }

    /// Sends it, and returns the response whatever its status is.
    pub fn send(self) -> Result<Response, HttpError> {
        Ok(Response(client::send(&self.0)?))
    }
}

impl Response {
    /// The status, such as 200.
    pub fn status(&self) -> u16 {
        self.0.status
    }

    /// Whether the status is one of 200 to 299.
    pub fn is_ok(&self) -> bool {
        (200..300).contains(&self.0.status)
    }

    /// The first header of that name, in whatever case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers()
            .find(|(each, _)| each.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// All headers in the order in which they came, names in lower case.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The body's bytes; empty where there is none.
    pub fn bytes(&self) -> &[u8] {
        match &self.0.body {
            client::Body::Text(text) => text.as_bytes(),
            client::Body::Binary(bytes) => bytes,
        }
    }

    /// The body as text.
    ///
    /// # Errors
    /// [`BadResponse`]: it is no UTF-8.
    pub fn text(&self) -> Result<&str, BadResponse> {
        match &self.0.body {
            client::Body::Text(text) => Ok(text),
            client::Body::Binary(bytes) => {
                std::str::from_utf8(bytes).map_err(|error| BadResponse(BodyError::NotUtf8(error)))
            }
        }
    }

    /// The body, read as JSON.
    ///
    /// # Errors
    /// [`BadResponse`]: it is not the JSON that the type wants.
    #[cfg(feature = "json")]
    pub fn json<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<T, BadResponse> {
        serde_json::from_slice(self.bytes()).map_err(|error| BadResponse(BodyError::NotJson(error)))
    }
}

/// A response whose body is not what the guest wants. Unlike an event's body it may be another one
/// the next time, so that a handler returns it as a retry.
#[derive(Debug)]
pub struct BadResponse(BodyError);

impl fmt::Display for BadResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            BodyError::NotUtf8(error) => write!(f, "the response is no UTF-8: {error}"),
            #[cfg(feature = "json")]
            BodyError::NotJson(error) => {
                write!(f, "the response is not the JSON that is wanted: {error}")
            }
        }
    }
}

impl std::error::Error for BadResponse {}
