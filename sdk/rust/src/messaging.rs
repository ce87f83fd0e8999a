// SPDX-License-Identifier: Apache-2.0
//! Messages to resources that events can be published to, by `wasi:messaging`. For one event that
//! follows from the one that is handled, return it; this is for more than one, or for elsewhere.
use crate::bindings::wasi::messaging::{producer, types};
use std::fmt;

/// Where messages are sent: a resource of weir's configuration that the guest has a grant for.
pub struct Producer {
    name: String,
    client: types::Client,
}

/// A message that is being put together.
#[derive(Clone, Debug, Default)]
pub struct Message {
    data: Vec<u8>,
    content_type: Option<String>,
    metadata: Vec<(String, String)>,
}

/// A message was not sent.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum MessagingError {
    Timeout(String),
    Connection(String),
    /// The text names the grant that is missing.
    PermissionDenied(String),
    Other(String),
}

impl fmt::Display for MessagingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (MessagingError::Timeout(reason)
        | MessagingError::Connection(reason)
        | MessagingError::PermissionDenied(reason)
        | MessagingError::Other(reason)) = self;
        f.write_str(reason)
    }
}

impl std::error::Error for MessagingError {}

/// The error of a call, with what was tried.
fn failed(what: &str) -> impl FnOnce(types::Error) -> MessagingError {
    move |error| match error {
        types::Error::Timeout => MessagingError::Timeout(format!("{what}: it took too long")),
        types::Error::Connection(reason) => MessagingError::Connection(format!("{what}: {reason}")),
        types::Error::PermissionDenied(reason) => {
            MessagingError::PermissionDenied(format!("{what}: {reason}"))
        }
        types::Error::Other(reason) => MessagingError::Other(format!("{what}: {reason}")),
    }
}

impl Message {
    /// A message with these bytes.
    pub fn new(data: impl Into<Vec<u8>>) -> Message {
        Message {
            data: data.into(),
            ..Message::default()
        }
    }

    /// A message of JSON, with its content type.
    ///
    /// # Errors
    /// The value cannot be written as JSON.
    #[cfg(feature = "json")]
    pub fn json(value: &impl serde::Serialize) -> serde_json::Result<Message> {
        Ok(Message::new(serde_json::to_vec(value)?).with_content_type("application/json"))
    }

    /// With a content type; the event's `datacontenttype`.
    pub fn with_content_type(mut self, content_type: impl Into<String>) -> Message {
        self.content_type = Some(content_type.into());
        self
    }

    /// With a type: the event's, such as "com.example.order.accepted".
    pub fn with_type(self, ty: impl Into<String>) -> Message {
        self.with_metadata("type", ty)
    }

    /// With metadata more: an extension attribute of the event, of lower-case letters and digits.
    pub fn with_metadata(mut self, name: impl Into<String>, value: impl Into<String>) -> Message {
        self.metadata.push((name.into(), value.into()));
        self
    }

    fn into_wit(self) -> types::Message {
        let message = types::Message::new(&self.data);
        if let Some(content_type) = self.content_type {
            message.set_content_type(&content_type);
        }
        for (name, value) in self.metadata {
            message.add_metadata(&name, &value);
        }
        message
    }
}

impl Producer {
    /// Connects to a resource of the configuration, by its name.
    pub fn connect(name: &str) -> Result<Producer, MessagingError> {
        let client = types::Client::connect(name).map_err(failed(&format!("connect to {name}")))?;
        Ok(Producer {
            name: name.to_string(),
            client,
        })
    }

    /// Sends a message to a topic, the event's subject. It is kept by the end of the handler at the
    /// latest, and published behind that, also where the handler fails; called again, the handler
    /// sends it with the same id.
    pub fn send(&self, topic: &str, message: Message) -> Result<(), MessagingError> {
        producer::send(&self.client, topic, message.into_wit())
            .map_err(failed(&format!("send {topic} to {}", self.name)))
    }
}
