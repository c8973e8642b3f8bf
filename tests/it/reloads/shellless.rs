//! Reloads where there is no shell, nor anything else but the programs themselves.
