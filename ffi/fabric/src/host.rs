//! What libfabric does for its providers: parameters and the log. Found at run time in the library that has loaded us, so that we are not tied to
//! any; where it is not found, parameters come from the environment, and nothing is logged.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::OnceLock;

use crate::abi::Provider;
use crate::provider;

type DefineParam =
    unsafe extern "C" fn(*const Provider, *const c_char, c_int, *const c_char, ...) -> c_int;
type GetParam = unsafe extern "C" fn(*mut Provider, *const c_char, *mut c_void) -> c_int;
type LogEnabled = unsafe extern "C" fn(*const Provider, c_int, c_int) -> c_int;
type Log =
    unsafe extern "C" fn(*const Provider, c_int, c_int, *const c_char, c_int, *const c_char, ...);

/// How much a line of the log matters (`enum fi_log_level`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Warn = 0,
    Info = 2,
}

/// `FI_PARAM_STRING`: all of ours are texts, so that what is wrong with one can be said.
const STRING: c_int = 0;
/// `FI_LOG_CORE`.
const CORE: c_int = 0;

struct Host {
    define: Option<DefineParam>,
    get: Option<GetParam>,
    log_enabled: Option<LogEnabled>,
    log: Option<Log>,
}

fn host() -> &'static Host {
    static HOST: OnceLock<Host> = OnceLock::new();
    HOST.get_or_init(|| {
        let find = |name: &CStr| symbol(name);
        // SAFETY: each is the function of libfabric's of that name, with the arguments that its header declares.
        let define = find(c"fi_param_define")
            .map(|at| unsafe { std::mem::transmute::<*mut c_void, DefineParam>(at) });
        // SAFETY: as above.
        let get = find(c"fi_param_get")
            .map(|at| unsafe { std::mem::transmute::<*mut c_void, GetParam>(at) });
        // SAFETY: as above.
        let log_enabled = find(c"fi_log_enabled")
            .map(|at| unsafe { std::mem::transmute::<*mut c_void, LogEnabled>(at) });
        // SAFETY: as above.
        let log = find(c"fi_log").map(|at| unsafe { std::mem::transmute::<*mut c_void, Log>(at) });
        Host {
            define,
            get,
            log_enabled,
            log,
        }
    })
}

/// A function of the program's, or of a libfabric that only some of it can see.
fn symbol(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: it only looks; the name ends with a 0.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    if !found.is_null() {
        return Some(found);
    }
    let flags = libc::RTLD_LAZY | libc::RTLD_NOLOAD;
    // SAFETY: nothing is loaded: whoever has loaded us is there already, and stays.
    let library = unsafe { libc::dlopen(c"libfabric.so.1".as_ptr(), flags) };
    if library.is_null() {
        return None;
    }
    // SAFETY: the library is there, the name ends with a 0.
    let found = unsafe { libc::dlsym(library, name.as_ptr()) };
    // SAFETY: it gives back what `dlopen` has counted.
    unsafe { libc::dlclose(library) };
    (!found.is_null()).then_some(found)
}

/// Tells libfabric of a parameter, so that `fi_info -e` lists it. The text has no `%`.
pub(crate) fn define(name: &CStr, help: &CStr) {
    if let Some(define) = host().define {
        // SAFETY: the provider stays where it is; name and help end with a 0, and the help formats nothing.
        unsafe { define(provider::get(), name.as_ptr(), STRING, help.as_ptr()) };
    }
}

/// The value of a parameter, if it is set.
pub(crate) fn param(name: &CStr) -> Option<String> {
    let Some(get) = host().get else {
        let name = name.to_str().ok()?.to_ascii_uppercase();
        return std::env::var(format!("FI_MYRIXEN_{name}")).ok();
    };
    let mut text: *mut c_char = std::ptr::null_mut();
    // SAFETY: the provider stays where it is; for a text, libfabric stores a pointer to one of its own.
    let missing = unsafe { get(provider::get(), name.as_ptr(), (&raw mut text).cast()) };
    if missing != 0 || text.is_null() {
        return None;
    }
    // SAFETY: libfabric's text ends with a 0, and stays.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().ok().map(str::to_owned)
}

/// Writes a line into libfabric's log, if it wants lines of that level (`FI_LOG_LEVEL`).
pub(crate) fn log(level: Level, line: &str) {
    let (Some(enabled), Some(log)) = (host().log_enabled, host().log) else {
        return;
    };
    let level = level as c_int;
    // SAFETY: the provider stays where it is.
    if unsafe { enabled(provider::get(), level, CORE) } == 0 {
        return;
    }
    let line = CString::new(line.replace('\0', " ")).unwrap_or_default();
    // SAFETY: the format takes one text, which ends with a 0.
    unsafe {
        log(
            provider::get(),
            level,
            CORE,
            c"myrixen".as_ptr(),
            0,
            c"%s\n".as_ptr(),
            line.as_ptr(),
        );
    }
}
