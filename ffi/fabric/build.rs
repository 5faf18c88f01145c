//! Names the library as it is installed, and keeps it mapped.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libmyrixen-fi.so");
    // libfabric unloads it at the end of a program: what the C library runs after that may lie in it.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
