// SPDX-License-Identifier: Apache-2.0
//! Databases, asked in SQL, by weir's own interface. A guest may read a database (`query`) or change
//! it (`execute`) where its configuration grants that.
use crate::bindings::weir::sql::sql;
use std::fmt;

/// What a column of a row holds, and what a parameter hands over. `from` makes one of most types that
/// are like it: `Value::from(7)`, `"text".into()`; of `None` it makes [`Value::Null`].
pub use sql::Value;

/// A resource of weir's configuration that takes SQL, by its name.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let shop = weir::sql::Database::new("shop");
/// let open = shop.query(
///     "select id, item from orders where state = ?1 limit ?2",
///     &["open".into(), 10.into()],
/// )?;
/// for order in &open {
///     println!("{}: {}", order.get::<i64>("id")?, order.get::<&str>("item")?);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Database {
    name: String,
}

/// What a database could not do.
#[derive(Clone, Debug)]
pub struct SqlError {
    kind: SqlErrorKind,
    /// What was tried.
    what: String,
    reason: String,
}

/// Kinds of [`SqlError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SqlErrorKind {
    /// The configuration has no such resource.
    NotFound,
    /// The guest has no grant, which the text names; or the database refuses it.
    Denied,
    /// The database does not understand the statement, or does not take it: there is no such column,
    /// the parameters do not fit, a constraint does not hold.
    Invalid,
    /// The resource is nothing that takes SQL.
    Unsupported,
    /// The database cannot be reached, or did not answer in time. What was to be changed is changed or
    /// not.
    Unavailable,
    /// A bound was reached, such as the number of rows or their bytes.
    Limit,
    /// There is no such column, or its value is not what is wanted of it.
    BadValue,
    /// What else the database says.
    Other,
}

impl SqlError {
    pub fn kind(&self) -> SqlErrorKind {
        self.kind
    }

    fn bad_value(column: &str, reason: impl fmt::Display) -> SqlError {
        SqlError {
            kind: SqlErrorKind::BadValue,
            what: format!("column {column}"),
            reason: reason.to_string(),
        }
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.reason)
    }
}

impl std::error::Error for SqlError {}

/// The error of a call, with what was tried.
fn failed(verb: &str, database: &str) -> impl FnOnce(sql::Error) -> SqlError {
    move |error| {
        let (kind, reason) = match error {
            sql::Error::NotFound(reason) => (SqlErrorKind::NotFound, reason),
            sql::Error::Denied(reason) => (SqlErrorKind::Denied, reason),
            sql::Error::Invalid(reason) => (SqlErrorKind::Invalid, reason),
            sql::Error::Unsupported(reason) => (SqlErrorKind::Unsupported, reason),
            sql::Error::Unavailable(reason) => (SqlErrorKind::Unavailable, reason),
            sql::Error::Limit(reason) => (SqlErrorKind::Limit, reason),
            sql::Error::Other(reason) => (SqlErrorKind::Other, reason),
        };
        SqlError {
            kind,
            what: format!("{verb} {database}"),
            reason,
        }
    }
}

impl Database {
    /// Nobody is asked yet whether there is one of that name.
    pub fn new(name: impl Into<String>) -> Database {
        Database { name: name.into() }
    }

    /// Runs a statement that reads, and returns its rows. The parameters are handed to the database
    /// beside the text, and stand in it as the database has it: `?1` of SQLite, `$1` of PostgreSQL.
    pub fn query(&self, statement: &str, parameters: &[Value]) -> Result<Rows, SqlError> {
        sql::query(&self.name, statement, parameters)
            .map(|rows| Rows::new(rows.columns, rows.values))
            .map_err(failed("query", &self.name))
    }

    /// Runs a statement that changes, which is a transaction of its own, and returns how many rows it
    /// has inserted, updated or deleted. What it did stays, also where the handler fails then.
    pub fn execute(&self, statement: &str, parameters: &[Value]) -> Result<u64, SqlError> {
        sql::execute(&self.name, statement, parameters).map_err(failed("execute", &self.name))
    }
}

/// The rows that a query has answered.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    columns: Vec<String>,
    values: Vec<Value>,
}

/// One of [`Rows`].
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    columns: &'a [String],
    values: &'a [Value],
}

impl Rows {
    /// Rows of these columns, from the values of all of them, row after row.
    ///
    /// # Panics
    /// The last row is not whole, or there are values of no column.
    pub fn new(columns: Vec<String>, values: Vec<Value>) -> Rows {
        let are_whole = match columns.len() {
            0 => values.is_empty(),
            width => values.len() % width == 0,
        };
        assert!(
            are_whole,
            "{} values of {} columns",
            values.len(),
            columns.len()
        );
        Rows { columns, values }
    }

    /// The names of the columns.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.values.len() / self.columns.len().max(1)
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The first row, if there is one.
    pub fn first(&self) -> Option<Row<'_>> {
        self.iter().next()
    }

    pub fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        self.into_iter()
    }
}

impl<'a> IntoIterator for &'a Rows {
    type Item = Row<'a>;
    type IntoIter = RowIter<'a>;

