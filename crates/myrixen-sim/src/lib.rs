//! A seeded network and hostile guests for testing MyriXen.
