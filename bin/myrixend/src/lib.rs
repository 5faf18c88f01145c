//! The MyriXen daemon, as a library: what `myrixend` runs, and what the demo of `myrixen` runs in its hosts.