    fn into_iter(self) -> RowIter<'a> {
        RowIter {
            columns: &self.columns,
            values: self.values.chunks(self.columns.len().max(1)),
        }
    }
}

/// Goes through [`Rows`].
#[derive(Clone, Debug)]
pub struct RowIter<'a> {
    columns: &'a [String],
    values: std::slice::Chunks<'a, Value>,
}

impl<'a> Iterator for RowIter<'a> {
    type Item = Row<'a>;

    fn next(&mut self) -> Option<Row<'a>> {
        let values = self.values.next()?;
        Some(Row {
            columns: self.columns,
            values,
        })
    }
}

impl<'a> Row<'a> {
    /// The values, in the columns' order.
    pub fn values(&self) -> &'a [Value] {
        self.values
    }

    /// The value of the first column of that name.
    pub fn value(&self, column: &str) -> Option<&'a Value> {
        let at = self.columns.iter().position(|name| name == column)?;
        self.values.get(at)
    }

    /// The same as another type: an `Option` of one where it may be NULL.
    ///
    /// # Errors
    /// `BadValue`: there is no such column, or its value is another one.
    pub fn get<T: FromValue<'a>>(&self, column: &str) -> Result<T, SqlError> {
        let value = self
            .value(column)
            .ok_or_else(|| SqlError::bad_value(column, "there is none of that name"))?;
        T::from_value(value)
            .ok_or_else(|| SqlError::bad_value(column, format!("it is {}", kind_of(value))))
    }

    /// A text or JSON, read as JSON.
    ///
    /// # Errors
    /// `BadValue`: there is no such column, or it is not the JSON that the type wants.
    #[cfg(feature = "json")]
    pub fn json<T: serde::Deserialize<'a>>(&self, column: &str) -> Result<T, SqlError> {
        serde_json::from_str(self.get(column)?).map_err(|error| SqlError::bad_value(column, error))
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "NULL",
        Value::Boolean(_) => "a boolean",
        Value::Integer(_) => "an integer",
        Value::Real(_) => "a real",
        Value::Text(_) => "a text",
        Value::Binary(_) => "binary",
        Value::Decimal(_) => "a decimal",
        Value::Json(_) => "JSON",
    }
}

/// What a [`Value`] can be read as, see [`Row::get`].
pub trait FromValue<'a>: Sized {
    /// None where it is something else.
    fn from_value(value: &'a Value) -> Option<Self>;
}

impl<'a> FromValue<'a> for &'a Value {
    fn from_value(value: &'a Value) -> Option<Self> {
        Some(value)
    }
}

impl<'a, T: FromValue<'a>> FromValue<'a> for Option<T> {
    fn from_value(value: &'a Value) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            value => T::from_value(value).map(Some),
        }
    }
}

/// Also the integers 0 and 1, which SQLite has for booleans.
impl FromValue<'_> for bool {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Boolean(value) => Some(*value),
            Value::Integer(value @ 0..=1) => Some(*value == 1),
            _ => None,
        }
    }
}

impl FromValue<'_> for i64 {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Integer(value) => Some(*value),
            _ => None,
        }
    }
}

/// Also an integer that a double holds.
impl FromValue<'_> for f64 {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Real(value) => Some(*value),
            Value::Integer(value) if value.unsigned_abs() <= 1 << f64::MANTISSA_DIGITS => {
                Some(*value as f64)
            }
            _ => None,
        }
    }
}

/// A text, and the text of a decimal or of JSON.
impl<'a> FromValue<'a> for &'a str {
    fn from_value(value: &'a Value) -> Option<Self> {
        match value {
            Value::Text(text) | Value::Decimal(text) | Value::Json(text) => Some(text),
            _ => None,
        }
    }
}

impl FromValue<'_> for String {
    fn from_value(value: &Value) -> Option<Self> {
        <&str>::from_value(value).map(str::to_string)
    }
}

/// Bytes, and those of a text.
impl<'a> FromValue<'a> for &'a [u8] {
    fn from_value(value: &'a Value) -> Option<Self> {
        match value {
            Value::Binary(bytes) => Some(bytes),
            Value::Text(text) => Some(text.as_bytes()),
            _ => None,
        }
    }
}

impl FromValue<'_> for Vec<u8> {
    fn from_value(value: &Value) -> Option<Self> {
        <&[u8]>::from_value(value).map(<[u8]>::to_vec)
    }
}

macro_rules! value_from {
    ($($of:ty, $value:ident => $made:expr;)*) => {
        $(impl From<$of> for Value {
            fn from($value: $of) -> Value {
                $made
            }
        })*
    };
}
value_from! {
    bool, value => Value::Boolean(value);
    i32, value => Value::Integer(value.into());
    u32, value => Value::Integer(value.into());
    i64, value => Value::Integer(value);
    f64, value => Value::Real(value);
    &str, value => Value::Text(value.to_string());
    String, value => Value::Text(value);
    &[u8], value => Value::Binary(value.to_vec());
    Vec<u8>, value => Value::Binary(value);
}

#[cfg(feature = "json")]
impl From<serde_json::Value> for Value {
    fn from(value: serde_json::Value) -> Value {
        Value::Json(value.to_string())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Null, Into::into)
    }
}
