//! How MyriXen guests and back ends meet: pages, doorbells, death.
