//! The MyriXen back end: a frame switch between guests and uplinks.
