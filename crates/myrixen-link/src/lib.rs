//! Moving MXoE frames over Ethernet and VXLAN.
