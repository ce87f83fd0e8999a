// SPDX-License-Identifier: Apache-2.0
//! What an event has besides its attributes, which are its public fields.
use crate::error::BodyError;
use crate::{Event, Payload};

/// The extension that counts deliveries, from the second one on.
const ATTEMPT: &str = "attempt";

impl Event {
    /// The body's bytes, whether weir passed it as text or as binary. Empty where there is no body.
    pub fn bytes(&self) -> &[u8] {
        match &self.data {
            Some(Payload::Text(text)) => text.as_bytes(),
            Some(Payload::Binary(bytes)) => bytes,
            None => &[],
        }
    }

    /// The body as text. Empty where there is no body.
    ///
    /// # Errors
    /// [`BodyError::NotUtf8`].
    pub fn text(&self) -> Result<&str, BodyError> {
        match &self.data {
            Some(Payload::Text(text)) => Ok(text),
            _ => std::str::from_utf8(self.bytes()).map_err(BodyError::NotUtf8),
        }
    }

    /// The body, read as JSON into a type of the guest's own, or into `serde_json::Value`.
    ///
    /// # Errors
    /// [`BodyError::NotJson`]: it is no JSON, or does not have what the type wants.
    #[cfg(feature = "json")]
    pub fn json<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<T, BodyError> {
        serde_json::from_slice(self.bytes()).map_err(BodyError::NotJson)
    }

    /// An extension attribute's value.
    pub fn extension(&self, name: &str) -> Option<&str> {
        self.extensions
            .iter()
            .find(|(each, _)| each == name)
            .map(|(_, value)| value.as_str())
    }

    /// Which delivery of the event this is, counted from 1. The id is the same in each.
    pub fn attempt(&self) -> u32 {
        self.extension(ATTEMPT)
            .and_then(|text| text.parse().ok())
            .unwrap_or(1)
    }

    /// A new event of type `ty` that follows from this one: with its subject, its source, and an id
    /// made of its id and of the type, so that the same cause gives the same id at each attempt.
    /// There is no body yet.
    ///
    /// Of an event that a handler returns weir sets source and id itself, by the same rule, and adds
    /// what it follows from.
    pub fn follow(&self, ty: impl Into<String>) -> Event {
        let ty = ty.into();
        Event {
            specversion: "1.0".to_string(),
            id: format!("{}/{ty}", self.id),
            ty,
            source: self.source.clone(),
            data: None,
            datacontenttype: None,
            dataschema: None,
            subject: self.subject.clone(),
            time: None,
            extensions: Vec::new(),
        }
    }

    /// With a body of text; `datacontenttype` stays as it is.
    pub fn with_text(mut self, text: impl Into<String>) -> Event {
        self.data = Some(Payload::Text(text.into()));
        self
    }

    /// With a body of any bytes; `datacontenttype` stays as it is.
    pub fn with_bytes(mut self, bytes: impl Into<Vec<u8>>) -> Event {
        self.data = Some(Payload::Binary(bytes.into()));
        self
    }

    /// With a body of JSON, and the `datacontenttype` application/json.
    ///
    /// # Errors
    /// The value's own `Serialize` failed, or it has a map whose keys are no texts.
    #[cfg(feature = "json")]
    pub fn with_json(self, value: &impl serde::Serialize) -> serde_json::Result<Event> {
        let text = serde_json::to_string(value)?;
        Ok(self.with_text(text).with_content_type("application/json"))
    }

    /// With another `datacontenttype`, such as "text/csv".
    pub fn with_content_type(mut self, datacontenttype: impl Into<String>) -> Event {
        self.datacontenttype = Some(datacontenttype.into());
        self
    }

    /// With another subject: the key that it is written to where it is published to a key-value
    /// resource.
    pub fn with_subject(mut self, subject: impl Into<String>) -> Event {
        self.subject = Some(subject.into());
        self
    }

    /// With an extension attribute more, or another value of one that is there. Names are of
    /// lower-case letters and digits; weir takes up to 64 of them.
    pub fn with_extension(mut self, name: &str, value: impl Into<String>) -> Event {
        self.extensions.retain(|(each, _)| each != name);
        self.extensions.push((name.to_string(), value.into()));
        self
    }
}
