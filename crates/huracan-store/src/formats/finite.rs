//! Finds the first NaN or infinity in any value that can be serialised, and says where it is.
//!
//! `serde_json` writes both as `null`, which would turn a bug into an "undefined" that readers
//! believe. So every document passes here before a byte of it is written.

use std::fmt;

use serde::Serialize;
use serde::ser;

/// A number that no file may carry, and the field it is in.
#[derive(Debug, Clone, PartialEq)]
pub struct NonFinite(String);

impl fmt::Display for NonFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NonFinite {}

impl ser::Error for NonFinite {
    fn custom<T: fmt::Display>(message: T) -> Self {
        NonFinite(message.to_string())
    }
}

/// Refuses a value that holds a NaN or an infinity anywhere.
///
/// # Errors
/// The field's path and what was found.
pub fn check<T: Serialize + ?Sized>(value: &T) -> Result<(), NonFinite> {
    value.serialize(&mut Walk { at: Vec::new() })
}

/// Where the walk is: the fields and positions from the document's top.
struct Walk {
    at: Vec<String>,
}

/// One level of the walk, with the position of the next element.
struct Level<'a> {
    walk: &'a mut Walk,
    next: usize,
}

impl Walk {
    fn number(&self, value: f64) -> Result<(), NonFinite> {
        if value.is_finite() {
            return Ok(());
        }
        let at = if self.at.is_empty() { "the value".to_owned() } else { self.at.join(".") };
        Err(NonFinite(format!("{at} is {value}, expected a finite number (an undefined one is null)")))
    }

    fn below<T: Serialize + ?Sized>(&mut self, name: impl Into<String>, value: &T) -> Result<(), NonFinite> {
        self.at.push(name.into());
        value.serialize(&mut *self)?;
        self.at.pop();
        Ok(())
    }
}

impl Level<'_> {
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NonFinite> {
        let name = self.next.to_string();
        self.next += 1;
        self.walk.below(name, value)
    }
}

macro_rules! nothing_to_check {
    ($($method:ident: $kind:ty),*) => {
        $(fn $method(self, _: $kind) -> Result<(), NonFinite> { Ok(()) })*
    };
}

impl<'a> ser::Serializer for &'a mut Walk {
    type Ok = ();
    type Error = NonFinite;
    type SerializeSeq = Level<'a>;
    type SerializeTuple = Level<'a>;
    type SerializeTupleStruct = Level<'a>;
    type SerializeTupleVariant = Level<'a>;
    type SerializeMap = Level<'a>;
    type SerializeStruct = Level<'a>;
    type SerializeStructVariant = Level<'a>;

    nothing_to_check!(
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64,
        serialize_char: char, serialize_str: &str, serialize_bytes: &[u8]
    );

    fn serialize_f32(self, value: f32) -> Result<(), NonFinite> {
        self.number(f64::from(value))
    }
    fn serialize_f64(self, value: f64) -> Result<(), NonFinite> {
        self.number(value)
    }
    fn serialize_none(self) -> Result<(), NonFinite> {
        Ok(())
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), NonFinite> {
        value.serialize(self)
    }
    fn serialize_unit(self) -> Result<(), NonFinite> {
        Ok(())
    }
    fn serialize_unit_struct(self, _: &'static str) -> Result<(), NonFinite> {
        Ok(())
    }
    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<(), NonFinite> {
        Ok(())
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), NonFinite> {
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), NonFinite> {
        value.serialize(self)
    }
    fn serialize_seq(self, _: Option<usize>) -> Result<Level<'a>, NonFinite> {
        Ok(Level { walk: self, next: 0 })
    }
    fn serialize_tuple(self, _: usize) -> Result<Level<'a>, NonFinite> {
        Ok(Level { walk: self, next: 0 })
    }
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Level<'a>, NonFinite> {
        Ok(Level { walk: self, next: 0 })
    }
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Level<'a>, NonFinite> {
        Ok(Level { walk: self, next: 0 })
    }
    fn serialize_map(self, _: Option<usize>) -> Result<Level<'a>, NonFinite> {
        Ok(Level { walk: self, next: 0 })
    }
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Level<'a>, NonFinite> {
        Ok(Level { walk: self, next: 0 })
    }
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Level<'a>, NonFinite> {
        Ok(Level { walk: self, next: 0 })
    }
}

macro_rules! elements {
    ($($kind:ident: $method:ident),*) => {
        $(impl ser::$kind for Level<'_> {
            type Ok = ();
            type Error = NonFinite;
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NonFinite> {
                self.element(value)
            }
            fn end(self) -> Result<(), NonFinite> { Ok(()) }
        })*
    };
}
elements!(
    SerializeSeq: serialize_element,
    SerializeTuple: serialize_element,
    SerializeTupleStruct: serialize_field,
    SerializeTupleVariant: serialize_field
);

macro_rules! fields {
    ($($kind:ident),*) => {
        $(impl ser::$kind for Level<'_> {
            type Ok = ();
            type Error = NonFinite;
            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), NonFinite> {
                self.walk.below(name, value)
            }
            fn end(self) -> Result<(), NonFinite> { Ok(()) }
        })*
    };
}
fields!(SerializeStruct, SerializeStructVariant);

/// Keys are names, never numbers to be checked; a value is reported by its position.
impl ser::SerializeMap for Level<'_> {
    type Ok = ();
    type Error = NonFinite;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, _: &T) -> Result<(), NonFinite> {
        Ok(())
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NonFinite> {
        self.element(value)
    }
    fn end(self) -> Result<(), NonFinite> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Serialize)]
    struct Sample {
        sharpe: Option<f64>,
        interval: [f64; 2],
        by_tag: BTreeMap<&'static str, f32>,
    }

    fn sample() -> Sample {
        Sample { sharpe: None, interval: [0.0, 1.0], by_tag: BTreeMap::from([("trend", 1.0)]) }
    }

    #[test]
    fn finite_and_undefined_values_pass() {
        assert_eq!(check(&sample()), Ok(()));
    }

    #[test]
    fn a_non_finite_number_is_found_wherever_it_hides() {
        let check = |spoil: fn(&mut Sample), place: &str| {
            let mut value = sample();
            spoil(&mut value);
            let found = super::check(&value).unwrap_err().to_string();
            assert!(found.starts_with(place), "{found}");
        };
        check(|s| s.sharpe = Some(f64::NAN), "sharpe is NaN");
        check(|s| s.interval[1] = f64::INFINITY, "interval.1 is inf");
        check(|s| s.by_tag = BTreeMap::from([("trend", f32::NEG_INFINITY)]), "by_tag.0 is -inf");
    }
}
