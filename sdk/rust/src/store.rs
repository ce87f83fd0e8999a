// SPDX-License-Identifier: Apache-2.0
//! Key-value buckets, by `wasi:keyvalue`.
use crate::bindings::wasi::keyvalue::{atomics, batch, store};
use std::fmt;

/// How often [`Store::update`] begins anew where others change the key meanwhile.
pub const UPDATE_TRIES_MAX: u32 = 100;

/// A bucket: a resource of weir's configuration that the guest has a grant for.
///
/// Every call fails with a [`StoreError`], which a handler returns as a retry.
pub struct Store {
    name: String,
    bucket: store::Bucket,
}

/// What a bucket could not do.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    /// What was tried, and with which bucket and key.
    what: String,
    reason: String,
}

/// Kinds of [`StoreError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The configuration has no such resource.
    NoSuchStore,
    /// The guest has no grant for the resource.
    AccessDenied,
    /// A value is no UTF-8, or not the JSON that is wanted.
    BadValue,
    /// [`Store::update`] was overtaken [`UPDATE_TRIES_MAX`] times.
    Contended,
    /// Everything else; the error's text says what.
    Other,
}

impl StoreError {
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.reason)
    }
}

impl std::error::Error for StoreError {}

/// The error of a call, with what was tried.
fn failed(what: String) -> impl FnOnce(store::Error) -> StoreError {
    move |error| {
        let (kind, reason) = match error {
            store::Error::NoSuchStore => (
                StoreErrorKind::NoSuchStore,
                "the configuration has no such resource".to_string(),
            ),
            store::Error::AccessDenied => (
                StoreErrorKind::AccessDenied,
                "the guest has no grant for it".to_string(),
            ),
            store::Error::Other(reason) => (StoreErrorKind::Other, reason),
        };
        StoreError { kind, what, reason }
    }
}

impl Store {
    /// Opens a bucket: the name of a resource of the configuration.
    pub fn open(name: &str) -> Result<Store, StoreError> {
        let bucket = store::open(name).map_err(failed(format!("open {name}")))?;
        Ok(Store {
            name: name.to_string(),
            bucket,
        })
    }

    fn what(&self, verb: &str, key: &str) -> String {
        format!("{verb} {}/{key}", self.name)
    }

    fn bad_value(&self, key: &str, reason: impl fmt::Display) -> StoreError {
        StoreError {
            kind: StoreErrorKind::BadValue,
            what: self.what("get", key),
            reason: reason.to_string(),
        }
    }

