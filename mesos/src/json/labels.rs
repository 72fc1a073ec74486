//! Required, optional, repeated and mapped fields.

/// Fields that must be there.
pub(crate) mod req {
    use crate::json::{MISSING_MAX, Trail, kinds::Kind, plain};

    pub(crate) use super::opt::{read, weigh, write};

    pub(crate) fn find_missing<K: Kind>(
        value: &Option<K::Value>,
        field: &'static str,
        trail: &mut Trail,
        missing: &mut Vec<String>,
    ) {
        trail.within(plain(field), |trail| match value {
            Some(value) if K::is_known(value) => K::find_missing(value, trail, missing),
            Some(_) | None if missing.len() < MISSING_MAX => missing.push(trail.to_string()),
            Some(_) | None => {}
        });
    }
}

/// Fields that may be there.
pub(crate) mod opt {
    use serde::ser::SerializeMap;

    use crate::{
        json::{
            Mismatch, Object, Trail,
            kinds::{Kind, Shown},
            plain,
        },
        weight::{Scale, Unfit},
    };

    pub(crate) fn weigh<K: Kind>(payload: &[u8], scale: &mut Scale) -> Result<(), Unfit> {
        K::weigh(payload, scale)
    }

    pub(crate) fn read<K: Kind>(
        object: &mut Object,
        field: &'static str,
        trail: &mut Trail,
    ) -> Result<Option<K::Value>, Mismatch> {
        match object.remove(plain(field)) {
            None | Some(serde_json::Value::Null) => Ok(None),
            Some(value) => trail.within(plain(field), |trail| K::read(value, trail)),
        }
    }

    pub(crate) fn find_missing<K: Kind>(
        value: &Option<K::Value>,
        field: &'static str,
        trail: &mut Trail,
        missing: &mut Vec<String>,
    ) {
        if let Some(value) = value {
            trail.within(plain(field), |trail| K::find_missing(value, trail, missing));
        }
    }

    pub(crate) fn write<K: Kind, M: SerializeMap>(
        object: &mut M,
        field: &'static str,
        value: &Option<K::Value>,
        default: Option<K::Value>,
    ) -> Result<(), M::Error> {
        let known = value.as_ref().filter(|value| K::is_known(value));
        match known.or(default.as_ref()) {
            Some(value) => object.serialize_entry(plain(field), &Shown::<K>(value)),
            None => Ok(()),
        }
    }
}

/// Fields that are lists.
pub(crate) mod rep {
    use serde::{Serialize, Serializer, ser::SerializeMap};
    use serde_json::Value;

    use crate::{
        json::{
            Mismatch, Object, Trail,
            kinds::{Kind, Shown},
            plain,
        },
        weight::{Scale, Unfit},
    };

    pub(crate) fn weigh<K: Kind>(payload: &[u8], scale: &mut Scale) -> Result<(), Unfit> {
        // Numbers may come one by one, or several in a payload.
        let elements = if K::PACKED { payload.len().max(1) } else { 1 };
        scale.add_element::<K::Value>(elements)?;
        K::weigh(payload, scale)
    }

    pub(crate) fn read<K: Kind>(
        object: &mut Object,
        field: &'static str,
        trail: &mut Trail,
    ) -> Result<Vec<K::Value>, Mismatch> {
        let items = match object.remove(plain(field)) {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::Array(items)) => items,
            Some(single) => vec![single],
        };
        trail.within(plain(field), |trail| {
            trail.add(items.len().saturating_mul(size_of::<K::Value>()))?;
            let mut values = Vec::with_capacity(items.len());
            for item in items {
                values.extend(K::read(item, trail)?);
            }
            Ok(values)
        })
    }

    pub(crate) fn find_missing<K: Kind>(
        values: &[K::Value],
        field: &'static str,
        trail: &mut Trail,
        missing: &mut Vec<String>,
    ) {
        trail.within(plain(field), |trail| {
            values.iter().for_each(|value| K::find_missing(value, trail, missing));
        });
    }

    pub(crate) fn write<K: Kind, M: SerializeMap>(
        object: &mut M,
        field: &'static str,
        values: &[K::Value],
        _default: Option<K::Value>,
    ) -> Result<(), M::Error> {
        if values.is_empty() {
            return Ok(());
        }
        object.serialize_entry(plain(field), &List::<K>(values))
    }

    pub(super) struct List<'a, K: Kind>(pub(super) &'a [K::Value]);

    impl<K: Kind> Serialize for List<'_, K> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let known = self.0.iter().filter(|value| K::is_known(value));
            serializer.collect_seq(known.map(Shown::<K>))
        }
    }
}

/// Fields that are lists which are written when they are empty too.
pub(crate) mod all {
    use serde::ser::SerializeMap;

    pub(crate) use super::rep::{find_missing, read, weigh};
    use crate::json::{kinds::Kind, plain};

    pub(crate) fn write<K: Kind, M: SerializeMap>(
        object: &mut M,
        field: &'static str,
        values: &[K::Value],
        _default: Option<K::Value>,
    ) -> Result<(), M::Error> {
        object.serialize_entry(plain(field), &super::rep::List::<K>(values))
    }
}

/// Fields that are objects from text to a message.
pub(crate) mod map {
    use std::collections::BTreeMap;

    use serde::{Serialize, Serializer, ser::SerializeMap};
    use serde_json::Value;

    use crate::{
        json::{
            Mismatch, Object, Trail,
            kinds::{Kind, Shown, Text},
            plain,
        },
        weight::{Scale, Unfit, for_each_field},
    };

    pub(crate) fn weigh<K: Kind>(payload: &[u8], scale: &mut Scale) -> Result<(), Unfit> {
        scale.add_entry::<K::Value>()?;
        for_each_field(payload, |tag, payload| match tag {
            1 => Text::weigh(payload, scale),
            2 => K::weigh(payload, scale),
            _ => Ok(()),
        })
    }

    pub(crate) fn read<K: Kind>(
        object: &mut Object,
        field: &'static str,
        trail: &mut Trail,
    ) -> Result<BTreeMap<String, K::Value>, Mismatch> {
        trail.within(plain(field), |trail| match object.remove(plain(field)) {
            None | Some(Value::Null) => Ok(BTreeMap::new()),
            Some(Value::Object(entries)) => entries
                .into_iter()
                .filter_map(|(key, value)| {
                    let read = trail.within(&key, |trail| {
                        trail.add_entry::<K::Value>()?;
                        K::read(value, trail)
                    });
                    read.transpose().map(|read| read.map(|value| (key, value)))
                })
                .collect(),
            Some(_) => Err(trail.mismatch("an object")),
        })
    }

    pub(crate) fn find_missing<K: Kind>(
        values: &BTreeMap<String, K::Value>,
        field: &'static str,
        trail: &mut Trail,
        missing: &mut Vec<String>,
    ) {
        trail.within(plain(field), |trail| {
            for (key, value) in values {
                trail.within(key, |trail| K::find_missing(value, trail, missing));
            }
        });
    }

    pub(crate) fn write<K: Kind, M: SerializeMap>(
        object: &mut M,
        field: &'static str,
        values: &BTreeMap<String, K::Value>,
        _default: Option<K::Value>,
    ) -> Result<(), M::Error> {
        if values.is_empty() {
            return Ok(());
        }
        object.serialize_entry(plain(field), &Entries::<K>(values))
    }

    struct Entries<'a, K: Kind>(&'a BTreeMap<String, K::Value>);

    impl<K: Kind> Serialize for Entries<'_, K> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map(self.0.iter().map(|(key, value)| (key, Shown::<K>(value))))
        }
    }
}
