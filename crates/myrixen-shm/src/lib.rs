//! Shared pages as checked loads, stores and copies.
