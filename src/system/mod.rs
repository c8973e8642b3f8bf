//! The operating system: processes, signals, files. Adapter.
