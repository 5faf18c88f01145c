//! MX message passing for programs in virtual machines, containers and hosts.