    /// The key's value; none where there is no such key.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.bucket.get(key).map_err(failed(self.what("get", key)))
    }

    /// The same as text; `BadValue` where it is no UTF-8.
    pub fn get_text(&self, key: &str) -> Result<Option<String>, StoreError> {
        self.get(key)?
            .map(|value| String::from_utf8(value).map_err(|error| self.bad_value(key, error)))
            .transpose()
    }

    /// The same, read as JSON; `BadValue` where it is not what the type wants.
    #[cfg(feature = "json")]
    pub fn get_json<T: serde::de::DeserializeOwned>(
        &self,
        key: &str,
    ) -> Result<Option<T>, StoreError> {
        self.get(key)?
            .map(|value| serde_json::from_slice(&value).map_err(|error| self.bad_value(key, error)))
            .transpose()
    }

    /// Sets the key to the value: to all of it or, where it fails, to nothing of it. Once it has
    /// returned, the value is there after a power failure.
    pub fn set(&self, key: &str, value: impl AsRef<[u8]>) -> Result<(), StoreError> {
        self.bucket
            .set(key, value.as_ref())
            .map_err(failed(self.what("set", key)))
    }

    /// The same with a value that is written as JSON; `BadValue` where it cannot be.
    #[cfg(feature = "json")]
    pub fn set_json(&self, key: &str, value: &impl serde::Serialize) -> Result<(), StoreError> {
        let text = serde_json::to_vec(value).map_err(|error| StoreError {
            kind: StoreErrorKind::BadValue,
            what: self.what("set", key),
            reason: error.to_string(),
        })?;
        self.set(key, text)
    }

    /// Deletes the key; also ok where there is none.
    pub fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.bucket
            .delete(key)
            .map_err(failed(self.what("delete", key)))
    }

    pub fn exists(&self, key: &str) -> Result<bool, StoreError> {
        self.bucket
            .exists(key)
            .map_err(failed(self.what("look for", key)))
    }

    /// The keys that the guest may list, in the order of their bytes. They are asked for page by
    /// page while the iterator is used, so that keys which come and go meanwhile may be in it or
    /// not. An error ends it.
    pub fn keys(&self) -> Keys<'_> {
        Keys {
            store: self,
            page: Vec::new().into_iter(),
            next: Next::Page(None),
        }
    }

    /// Adds `delta` to a number that is kept as decimal digits, and returns the sum. A key that
    /// there is not counts as 0. It is one step: no addition is lost.
    pub fn increment(&self, key: &str, delta: i64) -> Result<i64, StoreError> {
        atomics::increment(&self.bucket, key, delta).map_err(failed(self.what("increment", key)))
    }

    /// Sets the key to what `change` makes of its value, if nobody changes it meanwhile; else
    /// `change` is called again, with the newer value. Returns what was set.
    ///
    /// `change` may fail with an error of its own, which ends it and leaves the value.
    pub fn update<E: From<StoreError>>(
        &self,
        key: &str,
        mut change: impl FnMut(Option<Vec<u8>>) -> Result<Vec<u8>, E>,
    ) -> Result<Vec<u8>, E> {
        let what = || self.what("update", key);
        let mut cas = atomics::Cas::new(&self.bucket, key).map_err(failed(what()))?;
        for _ in 0..UPDATE_TRIES_MAX {
            let value = change(cas.current().map_err(failed(what()))?)?;
            cas = match atomics::swap(cas, &value) {
                Ok(()) => return Ok(value),
                Err(atomics::CasError::CasFailed(newer)) => newer,
                Err(atomics::CasError::StoreError(error)) => {
                    return Err(failed(what())(error).into());
                }
            };
        }
        Err(StoreError {
            kind: StoreErrorKind::Contended,
            what: what(),
            reason: format!("it was changed by others {UPDATE_TRIES_MAX} times meanwhile"),
        }
        .into())
    }

    /// The values of several keys in their order; none for a key that there is not.
    pub fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let keys: Vec<String> = keys.iter().map(|key| key.to_string()).collect();
        let found = batch::get_many(&self.bucket, &keys).map_err(failed(format!(
            "get {} keys of {}",
            keys.len(),
            self.name
        )))?;
        Ok(found
            .into_iter()
            .map(|each| each.map(|(_, value)| value))
            .collect())
    }

    /// Sets several keys in their order. The first that fails ends it, and those before it stay.
    pub fn set_many(&self, values: &[(&str, &[u8])]) -> Result<(), StoreError> {
        let values: Vec<(String, Vec<u8>)> = values
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_vec()))
            .collect();
        batch::set_many(&self.bucket, &values).map_err(failed(format!(
            "set {} keys of {}",
            values.len(),
            self.name
        )))
    }

    /// Deletes several keys in their order, as [`Store::set_many`].
    pub fn delete_many(&self, keys: &[&str]) -> Result<(), StoreError> {
        let keys: Vec<String> = keys.iter().map(|key| key.to_string()).collect();
        batch::delete_many(&self.bucket, &keys).map_err(failed(format!(
            "delete {} keys of {}",
            keys.len(),
            self.name
        )))
    }
}

/// See [`Store::keys`].
pub struct Keys<'a> {
    store: &'a Store,
    page: std::vec::IntoIter<String>,
    next: Next,
}

/// How it goes on behind a page.
enum Next {
    Page(Option<String>),
    End,
}

impl Iterator for Keys<'_> {
    type Item = Result<String, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(key) = self.page.next() {
                return Some(Ok(key));
            }
            let Next::Page(cursor) = std::mem::replace(&mut self.next, Next::End) else {
                return None;
            };
            match self.store.bucket.list_keys(cursor.as_deref()) {
                Ok(page) => {
                    self.page = page.keys.into_iter();
                    self.next = page
                        .cursor
                        .map_or(Next::End, |cursor| Next::Page(Some(cursor)));
                }
                Err(error) => return Some(Err(failed(format!("list {}", self.store.name))(error))),
            }
        }
    }
}
