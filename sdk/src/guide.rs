//! The program of the guide is compiled with the other examples.
#![doc = include_str!("../../docs/write-a-framework.md")]
