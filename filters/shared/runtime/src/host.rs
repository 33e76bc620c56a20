//! Host calls that return their failure.
//!
//! The SDK's own wrappers panic on a status they do not expect, and a panic
//! kills the VM with every stream of its worker; they also cannot send a
//! response detail. So the calls on which a request depends are declared here.

use mesh_filters_policy::{Edit, Headers, LocalReply, UnixTime};
use proxy_wasm::hostcalls;
use proxy_wasm::types::{LogLevel, MapType, MetricType};

/// `WasmResult::Ok` of the ABI.
const OK: u32 = 0;

/// No `grpc-status` of our own: Envoy derives it from the HTTP status.
const NO_GRPC_STATUS: i32 = -1;

/// A host call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HostError {
    /// Which call.
    pub call: &'static str,
}

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_remove_header_map_value(map: u32, name: *const u8, name_size: usize) -> u32;
    fn proxy_call_foreign_function(
        name: *const u8,
        name_size: usize,
        arguments: *const u8,
        arguments_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_send_local_response(
        status: u32,
        detail: *const u8,
        detail_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
}

fn check(call: &'static str, status: u32) -> Result<(), HostError> {
    if status == OK { Ok(()) } else { Err(HostError { call }) }
}

/// Reads all request headers in one crossing.
pub(crate) fn request_headers() -> Result<Headers, HostError> {
    const CALL: &str = "proxy_get_header_map_pairs";
    let mut data: *mut u8 = std::ptr::null_mut();
    let mut size: usize = 0;
    // SAFETY: both pointers are valid for writes during the call.
    let status = unsafe {
        proxy_get_header_map_pairs(MapType::HttpRequestHeaders as u32, &raw mut data, &raw mut size)
    };
    check(CALL, status)?;
    // SAFETY: the call succeeded, so the host wrote both.
    let block = unsafe { take(data, size) };
    Headers::from_block(block).map_err(|_| HostError { call: CALL })
}

/// Takes over what a host call returned.
///
/// # Safety
/// `data` must be null, or `size` bytes that the host allocated for this call.
unsafe fn take(data: *mut u8, size: usize) -> Vec<u8> {
    if data.is_null() {
        return Vec::new();
    }
    // SAFETY: the host gave up memory that it got from the SDK's
    // `proxy_on_memory_allocate`, which is a boxed slice of `size` bytes.
    unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(data, size)) }.into_vec()
}

/// Calls a function that only some hosts have, and returns its answer.
pub(crate) fn call_foreign_function(name: &str, arguments: &[u8]) -> Result<Vec<u8>, HostError> {
    let mut data: *mut u8 = std::ptr::null_mut();
    let mut size: usize = 0;
    // SAFETY: the pointers are valid for reads of their lengths, and for writes.
    let status = unsafe {
        proxy_call_foreign_function(
            name.as_ptr(),
            name.len(),
            arguments.as_ptr(),
            arguments.len(),
            &raw mut data,
            &raw mut size,
        )
    };
    check("proxy_call_foreign_function", status)?;
    // SAFETY: the call succeeded, so the host wrote both.
    Ok(unsafe { take(data, size) })
}

/// Makes the changes to the request headers.
pub(crate) fn apply(edits: Vec<Edit>) -> Result<(), HostError> {
    let map = MapType::HttpRequestHeaders as u32;
    for edit in edits {
        match edit {
            Edit::Set(name, value) => {
                // SAFETY: the pointers are valid for reads of their lengths.
                let status = unsafe {
                    proxy_replace_header_map_value(
                        map,
                        name.as_ptr(),
                        name.len(),
                        value.as_ptr(),
                        value.len(),
                    )
                };
                check("proxy_replace_header_map_value", status)?;
            }
            Edit::Remove(name) => {
                // SAFETY: the pointer is valid for reads of its length.
                let status =
                    unsafe { proxy_remove_header_map_value(map, name.as_ptr(), name.len()) };
                check("proxy_remove_header_map_value", status)?;
            }
        }
    }
    Ok(())
}

/// Answers the client. The stream must be paused afterwards.
pub(crate) fn reply(detail: &str, reply: &LocalReply) -> Result<(), HostError> {
    let headers = header_block(&reply.headers);
    // SAFETY: the pointers are valid for reads of their lengths.
    let status = unsafe {
        proxy_send_local_response(
            u32::from(reply.status),
            detail.as_ptr(),
            detail.len(),
            reply.body.as_ptr(),
            reply.body.len(),
            headers.as_ptr(),
            headers.len(),
            NO_GRPC_STATUS,
        )
    };
    check("proxy_send_local_response", status)
}

/// The counterpart of [`Headers::from_block`].
fn header_block<V: AsRef<str>>(headers: &[(&'static str, V)]) -> Vec<u8> {
    // Headers of a policy's own reply: far below the four gigabytes that a u32 holds.
    let size = |len: usize| u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes();
    let mut block = Vec::new();
    block.extend(size(headers.len()));
    for (name, value) in headers {
        block.extend(size(name.len()));
        block.extend(size(value.as_ref().len()));
    }
    for (name, value) in headers {
        block.extend(name.as_bytes());
        block.push(0);
        block.extend(value.as_ref().as_bytes());
        block.push(0);
    }
    block
}

/// The wall clock.
pub(crate) fn now() -> Result<UnixTime, HostError> {
    const FAILED: HostError = HostError { call: "proxy_get_current_time_nanoseconds" };
    let now = hostcalls::get_current_time().map_err(|_| FAILED)?;
    let since_epoch = now.duration_since(std::time::UNIX_EPOCH).map_err(|_| FAILED)?;
    Ok(UnixTime::from_nanos(u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX)))
}

/// Defines a counter that Envoy shows as `wasmcustom.<name>`.
pub(crate) fn define_counter(name: &str) -> Result<u32, HostError> {
    hostcalls::define_metric(MetricType::Counter, name)
        .map_err(|_| HostError { call: "proxy_define_metric" })
}

/// Adds one to a counter. A count that is lost changes no decision.
pub(crate) fn count(metric: u32) {
    let _ = hostcalls::increment_metric(metric, 1);
}

/// Writes a line to the host's log, as far as it takes one.
pub(crate) fn log(level: LogLevel, line: &str) {
    let _ = hostcalls::log(level, line);
}
