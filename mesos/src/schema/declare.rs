//! The macros in which the schema is written.

/// Enums: `Variant = NUMBER "NAME"`.
macro_rules! enumeration {
    ($name:ident { $($variant:ident = $number:literal $text:literal,)* }) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ::prost::Enumeration)]
        #[repr(i32)]
        pub enum $name {
            $($variant = $number,)*
        }

        impl crate::json::Names for $name {
            const NAMES: &'static [(&'static str, i32)] = &[$(($text, $number),)*];
        }
    };
}

/// Messages, see [`crate::schema`].
macro_rules! messages {
    ($($name:ident { $($fields:tt)* })*) => {
        $(message! { @next $name {} [] $($fields)* })*
    };
}

/// One message: takes one field after the other, then declares the type and what JSON needs.
macro_rules! message {
    // What each kind is to prost, in Rust, and to JSON.
    (@next $name:ident $($done:tt)+) => { message! { @kind $name $($done)+ } };
    (@kind $n:ident $d:tt $f:tt $tag:tt $field:ident : map $of:ident ; $($rest:tt)*) => {
        message! { @map $n $d $f $tag $field $of ; $($rest)* }
    };
    (@kind $n:ident $d:tt $f:tt $tag:tt $field:ident : $label:ident msg $of:ident ; $($rest:tt)*) => {
        message! { @$label $n $d $f $tag $field { message } { $of } { Msg<$of> } {} ; $($rest)* }
    };
    (@kind $n:ident $d:tt $f:tt $tag:tt $field:ident : $label:ident boxed $of:ident ; $($rest:tt)*) => {
        message! { @$label $n $d $f $tag $field { message, boxed } { Box<$of> } { Boxed<$of> } {} ; $($rest)* }
    };
    (@kind $n:ident $d:tt $f:tt $tag:tt $field:ident : $label:ident enum $of:ident $(= $default:expr)? ; $($rest:tt)*) => {
        message! { @$label $n $d $f $tag $field { enumeration($of) } { i32 } { Enum<$of> } { $($default)? } ; $($rest)* }
    };
    (@kind $n:ident $d:tt $f:tt $tag:tt $field:ident : $label:ident string ; $($rest:tt)*) => {
        message! { @$label $n $d $f $tag $field { string } { String } { Text } {} ; $($rest)* }
    };
    (@kind $n:ident $d:tt $f:tt $tag:tt $field:ident : $label:ident bytes ; $($rest:tt)*) => {
        message! { @$label $n $d $f $tag $field { bytes = "vec" } { Vec<u8> } { Bytes } {} ; $($rest)* }
    };
    (@kind $n:ident $d:tt $f:tt $tag:tt $field:ident : $label:ident double $(= $default:expr)? ; $($rest:tt)*) => {
        message! { @$label $n $d $f $tag $field { double } { f64 } { Double } { $($default)? } ; $($rest)* }
    };
    (@kind $n:ident $d:tt $f:tt $tag:tt $field:ident : $label:ident bool $(= $default:expr)? ; $($rest:tt)*) => {
        message! { @$label $n $d $f $tag $field { bool } { bool } { Bool } { $($default)? } ; $($rest)* }
    };
    (@kind $n:ident $d:tt $f:tt $tag:tt $field:ident : $label:ident int32 ; $($rest:tt)*) => {
        message! { @$label $n $d $f $tag $field { int32 } { i32 } { Whole<i32> } {} ; $($rest)* }
    };
    (@kind $n:ident $d:tt $f:tt $tag:tt $field:ident : $label:ident uint32 $(= $default:expr)? ; $($rest:tt)*) => {
        message! { @$label $n $d $f $tag $field { uint32 } { u32 } { Whole<u32> } { $($default)? } ; $($rest)* }
    };
    (@kind $n:ident $d:tt $f:tt $tag:tt $field:ident : $label:ident int64 ; $($rest:tt)*) => {
        message! { @$label $n $d $f $tag $field { int64 } { i64 } { Whole<i64> } {} ; $($rest)* }
    };
    (@kind $n:ident $d:tt $f:tt $tag:tt $field:ident : $label:ident uint64 ; $($rest:tt)*) => {
        message! { @$label $n $d $f $tag $field { uint64 } { u64 } { Whole<u64> } {} ; $($rest)* }
    };
    // What each label makes of it.
    (@req $n:ident { $($d:tt)* } [ $($f:tt)* ] $tag:tt $field:ident { $($p:tt)* } { $t:ty } { $($k:tt)* } $default:tt ; $($rest:tt)*) => {
        message! { @next $n { $($d)* #[prost($($p)*, optional, tag = $tag)] pub $field: Option<$t>, }
            [ $($f)* ($field $tag req { $($k)* } $default) ] $($rest)* }
    };
    (@opt $n:ident { $($d:tt)* } [ $($f:tt)* ] $tag:tt $field:ident { $($p:tt)* } { $t:ty } { $($k:tt)* } $default:tt ; $($rest:tt)*) => {
        message! { @next $n { $($d)* #[prost($($p)*, optional, tag = $tag)] pub $field: Option<$t>, }
            [ $($f)* ($field $tag opt { $($k)* } $default) ] $($rest)* }
    };
    (@rep $n:ident { $($d:tt)* } [ $($f:tt)* ] $tag:tt $field:ident { $($p:tt)* } { $t:ty } { $($k:tt)* } $default:tt ; $($rest:tt)*) => {
        message! { @next $n { $($d)* #[prost($($p)*, repeated, tag = $tag)] pub $field: Vec<$t>, }
            [ $($f)* ($field $tag rep { $($k)* } $default) ] $($rest)* }
    };
    (@all $n:ident { $($d:tt)* } [ $($f:tt)* ] $tag:tt $field:ident { $($p:tt)* } { $t:ty } { $($k:tt)* } $default:tt ; $($rest:tt)*) => {
        message! { @next $n { $($d)* #[prost($($p)*, repeated, tag = $tag)] pub $field: Vec<$t>, }
            [ $($f)* ($field $tag all { $($k)* } $default) ] $($rest)* }
    };
    (@map $n:ident { $($d:tt)* } [ $($f:tt)* ] $tag:tt $field:ident $of:ident ; $($rest:tt)*) => {
        message! { @next $n
            { $($d)* #[prost(btree_map = "string, message", tag = $tag)] pub $field: ::std::collections::BTreeMap<String, $of>, }
            [ $($f)* ($field $tag map { Msg<$of> } {}) ] $($rest)* }
    };
    // What is written when a field is not there.
    (@default) => { None };
    (@default $default:expr) => { Some($default) };
    // A message without fields.
    (@kind $name:ident {} []) => {
        #[derive(Clone, Copy, PartialEq, ::prost::Message)]
        pub struct $name {}

        impl crate::json::FromJson for $name {
            fn from_json(
                _object: crate::json::Object,
                _trail: &mut crate::json::Trail,
            ) -> Result<Self, crate::json::Mismatch> {
                Ok(Self {})
            }

            fn find_missing(&self, _trail: &mut crate::json::Trail, _missing: &mut Vec<String>) {}
        }

        impl crate::weight::Weigh for $name {
            fn weigh_field(
                _tag: u32,
                _payload: &[u8],
                _scale: &mut crate::weight::Scale,
            ) -> Result<(), crate::weight::Unfit> {
                Ok(())
            }
        }

        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                ::serde::ser::SerializeMap::end(serializer.serialize_map(Some(0))?)
            }
        }
    };
    // All fields are taken.
    (@kind $name:ident { $($declared:tt)+ } [ $(($field:ident $tag:tt $label:ident { $($kind:tt)* } { $($default:expr)? }))+ ]) => {
        #[derive(Clone, PartialEq, ::prost::Message)]
        pub struct $name {
            $($declared)+
        }

        impl crate::json::FromJson for $name {
            fn from_json(
                mut object: crate::json::Object,
                trail: &mut crate::json::Trail,
            ) -> Result<Self, crate::json::Mismatch> {
                use crate::json::*;
                Ok(Self {
                    $($field: $label::read::<$($kind)*>(&mut object, stringify!($field), trail)?,)+
                })
            }

            fn find_missing(&self, trail: &mut crate::json::Trail, missing: &mut Vec<String>) {
                use crate::json::*;
                $($label::find_missing::<$($kind)*>(&self.$field, stringify!($field), trail, missing);)+
            }
        }

        impl crate::weight::Weigh for $name {
            fn weigh_field(
                tag: u32,
                payload: &[u8],
                scale: &mut crate::weight::Scale,
            ) -> Result<(), crate::weight::Unfit> {
                use crate::json::*;
                match tag {
                    $($tag => $label::weigh::<$($kind)*>(payload, scale),)+
                    _ => Ok(()),
                }
            }
        }

        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use crate::json::*;
                let mut object = serializer.serialize_map(None)?;
                $(
                    let default = message!(@default $($default)?);
                    $label::write::<$($kind)*, _>(&mut object, stringify!($field), &self.$field, default)?;
                )+
                ::serde::ser::SerializeMap::end(object)
            }
        }
    };
}
