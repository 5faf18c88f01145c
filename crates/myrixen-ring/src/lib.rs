//! The queue-pair ABI between a MyriXen guest and its back end.
