//! What operators ask the MyriXen daemon.
