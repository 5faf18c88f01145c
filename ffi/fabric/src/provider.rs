//! The provider: what libfabric finds when it loads us.

use std::cell::UnsafeCell;
use std::ffi::{CStr, c_void};

use crate::abi::{API_VERSION, Provider, version};
use crate::edge;
use crate::{boards, fabric, info, settings};

/// The provider's name.
pub(crate) const NAME: &CStr = c"myrixen";
/// The provider's own version: the package's, as major and minor.
pub(crate) const VERSION: u32 = version(0, 1);

struct Held(UnsafeCell<Provider>);

// SAFETY: only libfabric writes to it, under its own lock; we hand out its address.
unsafe impl Sync for Held {}

static PROVIDER: Held = Held(UnsafeCell::new(Provider {
    version: VERSION,
    fi_version: API_VERSION,
    context: [std::ptr::null_mut(); 4],
    name: NAME.as_ptr(),
    getinfo: Some(info::getinfo),
    fabric: Some(fabric::open),
    cleanup: Some(cleanup),
}));

// SAFETY: the pointers in it are to texts that stay.
unsafe impl Sync for Provider {}

/// The provider, wherever libfabric asks for it.
pub(crate) fn get() -> *mut Provider {
    PROVIDER.0.get()
}

/// What libfabric calls when it has loaded us: the one symbol of the library.
#[unsafe(no_mangle)]
pub extern "C" fn fi_prov_ini() -> *mut c_void {
    edge::value((), settings::define);
    get().cast()
}

/// libfabric is about to forget us.
extern "C" fn cleanup() {
    edge::value((), boards::leave);
}
