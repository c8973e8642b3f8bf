//! Proxies that can be changed or asked while they run. Adapter.

pub mod haproxy;
