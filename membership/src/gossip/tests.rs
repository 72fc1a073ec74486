//! Sealing by table and property, then real nodes over loopback.

mod cluster;
mod local;
mod seal;
